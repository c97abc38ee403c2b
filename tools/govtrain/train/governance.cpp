#include "tools/govtrain/train/governance.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "tools/govtrain/train/record_size.h"

namespace govtrain {

using nlohmann::json;

Exclude exclude_by(const BoundPolicy& policy, const Date& date) {
  return [policy = policy.widest(), date](const std::vector<Origin>& origins,
                                          const Digest& document) -> std::optional<std::string> {
    const Decision d = policy.resolve(facts_of(origins, document), date);
    if (!d.excluded) return std::nullopt;
    const std::set<int32_t> deciding(d.rule.begin(), d.rule.end());
    if (deciding.size() > 1) {
      std::vector<std::string> names;
      for (const int32_t rule : deciding) names.push_back(policy.policy().table()[static_cast<size_t>(rule)].name);
      return fmt::format("{}: together they leave no block", fmt::join(names, ", "));
    }
    const auto entry = static_cast<size_t>(d.rule.empty() ? 0 : d.rule.front());
    std::string reason = policy.policy().table()[entry].name;
    for (const Match& m : d.matched) {
      if (static_cast<size_t>(m.rule) == entry) return reason + ": " + m.reason;
    }
    return reason;
  };
}

Governance::Governance(BoundPolicy policy, const Date& date, const Dataset& dataset, const std::string& file_policy)
    : policy_(std::move(policy)),
      date_(date),
      dataset_(&dataset),
      start_text_(policy_.policy().canonical()),
      file_text_(file_policy.empty() ? start_text_ : file_policy),
      scheduler_(scheduler()),
      decisions_(dataset.documents().size()),
      decided_(dataset.documents().size(), 0) {
  const std::string classification = dataset.classification();
  for (const DatasetDocument& document : dataset.documents()) {
    const std::vector<Origin> origins = document.origins();
    const ClassSummary summary = class_summary(origins);
    labels_.push_back({"sha256:" + hex(document.digest), "", summary.cls, "", {}, summary.score});
    if (!classification.empty()) labels_.back().clv = classification;
    facts_.push_back(facts_of(origins, document.digest));
  }
  for (const Exclusion& e : policy_.policy().exclusions) {  // what was revoked before the start
    if (e.name != "revocations") continue;
    revoked_.insert(e.ids.begin(), e.ids.end());
    for (const std::string& digest : e.digests) revoked_.insert("sha256:" + digest);
    for (const std::string& source : e.sources) revoked_.insert("source:" + source);
  }
  kept_out_ = as_exclusion("revocations", {revoked_.begin(), revoked_.end()});
  for (const Profile& profile : policy_.policy().profiles) named_.insert(profile.name);
  for (size_t d = 0; d < facts_.size(); ++d) {
    labels_[d].prof = decision(static_cast<int32_t>(d)).profile;
    named_.insert(labels_[d].prof);
  }
}

const Decision& Governance::decision(int32_t document) const {
  const auto d = static_cast<size_t>(document);
  if (decided_[d] != generation_) {
    decisions_[d] = policy_.resolve(facts_[d], date_);
    std::string reason;
    if (excludes(kept_out_, facts_[d], reason)) {
      decisions_[d].weights.assign(policy_.blocks().size(), 0.0F);
      decisions_[d].profile = none_profile;
      decisions_[d].excluded = true;
    }
    decided_[d] = generation_;
  }
  return decisions_[d];
}

std::vector<uint8_t> Governance::admitted() const {
  const BoundPolicy widest = policy_.widest();
  std::vector<uint8_t> admitted;
  for (const DocumentFacts& facts : facts_) admitted.push_back(widest.resolve(facts, date_).excluded ? 0 : 1);
  return admitted;
}

std::optional<std::string> Governance::too_large_record(const BoundPolicy& policy) const {
  return govtrain::too_large_record(policy, date_, facts_, labels_);
}

RouteTable Governance::table(const std::vector<Example>& examples) {
  for (const Example& example : examples) {
    const Decision& d = decision(example.document);
    labels_[static_cast<size_t>(example.document)].prof = d.profile;
    if (named_.insert(d.profile).second) {
      events_.push_back({"profile", {{"id", d.profile}, {"step", step_ + 1}, {"w", d.weights}}, "", false});
    }
  }
  return decide(examples);
}

RouteTable Governance::decide(const std::vector<Example>& examples) const {
  const int blocks = static_cast<int>(policy_.blocks().size());
  RouteTable table(static_cast<int>(examples.size()), blocks, 0);
  for (size_t e = 0; e < examples.size(); ++e) {
    const Decision& d = decision(examples[e].document);
    for (int b = 0; b < blocks; ++b) {
      table.at(static_cast<int>(e), b) = d.weights[static_cast<size_t>(b)];
      table.rule[e * static_cast<size_t>(blocks) + static_cast<size_t>(b)] = d.rule[static_cast<size_t>(b)];
    }
  }
  return table;
}

std::vector<GovernanceEvent> Governance::take_events() { return std::exchange(events_, {}); }

void Governance::change_profile(const std::string& name, const std::vector<float>& weights) {
  const std::optional<int> profile = policy_.policy().profile_named(name);
  if (!profile) throw Error("governance", "the policy has no profile '{}'", name);
  policy_.set_weights(*profile, weights);
  changed_[name] = weights;
  // What several profiles decide together ("a+b") may have other weights now: its next use is recorded again.
  std::erase_if(named_, [](const std::string& id) { return id.find('+') != std::string::npos; });
  invalidate();
}

std::vector<Governance::Share> Governance::shares(const std::string& key) const {
  std::map<std::pair<std::string, std::string>, Share> found;
  const std::vector<DatasetDocument>& documents = dataset_->documents();
  for (size_t d = 0; d < documents.size(); ++d) {
    const Meta& meta = facts_[d].provenances.front();
    const auto named = meta.find(key);
    const std::string value = named == meta.end() ? "-" : named->second;
    const Decision& taken = decision(static_cast<int32_t>(d));
    Share& share = found[{value, taken.profile}];
    share.value = value;
    share.profile = taken.profile;
    share.weights = taken.weights;
    share.members.push_back(static_cast<int32_t>(d));
    ++share.documents;
    share.tokens += static_cast<int64_t>(documents[d].tokens);
  }
  std::vector<Share> out;
  for (auto& [k, share] : found) out.push_back(std::move(share));
  return out;
}

}  // namespace govtrain
