// Profiles that change while a run is under way: measures, asks the adaptation engine and the meta-controller
// (routing/), and carries out what they decide through Governance. Also provides the measures of TrainingState. What it
// decides goes out as events, which the caller logs before the step in which they count. With `adaptation.replay` it
// decides nothing and applies what another run's log records, if that run was under the same policy and the change lies
// within the policy's bounds.
//
// What it may see: the model on the probe set; the loss of training examples that were admitted to every block;
// realised norms, which are 0 where a weight is 0; the validation loss of the groups that the policy names. Never a
// document that is kept out, from the start or by now, nor the loss of an example that some block does not admit.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "routing/controller.h"
#include "routing/loss_window.h"
#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/train/evaluate.h"
#include "tools/govtrain/train/governance.h"
#include "tools/govtrain/train/probe_set.h"
#include "tools/govtrain/train/recorded_changes.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {

inline constexpr const char* adapter_part = "adaptation";       // of TrainerState::parts
inline constexpr const char* probe_file = "probe.safetensors";  // of a checkpoint: the reference of the probe set

class Adapter {
 public:
  // The references must outlive it. Throws Failure when policy and configuration do not fit together.
  Adapter(FileSystem& fs, const RunConfig& config, const Dataset& dataset, const BlockMap& blocks,
          Governance& governance, Transformer& model, Backend& backend, const Evaluator& evaluator);

  // After step `step` (0: before the first one), with the validation of that step if there was one: measures when it is
  // due, and decides. Every event counts from step + 1 on.
  std::vector<GovernanceEvent> after(int64_t step, const EvalResult* validation);
  void add_step(const StepResult& result);
  // Decisions of reviewers that lie in the run folder, taken in at checkpoints only, so that a resume meets them in the
  // same place.
  std::vector<GovernanceEvent> reviews(int64_t step);
  void describe(TrainingState& state) const;
  // Of the last after(): entropy/<stage>, capacity/<block>, drift/<block>, adaptation/position ...
  std::vector<std::pair<std::string, double>> take_metrics() { return std::exchange(metrics_, {}); }

  // For TrainerState::parts["adaptation"], and the reference of the probe set for a file of its own.
  nlohmann::json state() const;
  std::vector<NamedTensor> reference() const;
  // After Governance::restore(). Throws Error when the state does not fit.
  void restore(const nlohmann::json& state, const std::vector<NamedTensor>& reference);

 private:
  void bind();  // to the policy in force
  // The same, where it was replaced: what depends on it starts anew, or goes on where only modes were switched.
  void follow_policy();
  // Proposals that no verdict can reach any more; the events come with the next after().
  void drop(const std::vector<nlohmann::json>& proposals);
  std::string require_settings() const;
  nlohmann::json settings() const;
  void measure(int64_t step, std::vector<GovernanceEvent>& events);
  void control(int64_t step, const EvalResult& validation, std::vector<GovernanceEvent>& events);
  void replay(int64_t step, std::vector<GovernanceEvent>& events);
  void check_replay() const;  // throws Failure unless it is a log of this policy, long enough, and within its bounds
  void check_recorded_change(const RecordedChange& change) const;
  void apply(int64_t step, int profile, const std::vector<float>& weights, std::vector<GovernanceEvent>& events);
  std::string stage_name(size_t stage) const;

  FileSystem& fs_;
  const RunConfig& config_;
  Governance& governance_;
  Transformer& model_;
  Backend& backend_;
  const Evaluator& evaluator_;
  std::vector<size_t> stage_of_block_;
  std::string policy_id_;
  std::unique_ptr<ProbeSet> probe_;
  std::optional<AdaptationEngine> engine_;
  std::optional<Controller> controller_;
  int64_t protected_tokens_ = 0;  // of its last evaluation
  std::optional<RecordedChanges> recorded_;
  LossWindow losses_;
  std::optional<ProbeMeasurement> measured_;
  std::vector<nlohmann::json> pending_;  // records of proposals that wait for a review
  std::vector<std::pair<std::string, double>> metrics_;
  int64_t next_proposal_ = 1;  // while there is no controller
  std::vector<GovernanceEvent> dropped_;
};

// Restores it from a checkpoint folder. Throws Error or Failure.
void load_adapter(FileSystem& fs, const std::string& checkpoint, const nlohmann::json& parts, Adapter& adapter);

}  // namespace govtrain
