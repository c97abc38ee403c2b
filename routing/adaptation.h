// The adaptation engine: profiles start broad and narrow as the model's representations stratify. Pure arithmetic on
// the entropies of one measurement and on what a checkpoint remembers; what it decides is in a record from which
// anybody can decide it again. Measuring is elsewhere.
//
//   S = spread or order of the entropies;  target = (S - begin) / (full - begin), cut to 0 .. 1
//   position += target - position, cut to -rate .. rate;   weight = broad + position * (narrow - broad)
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "routing/resolve.h"

namespace govtrain {

double stratification(const AdaptationSpec& spec, const std::vector<double>& entropies);
double adaptation_target(const AdaptationSpec& spec, double stratification);

// Position 0 gives `broad` and 1 `narrow`, bit for bit; in between never outside them.
std::vector<float> between(const std::vector<float>& broad, const std::vector<float>& narrow, double position);

struct AdaptationState {
  double position = 0;   // 0 broad, 1 narrow
  int64_t waited = 0;    // measurements since the last change
  bool started = false;  // the broad weights are in force
  bool operator==(const AdaptationState&) const = default;
};

// The new weights of one profile, [B].
struct ProfileChange {
  int profile = 0;
  std::vector<float> before, after;
};

class AdaptationEngine {
 public:
  // Takes the bounds from the policy's own profiles. REQUIRES: policy.policy().adaptation, not `off`.
  explicit AdaptationEngine(const BoundPolicy& policy);

  struct Step {
    nlohmann::json record;  // payload of the `adapt` record, without step and probe
    std::vector<ProfileChange> changes;
  };
  // One measurement: an entropy for each stage, from the input on. The first one in mode `on` puts the broad weights
  // into force; until then the profile has its own. A later one moves the position if the mode is `on`, `wait`
  // measurements have passed, and the target is further away than the dead band or is an end. Nothing when nothing
  // changes.
  std::optional<Step> observe(const std::vector<double>& entropies);

  const AdaptationState& state() const { return state_; }
  void restore(const AdaptationState& state) { state_ = state; }

 private:
  Step change(const std::vector<double>& entropies, double position);
  std::vector<std::vector<float>> weights(double position) const;
  const AdaptationSpec spec_;
  std::vector<std::string> names_;
  std::vector<std::vector<float>> broad_, narrow_;  // [entry][B]
  AdaptationState state_;
};

// What is wrong with putting `weights` [B] into force for a profile, by the policy's bounds: that neither `adaptation`
// nor `controller` moves it (or is off), or a weight between none of its two ends. Nothing when it may be.
std::optional<std::string> outside_bounds(const BoundPolicy& policy, const std::string& profile,
                                          const std::vector<float>& weights);

// What is wrong with an `adapt` record of a run under this policy (with its own profiles): everything that it says is
// computed again from its entropies and the position that it started from. Nothing when all agrees.
std::optional<std::string> check_adaptation(const BoundPolicy& policy, const nlohmann::json& record);

}  // namespace govtrain
