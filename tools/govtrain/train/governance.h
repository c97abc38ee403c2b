// The policy applied to a prepared corpus and a model, from step to step: one decision per document, taken before any
// forward pass, and the route table of each batch. Here, and nowhere else, decisions change while a run is under way.
// Decides by metadata, dates and training state, never by content of other documents. Writes no log: what changed is
// handed out as events, which the caller logs before the step in which they count.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "routing/resolve.h"
#include "routing/route_table.h"
#include "routing/training_state.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/prepare.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/train/outside.h"
#include "tools/govtrain/train/run_log.h"

namespace govtrain {

// For prepare(): excludes the records and joined documents to which the policy gives weight 0 in every block, whatever
// its schedule does.
Exclude exclude_by(const BoundPolicy& policy, const Date& date);

// Something that changed between two steps.
struct GovernanceEvent {
  std::string kind;        // of the control record
  nlohmann::json payload;  // "step" is the first step (from 1) in which it counts
  std::string text;        // for people; may be empty
  // The cause lies outside of the run and cannot be computed again: the log is made durable before the step.
  bool external = false;
};

class Governance {
 public:
  // `file_policy`: the canonical text of the policy as its file gives it, if `policy` has more than that.
  Governance(BoundPolicy policy, const Date& date, const Dataset& dataset, const std::string& file_policy = "");

  // Takes every decision that is due before the step after `state.step` (with the epoch of its batch): what was seen
  // outside first (another day, a newer policy, revocations), then the policy's schedule.
  void begin_step(const TrainingState& state, const Observation& outside = {});
  // Only what was seen outside.
  void take_in(const Observation& outside);
  // False: the document is kept out from this step on, and its slots in the batch stay empty.
  bool keep(int32_t document) const { return !decision(document).excluded; }
  // The decisions for a batch, after begin_step() of its step; labels follow, and profiles without a record get one.
  RouteTable table(const std::vector<Example>& examples);
  // The same for whoever only wants to know.
  RouteTable decide(const std::vector<Example>& examples) const;
  // What has changed since the last call, in order: to be logged before the next step.
  std::vector<GovernanceEvent> take_events();

  // Replaces the weights of a profile from the next step on; the caller logs why. Every document is resolved again when
  // it is next used. Throws Error for `none`, an unknown name, and anything but B finite weights.
  void change_profile(const std::string& name, const std::vector<float>& weights);

  // What is too large for the log under that policy, for the documents of the run (record_size.h).
  std::optional<std::string> too_large_record(const BoundPolicy& policy) const;
  // From now on a newer policy under which something is, is refused.
  void refuse_too_large_records() { logged_ = true; }

  // What resuming needs, for TrainerState::parts["governance"]; restore() throws Error when it does not fit.
  nlohmann::json state() const;
  void restore(const nlohmann::json& state);

  const BoundPolicy& policy() const { return policy_; }
  // The last policy that replaced another one differs from it in its version and in modes of `adaptation` and
  // `controller` only: what they had reached is kept, but by a section that is off now.
  bool switched() const { return switched_; }
  const Date& date() const { return date_; }
  // As of now; not to be kept over begin_step() or change_profile().
  const Decision& decision(int32_t document) const;
  // What records say of each document; `prov` is filled in by the caller who stores the provenance. Up to date for the
  // documents of the last table().
  std::vector<DocumentLabel>& labels() { return labels_; }
  const DocumentLabel& label(int32_t document) const { return labels_[static_cast<size_t>(document)]; }
  // [documents] 1 where some block is, or may come to be, admitted: the order of the run.
  std::vector<uint8_t> admitted() const;

  // For people: documents, tokens and mean weight per block, by the value of a metadata key and profile.
  struct Share {
    std::string value, profile;
    int64_t documents = 0, tokens = 0;
    std::vector<float> weights;    // [B]
    std::vector<int32_t> members;  // the documents
  };
  std::vector<Share> shares(const std::string& key) const;

 private:
  using Lists = std::vector<std::pair<std::string, std::vector<std::string>>>;

  void invalidate() { ++generation_; }
  void replace_policy(const SeenFile& seen);
  // What changed_ holds, without the profiles of sections that are off in `policy`.
  std::map<std::string, std::vector<float>> kept_by(const Policy& policy) const;
  void advance_day(const Date& day, bool external);
  void revoke(const SeenFile& seen);
  // What `entries` name and nothing named before, as digests; they are kept out from now on.
  std::vector<std::string> keep_out(const std::vector<std::string>& entries);
  void schedule(const TrainingState& state);
  Scheduler scheduler() const;
  // Records of at most so many bytes as an entry of the log may have, the lists cut into parts, numbered from `part`
  // on. Only the first one has what the head says of rules and text.
  void record(const std::string& kind, const nlohmann::json& head, const Lists& lists, const std::string& text,
              bool external, size_t part = 0);

  BoundPolicy policy_;
  Date date_;
  const Dataset* dataset_;
  std::string start_text_;  // the policy of the start, canonical, and the newest that was read from its file
  std::string file_text_;
  std::set<std::string> revoked_;    // entries; once in, always in
  Exclusion kept_out_;               // the same
  std::vector<Revocation> pending_;  // revocations of a later day, as the list says now
  Scheduler scheduler_;
  std::vector<DocumentFacts> facts_;
  bool logged_ = false;
  uint64_t generation_ = 1;                  // of the rules and weights
  mutable std::vector<Decision> decisions_;  // as of decided_
  mutable std::vector<uint64_t> decided_;    // generation of each decision
  std::vector<DocumentLabel> labels_;
  std::set<std::string> named_;                        // profiles that have a record
  std::map<std::string, std::vector<float>> changed_;  // weights that are not the policy's
  int64_t step_ = 0;                                   // steps done, as of begin_step()
  std::vector<GovernanceEvent> events_;
  bool switched_ = false;
};

}  // namespace govtrain
