// What reaches profiles that change from elsewhere: the changes of another run's log, and verdicts on proposals.
#include <fmt/format.h>

#include <algorithm>

#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/adapter.h"
#include "tools/govtrain/train/proposals.h"

namespace govtrain {

using nlohmann::json;

void Adapter::check_replay() const {
  const std::string& place = config_.adaptation.replay;
  const auto fail = [&](const std::string& problem) {
    throw Failure(exit_usage, fmt::format("adaptation.replay {}: {}", place, problem));
  };
  const Policy& policy = governance_.policy().policy();
  if (recorded_->policies.empty()) fail("the log has no policy, so nothing in it could change");
  const RecordedPolicy& first = recorded_->policies.front();
  if (first.text != policy.canonical()) {
    fail(fmt::format("its run began under the policy {}, this one under {}; expected the same policy, word for word",
                     first.id, policy_id_));
  }
  if (recorded_->steps < config_.train.steps) {
    fail(
        fmt::format("the log ends with step {}, this run has {}: nobody would decide on profiles after that; expected "
                    "the log of a run of at least as many steps",
                    recorded_->steps, config_.train.steps));
  }
  if (policy.adaptation && policy.adaptation->mode == AdaptMode::on && !recorded_->adapts) {
    fail("the log records no adaptation, not even its beginning; expected the log of a run that adapts");
  }
  for (const RecordedChange& change : recorded_->changes) {
    if (change.policy == policy_id_) check_recorded_change(change);
  }
}

void Adapter::check_recorded_change(const RecordedChange& change) const {
  const auto fail = [&](const std::string& problem) {
    throw Failure(exit_usage, fmt::format("adaptation.replay {}: entry {} ({}) is not carried out: {}",
                                          config_.adaptation.replay, change.index, change.record.kind, problem));
  };
  if (change.policy != policy_id_) {
    fail(fmt::format("its run was under the policy {} then, this one is under {}", change.policy, policy_id_));
  }
  for (const auto& [name, weights] : change.weights) {
    if (const auto problem = outside_bounds(governance_.policy(), name, weights)) fail(*problem);
  }
}

void Adapter::replay(int64_t step, std::vector<GovernanceEvent>& events) {
  const Policy& policy = governance_.policy().policy();
  for (const RecordedChange& change : recorded_->changes) {
    if (change.step != step + 1) continue;
    check_recorded_change(change);
    json payload = change.record.payload;
    payload["replayed"] = {{"origin", recorded_->origin}, {"entry", change.index}};
    events.push_back({change.record.kind, std::move(payload),
                      fmt::format("step {} | replayed: entry {} of {}", step, change.index, recorded_->origin), false});
    for (const auto& [name, weights] : change.weights) {
      apply(step, policy.profile_named(name).value(), weights, events);
    }
  }
}

std::vector<GovernanceEvent> Adapter::reviews(int64_t step) {
  std::vector<GovernanceEvent> events;
  const std::optional<ControllerSpec>& spec = governance_.policy().policy().controller;
  const bool proposes = spec && spec->mode == AdaptMode::on;
  for (size_t i = 0; i < pending_.size();) {
    const std::optional<Verdict> verdict = read_verdict(fs_, config_.run.out, pending_[i]);
    if (!verdict) {
      ++i;
      continue;
    }
    // While the controller is frozen, what was approved waits.
    if (verdict->approved && !proposes && step < config_.train.steps) {
      ++i;
      continue;
    }
    const json proposal = pending_[i];
    pending_.erase(pending_.begin() + static_cast<ptrdiff_t>(i));
    const std::string name = proposal.at("profile");
    const int profile = governance_.policy().policy().profile_named(name).value();
    std::string problem;
    if (step >= config_.train.steps) problem = "the run is complete, there is no step left in which it could count";
    if (json(governance_.policy().weights(profile)) != proposal.at("before"))
      problem = fmt::format("the profile {} has other weights by now", name);
    if (!verdict->approved) problem.clear();
    json record = verdict_record(proposal, *verdict, step + 1);
    if (!problem.empty()) {
      record["outcome"] = "stale";
      record["problem"] = problem;
    }
    events.push_back({"review", record,
                      fmt::format("step {} | proposal {}: {}", step, proposal.at("id").get<int64_t>(),
                                  !problem.empty()    ? "stale, not applied: " + problem
                                  : verdict->approved ? "approved"
                                                      : "rejected"),
                      true});
    if (verdict->approved && problem.empty()) apply(step, profile, proposal.at("after"), events);
  }
  return events;
}

void Adapter::drop(const std::vector<json>& proposals) {
  for (const json& proposal : proposals) {
    json record = verdict_record(proposal, {false, "the policy was replaced"}, 0);
    record["outcome"] = "stale";
    record["problem"] = fmt::format("the policy {} is in force by now", policy_id_);
    dropped_.push_back({"review", std::move(record),
                        fmt::format("proposal {}: stale, for policy {} is in force by now",
                                    proposal.at("id").get<int64_t>(), policy_id_),
                        false});
  }
}

}  // namespace govtrain
