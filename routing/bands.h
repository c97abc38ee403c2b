// Surprisal bands in a run: which band an example is in, and how the edges follow what was seen. No tensors, no files:
// the run feeds it numbers, and so does the replay of a log, which is why both give the same edges.
//
// Within a step the edges and slopes are frozen: an example is judged by what was known before the step, so neither its
// place in the batch nor the cut into micro-batches matters. After the step what may be learnt from is observed, in
// example order, and the edges move, at the steps that the policy names.
//
// Who may be observed (the caller's duty, may_teach_bands()): only examples that the policy admits, bands aside, to
// every block in which the profiles of the bands differ. Else an example that is kept out of a block would move that
// block's weights for others, through the edges.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "routing/entropy_rules.h"
#include "routing/quantile_sketch.h"
#include "routing/slope.h"

namespace govtrain {

// What the bands make of one example. Raw values are float, as records carry them: a replay sees the same numbers.
struct EntropyMark {
  std::optional<float> ent;     // nats per counted token; nothing without a counted token
  std::optional<int32_t> band;  // nothing before the edges are in force, and without ent
  std::optional<float> slope;   // before this step; nothing while it is not known
  std::optional<int32_t> slope_band;
};

// Mean NLL as records carry it. Nothing when no token counts, or when it is not finite.
std::optional<float> surprisal_of(double nll, int64_t counts);

// Edges over one quantity: given, or moving with the quantiles of what was observed. Surprisal falls as a model learns,
// so edges over all of the past would leave everything in the lowest band: two summaries follow each other, and the
// edges come from both, merged, which keeps the error.
class MovingEdges {
 public:
  explicit MovingEdges(const Banding& banding);
  bool in_force() const { return in_force_; }
  int band_of(float value) const;  // REQUIRES: in_force()
  void observe(float value);
  // After step `step` (from 1). True when the edges have changed.
  bool end_step(int64_t step);
  const std::vector<double>& edges() const { return edges_; }
  // {"edges":[..]} and, where they move, {"n","tuples","error","rank_error"}. For a record.
  nlohmann::json describe() const;
  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& state);

 private:
  QuantileSketch recent() const;  // the last window and the one that is filling

  Banding banding_;
  std::optional<QuantileSketch> sketch_, last_;  // the window that is filling, and the one before
  uint64_t seen_ = 0;
  std::vector<double> edges_;
  bool in_force_ = false;
};

class EntropyBands {
 public:
  explicit EntropyBands(const EntropyRules& rules);

  // `key`: whose slope it is; empty: nobody's. Bands act once all edges are in force; an example without a slope counts
  // as one whose surprisal does not change (slope 0).
  EntropyMark judge(std::optional<float> ent, const std::string& key) const;
  // The cell of a judged example; nothing when bands do not act on it.
  std::optional<int> cell(const EntropyMark& mark) const;
  // `time` in steps or epochs, as the rules say.
  void observe(const EntropyMark& mark, const std::string& key, double time);
  // True when edges have changed: they are in force from the next step on.
  bool end_step(int64_t step);

  const EntropyRules& rules() const { return rules_; }
  nlohmann::json describe() const;  // the edges in force, for a record
  // Exact. from_json throws Error.
  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& state);

 private:
  EntropyRules rules_;
  MovingEdges edges_;
  std::optional<MovingEdges> slope_edges_;
  std::optional<SlopeTable> slopes_;
};

// The blocks in which the cells' weights are not all the same. `weights`: [cell] of [B].
std::vector<bool> differing_blocks(const std::vector<std::vector<float>>& weights);
// Whether an example with these policy weights [B] is admitted to every differing block, and to any block at all.
bool may_teach_bands(std::span<const float> weights, const std::vector<bool>& differing);
// The most restrictive of the weights [B] and the cell's, per block; `entry` is the cell's place in the policy's table.
void restrict_row(std::span<float> weights, std::span<int32_t> rules, const std::vector<float>& cell, int32_t entry);

}  // namespace govtrain
