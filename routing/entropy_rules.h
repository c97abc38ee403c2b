// The section 'entropy' of a policy: which surprisal is measured, how examples fall into bands by it and by its slope,
// and the profile of each band. This is the text, read and checked; what it does in a run is routing/bands.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/yaml.h"
#include "routing/adaptation_spec.h"

namespace govtrain {

// Where one band ends and the next begins: edges that are given, or quantiles of what is measured. Band k holds
// edge[k-1] <= value < edge[k].
struct Banding {
  std::vector<double> quantiles;  // ascending, in (0, 1); empty with given edges
  std::vector<double> edges;      // ascending; empty with quantiles
  double error = 0.01;            // of the quantiles, in ranks per value (routing/quantile_sketch.h)
  int64_t warmup = 500;           // values before the first edges
  int64_t update_every = 1;       // steps between updates of the edges
  int64_t window = 4096;          // the edges follow the last `window` to twice as many values; 0: all there were

  bool fixed() const { return quantiles.empty(); }
  int bands() const { return 1 + static_cast<int>(fixed() ? edges.size() : quantiles.size()); }
  bool operator==(const Banding&) const = default;
};

struct SlopeRules {
  std::string by = "example";  // "example", or the metadata key whose values are the clusters
  bool over_epochs = false;    // else over steps
  int64_t min_points = 3;
  int64_t max_keys = 65536;
  Banding banding;
  bool operator==(const SlopeRules&) const = default;
};

enum class SurprisalSource {
  model,    // the training forward pass, as it happens
  average,  // an exponential moving average of the weights
  frozen,   // a checkpoint that the run's configuration names
};

struct EntropyRules {
  SurprisalSource source = SurprisalSource::model;
  double decay = 0;  // average: weights <- decay * weights + (1 - decay) * model, after each step
  Banding banding;
  std::optional<SlopeRules> slope;
  std::vector<std::vector<int>> profiles;  // [band][slope band] index into Policy::profiles; without slope one column
  Position at;

  int columns() const { return slope ? slope->banding.bands() : 1; }
  // Band and slope band as one number, in the order of the policy's table: band * columns() + slope band.
  int cells() const { return banding.bands() * columns(); }
  int profile(int cell) const;
  // "entropy band 1", or with slopes "entropy band 1 slope 0".
  std::string cell_name(int cell) const;
  // Whether surprisal is measured and divided in the same way; the profiles of the bands may differ.
  bool same_bands(const EntropyRules& other) const {
    return source == other.source && decay == other.decay && banding == other.banding && slope == other.slope;
  }
  // The section as flow YAML (JSON) that reads back to the same rules. `names` are the policy's profiles.
  std::string canonical(const std::vector<std::string>& names) const;
};

// `profile_index` gives the index of the profile that a node names, and reports one that is not there.
// Reports every problem at its place. Nothing after an error.
std::optional<EntropyRules> read_entropy(const YamlNode& node, const ProfileLookup& profile_index,
                                         Diagnostics& diagnostics);

}  // namespace govtrain
