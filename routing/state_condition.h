// Conditions over the course of training: the 'when' and 'back' of a schedule. Not conditions over documents; those are
// routing/condition.h. Three-valued: what has not been measured yet makes a condition unknown, not false.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/yaml.h"
#include "routing/training_state.h"

namespace govtrain {

struct StateCondition {
  enum class Kind { step, epoch, loss_progress, drift, capacity, all, any, none };  // none: not
  Kind kind = Kind::all;
  int64_t from = 0;                    // step (counted from 1), epoch (from 0): that one and every later one
  std::string block;                   // drift, capacity: a pattern; every block that it matches must fulfil the bounds
  std::optional<double> above, below;  // measures; both are strict, both must hold
  std::vector<StateCondition> children;  // none has one
  Position at;
};

// Reports every problem; `what` names the place in messages.
std::optional<StateCondition> read_state_condition(const YamlNode& node, const std::string& what,
                                                   Diagnostics& diagnostics);

// Reports patterns that match none of `blocks`.
void check_state_condition(const StateCondition& condition, const std::string& what,
                           const std::vector<std::string>& blocks, Diagnostics& diagnostics);

// Values that an evaluation looked at: "step", "epoch", "loss_progress", "drift layer.0", "capacity layer.0".
using Evidence = std::map<std::string, double>;

// Whether it holds for the step after `state.step`, in Kleene's logic; nothing: unknown. Adds what it looked at.
std::optional<bool> holds(const StateCondition& condition, const TrainingState& state,
                          const std::vector<std::string>& blocks, Evidence& evidence);

// As flow YAML that reads back to the same condition.
std::string to_flow(const StateCondition& condition);

}  // namespace govtrain
