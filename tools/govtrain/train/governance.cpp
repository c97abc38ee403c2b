#include "tools/govtrain/train/governance.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <set>

#include "core/hash.h"

namespace govtrain {

using nlohmann::json;

Meta policy_meta(const json& meta) {
  Meta out;
  for (const auto& [key, value] : meta.items()) out[key] = value.is_string() ? value.get<std::string>() : value.dump();
  return out;
}

Exclude exclude_by(const BoundPolicy& policy, const Date& date) {
  return [&policy, date](const std::vector<json>& provenances, const Digest& document) -> std::optional<std::string> {
    DocumentFacts facts{hex(document), hex(document), {}};
    for (const json& meta : provenances) facts.provenances.push_back(policy_meta(meta));
    const Decision d = policy.resolve(facts, date);
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

Governance::Governance(BoundPolicy policy, const Date& date, const Dataset& dataset)
    : policy_(std::move(policy)), date_(date), dataset_(&dataset) {
  decisions_.reserve(dataset.documents().size());
  for (const DatasetDocument& document : dataset.documents()) {
    const std::string id = hex(document.digest);
    DocumentFacts facts{id, id, {}};
    for (const json& meta : document.provenance) facts.provenances.push_back(policy_meta(meta));
    decisions_.push_back(policy_.resolve(facts, date_));
    const Meta& first = facts.provenances.front();
    const auto cls = first.find("class");
    labels_.push_back({"sha256:" + id, decisions_.back().profile, cls == first.end() ? "" : cls->second, ""});
  }
}

std::vector<uint8_t> Governance::admitted() const {
  std::vector<uint8_t> admitted;
  for (const Decision& d : decisions_) admitted.push_back(d.excluded ? 0 : 1);
  return admitted;
}

RouteTable Governance::table(const std::vector<Example>& examples) const {
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

std::vector<Governance::Share> Governance::shares(const std::string& key) const {
  std::map<std::pair<std::string, std::string>, Share> found;
  const std::vector<DatasetDocument>& documents = dataset_->documents();
  for (size_t d = 0; d < documents.size(); ++d) {
    const json& meta = documents[d].provenance.front();
    const std::string value = meta.contains(key) && meta.at(key).is_string() ? meta.at(key).get<std::string>() : "-";
    const Decision& decision = decisions_[d];
    Share& share = found[{value, decision.profile}];
    share.value = value;
    share.profile = decision.profile;
    share.weights = decision.weights;
    ++share.documents;
    share.tokens += static_cast<int64_t>(documents[d].tokens);
  }
  std::vector<Share> out;
  for (auto& [k, share] : found) out.push_back(std::move(share));
  return out;
}

std::string provenance_json(const DatasetDocument& document) {
  return json{{"ex", "sha256:" + hex(document.digest)}, {"provenance", document.provenance}}.dump() + "\n";
}

}  // namespace govtrain
