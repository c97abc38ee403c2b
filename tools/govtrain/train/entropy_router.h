// The surprisal bands of a policy at work in a run: takes the surprisals of a step, restricts its routes, and keeps
// what the bands have to remember. What bands are and how their edges move is routing/bands.h; this joins it with the
// model, the corpus and the log.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "routing/bands.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/train/governance.h"
#include "tools/govtrain/train/reference_model.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {

// Whose slope an example's is: its own id, or the values of the metadata key `by` over its document's provenances,
// " + " between them; empty when it has none. `classes`: what a classification says, in the place of the key 'class'.
std::string slope_key(const std::string& by, uint64_t example_id, const nlohmann::json& provenances,
                      const std::optional<std::string>& classes);

inline constexpr const char* entropy_part = "entropy";
inline constexpr const char* entropy_file = "entropy_reference.safetensors";

class EntropyRouter {
 public:
  // `reference` is null when the policy measures with the model itself. All references must outlive the router.
  // REQUIRES: the policy has a section 'entropy'.
  EntropyRouter(const Governance& governance, const Dataset& dataset, std::unique_ptr<ReferenceModel> reference,
                int64_t micro_batch_rows);

  // Before the forward pass. `route` is the policy's; it is restricted here when a reference model measures, which is
  // what it returns: the batch may then be put in order anew. Throws Failure when that model's loss is not finite.
  bool begin(const Batch& batch, RouteTable& route);
  // The examples of the batch were put in another order: order[e] is where number e stood.
  void reorder(const std::vector<size_t>& order);
  // For Trainer::step: restricts each micro-batch by the losses of its forward pass. Empty when begin() did it all.
  CompleteRoute complete();
  // After step `step` (from 1) was carried out: what may be learnt from is observed, the edges move.
  void end(const Batch& batch, int64_t step, const Transformer& model);

  const std::vector<EntropyMark>& marks() const { return marks_; }  // [E] of this step
  // `bands` records that are due, oldest first: at the start, and whenever edges have changed.
  std::vector<GovernanceEvent> take_events() { return std::exchange(events_, {}); }
  // Of the last step: examples and mean surprisal of each band, by name.
  std::vector<std::pair<std::string, double>> metrics() const;
  // Lines for the end of a run: for each band and slope band profile, examples, mean surprisal.
  std::string summary() const;

  ReferenceModel* reference() { return reference_.get(); }
  // What a checkpoint keeps: TrainerState::parts[entropy_part], and an average's weights (else none) as entropy_file.
  nlohmann::json part() const;
  std::vector<NamedTensor> average() const;
  // From the checkpoint in `folder`. Throws Failure when it is of other bands or another reference.
  void load(const nlohmann::json& parts, const std::string& folder);

 private:
  struct Total {
    int64_t examples = 0;
    double surprisal = 0;  // summed
  };
  const EntropyRules& rules() const { return bands_.rules(); }
  void follow_policy();
  void report(nlohmann::json payload);
  void judge(size_t example, double nll, int64_t counts, RouteTable& route, int row);
  nlohmann::json record(int64_t step) const;
  void set_state(const nlohmann::json& state);

  const Governance* governance_;
  std::unique_ptr<ReferenceModel> reference_;
  const Dataset* dataset_;
  int64_t micro_batch_rows_;
  EntropyBands bands_;
  std::vector<std::vector<float>> cells_;  // [cell] weights [B] in force
  std::vector<bool> differing_;            // [B]
  int64_t step_ = 0;                       // steps done
  std::vector<EntropyMark> marks_;
  std::vector<std::string> keys_;  // [E] of slopes
  std::vector<uint8_t> teaches_;   // [E] may be observed
  std::vector<Total> totals_;      // [cells + 1]; the last: no band
  std::vector<GovernanceEvent> events_;
};

}  // namespace govtrain
