// Profiles that change in the course of training: the policy's 'schedule'. An entry moves the weights of one profile to
// those of another one, at once or linearly over some steps, when a condition over the training state holds:
//   schedule:
//     - {name: open, profile: shallow, to: full, when: {epoch: 1}, over: 20}
//     - {name: relax, profile: careful, to: full, when: {drift: {block: layer.0, below: 0.1}}, hold: 3,
//        back: {drift: {block: layer.0, above: 0.2}}}
// Without 'back' an entry is a switch that is thrown once. Knows no documents.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/yaml.h"
#include "routing/state_condition.h"

namespace govtrain {

struct ScheduleEntry {
  std::string name;
  int profile = 0;  // index into Policy::profiles: whose weights change
  int to = 0;       // whose weights it takes
  StateCondition when;
  std::optional<StateCondition> back;  // returns to its own weights
  int64_t over = 1;                    // steps that the way takes: in the k-th of them k/over of it is done
  int64_t hold = 1;                    // steps in a row at whose beginning a condition must hold before it counts
  Position at;
};

// The index of the profile that a node names; reports, and gives 0, when there is none.
using ProfileIndex = std::function<int(const YamlNode& node, const std::string& what)>;

// Reads the section. Reports every problem.
std::vector<ScheduleEntry> read_schedule(const YamlNode& node, const ProfileIndex& profile, Diagnostics& diagnostics);

// The section as flow YAML that reads back to the same entries. `names`: of the profiles.
std::string schedule_text(const std::vector<ScheduleEntry>& entries, const std::vector<std::string>& names);

// Carries a schedule out. A pure function of the states that it is shown, one per step, in order.
class Scheduler {
 public:
  // New weights of a profile, from the step after TrainingState::step on.
  struct Change {
    int profile = 0;
    std::vector<float> weights;  // [B]
    size_t entry = 0;
    bool back = false;
    bool begins = false;  // a condition came true at this step; else an earlier change goes on
    Evidence evidence;    // where it begins
  };
  // All that advance() remembers.
  struct Entry {
    bool thrown = false;
    int64_t held = 0;
  };
  struct Move {
    size_t entry = 0;
    bool back = false;
    int64_t first = 0;        // step
    std::vector<float> from;  // [B]
  };
  struct State {
    std::vector<Entry> entries;
    std::map<int, Move> moves;  // by profile
  };

  Scheduler() = default;
  // `weights`: [profiles][B] of the policy; `blocks`: their names.
  Scheduler(std::vector<ScheduleEntry> entries, std::vector<std::vector<float>> weights,
            std::vector<std::string> blocks);

  // `now(profile)`: its present weights. Entries in the order of the policy; of several that begin in one step on one
  // profile, the last one holds.
  std::vector<Change> advance(const TrainingState& state, const std::function<std::vector<float>(int profile)>& now);

  const std::vector<ScheduleEntry>& entries() const { return entries_; }
  const State& state() const { return state_; }
  // Throws Error when it is not the state of this schedule.
  void restore(State state);

 private:
  std::vector<ScheduleEntry> entries_;
  std::vector<std::vector<float>> weights_;
  std::vector<std::string> blocks_;
  State state_;
};

}  // namespace govtrain
