#include "tools/govtrain/data/facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/number.h"

namespace govtrain {

using nlohmann::json;

Meta policy_meta(const json& meta) {
  Meta out;
  for (const auto& [key, value] : meta.items()) out[key] = value.is_string() ? value.get<std::string>() : value.dump();
  return out;
}

DocumentFacts facts_of(const std::vector<Origin>& origins, const Digest& digest) {
  DocumentFacts facts{hex(digest), hex(digest), {}};
  for (const Origin& origin : origins) {
    Meta meta = policy_meta(origin.meta);
    if (!origin.claims) {
      facts.provenances.push_back(std::move(meta));
      continue;
    }
    for (Meta& view : with_classes(meta, *origin.claims)) facts.provenances.push_back(std::move(view));
  }
  return facts;
}

ClassSummary class_summary(const std::vector<Origin>& origins) {
  if (origins.empty()) return {};
  if (!origins.front().claims) {
    const Meta meta = policy_meta(origins.front().meta);
    const auto cls = meta.find("class");
    return {cls == meta.end() ? "" : cls->second, {}};
  }
  ClassSummary out;
  std::vector<Claim> all;
  for (const Origin& origin : origins) {
    for (const Claim& claim : *origin.claims) {
      all.push_back(claim);
      out.score = std::min(out.score.value_or(1.0F), claim.score);
    }
  }
  out.cls = join(claimed_classes(all), "+");
  return out;
}

json claims_json(const std::vector<Claim>& claims) {
  json out = json::array();
  for (const Claim& claim : claims) {
    std::string score;  // the shortest decimal, not the double that a float widens to
    append_number(score, claim.score);
    out.push_back({{"by", claim.by}, {"class", claim.cls}, {"score", json::parse(score)}});
  }
  return out;
}

std::vector<Claim> parse_claims(const json& claims) {
  std::vector<Claim> out;
  try {
    for (const json& claim : claims) out.push_back({claim.at("by"), claim.at("class"), claim.at("score")});
  } catch (const json::exception&) {
    throw Error("data", "expected a list of claims with by, class and score, got {}", claims.dump().substr(0, 100));
  }
  return out;
}

std::string provenance_json(const std::vector<Origin>& origins, const Digest& digest) {
  json provenance = json::array(), claims = json::array();
  for (const Origin& origin : origins) {
    provenance.push_back(origin.meta);
    if (origin.claims) claims.push_back(claims_json(*origin.claims));
  }
  json out = {{"ex", "sha256:" + hex(digest)}, {"provenance", provenance}};
  if (!claims.empty()) out["claims"] = claims;
  return out.dump() + "\n";
}

DocumentClassifier::DocumentClassifier(Classification classification)
    : classification_(std::move(classification)), sha256_(hex(govtrain::sha256(classification_.canonical()))) {}

std::vector<Claim> DocumentClassifier::claims(const json& record, const Digest& digest, const std::string& text) {
  const Meta meta = policy_meta(record);
  const std::string id = hex(digest);
  std::vector<Claim> out = classification_.claims(meta, id, text);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const Claim& claim : out) {
    if (!classification_.listed(claim.cls)) unlisted_.insert(claim.cls);
  }
  for (const ClassSource& source : classification_.sources) {
    if (source.kind != ClassSource::Kind::labels) continue;
    for (const ClassLabel* label : Classification::labels_of(source, meta, id)) used_.insert(label);
  }
  return out;
}

void DocumentClassifier::check() const {
  if (unlisted_.empty()) return;
  std::vector<std::string> names;
  for (const std::string& name : unlisted_) names.push_back(in_quotes(name));
  if (names.size() > 10) names.resize(10), names.emplace_back("...");
  throw Error("classification", "the corpus has classes that {} does not list: {}; expected one of {}",
              classification_.id(), join(names), join(classification_.classes));
}

std::vector<std::string> DocumentClassifier::notes() const {
  std::vector<std::string> out;
  for (const ClassSource& source : classification_.sources) {
    const auto unknown = std::count_if(source.labels.begin(), source.labels.end(),
                                       [&](const auto& label) { return !used_.contains(&label.second); });
    if (unknown > 0)
      out.push_back(
          fmt::format("{}: {} of {} labels name no record of the corpus", source.file, unknown, source.labels.size()));
  }
  return out;
}

}  // namespace govtrain
