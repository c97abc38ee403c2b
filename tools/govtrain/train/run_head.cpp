#include "tools/govtrain/train/run_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/hash.h"
#include "tools/govtrain/base/build_info.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/classify/classification_of.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain {

using nlohmann::json;

namespace {

constexpr size_t blocks_per_record = 400;  // names of up to 100 bytes: well below the largest entry

json block_list(const Session& s, size_t begin, size_t end) {
  json out = json::array();
  for (size_t b = begin; b < end; ++b) {
    out.push_back({{"name", s.blocks.names[b]}, {"elements", s.blocks.info[b].elements}});
  }
  return out;
}

}  // namespace

json device_record(const Session& s) {
  return {
      {"build", build_description()}, {"device", s.backend.name()}, {"instruction_set", s.backend.instruction_set()}};
}

json run_record(const Session& s) {
  const json config = training_config(s.config);
  const size_t count = s.blocks.names.size();
  json map = {{"by", s.config.blocks.by}, {"count", count}, {"sha256", s.blocks_sha256}};
  if (!s.config.blocks.file.empty()) {
    map["file_sha256"] = hex(sha256(require(real_file_system().read(s.config.blocks.file))));
  }
  json out = {{"version", version()},
              {"commit", git_id()},
              {"config", config},
              {"config_sha256", hex(sha256(config.dump()))},
              {"policy", s.policy.policy().id()},
              {"policy_date", s.date.text()},
              {"data",
               {{"sha256", hex(s.dataset.digest())},
                {"documents", s.dataset.documents().size()},
                {"tokens", s.dataset.tokens()}}},
              {"tokenizer", {{"kind", s.dataset.tokenizer().kind()}, {"sha256", hex(s.dataset.tokenizer().digest())}}},
              {"parameters", s.model->parameters().elements()},
              {"block_map", map},
              {"blocks", count <= blocks_per_record ? block_list(s, 0, count) : json::array()}};
  out.update(device_record(s));
  if (s.classifier) {
    out["classification"] = {{"id", s.classifier->classification().id()}, {"sha256", s.classifier->sha256()}};
  }
  return out;
}

std::vector<json> block_records(const Session& s) {
  std::vector<json> out;
  const size_t count = s.blocks.names.size();
  for (size_t b = 0; count > blocks_per_record && b < count; b += blocks_per_record) {
    out.push_back({{"first", b}, {"blocks", block_list(s, b, std::min(count, b + blocks_per_record))}});
  }
  return out;
}

json classes_record(const Session& s) {
  const Classification& classification = s.classifier->classification();
  json models = json::object();
  for (const ClassSource& source : classification.sources) {
    if (source.kind == ClassSource::Kind::model) models[source.name] = classifier_header(source.file);
  }
  json out = {{"id", classification.id()}, {"sha256", s.classifier->sha256()}, {"text", classification.canonical()}};
  if (!models.empty()) out["models"] = models;
  return out;
}

std::vector<json> policy_records(const BoundPolicy& policy) {
  json rules = json::array();
  for (const TableEntry& entry : policy.policy().table())
    rules.push_back({{"name", entry.name}, {"profile", entry.profile}});
  const std::string id = policy.policy().id(), text = policy.policy().canonical();
  std::vector<json> out = {
      {{"id", id}, {"name", policy.policy().name}, {"version", policy.policy().version}, {"rules", rules}}};
  constexpr size_t most = 25000;  // bytes of text in one entry, which escapes may double
  size_t begin = 0;
  do {
    size_t end = std::min(begin + most, text.size());
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // within a character
    if (begin > 0) out.push_back({{"id", id}, {"part", out.size()}});
    out.back()["text"] = text.substr(begin, end - begin);
    begin = end;
  } while (begin < text.size());
  for (json& record : out) {
    if (out.size() > 1) record["parts"] = out.size();
  }
  return out;
}

bool add_policy_text(const json& record, std::string& text) {
  if (!record.contains("text")) return false;
  const int64_t part = record.value("part", int64_t{0});
  if (part == 0) text.clear();
  text += record.at("text").get<std::string>();
  return part + 1 == record.value("parts", int64_t{1});
}

std::vector<json> profile_records(const Session& s) {
  std::vector<json> records;
  std::set<std::string> named;
  const Policy& policy = s.policy.policy();
  const auto add = [&](const std::string& id, const std::vector<float>& weights) {
    if (!named.insert(id).second) return false;
    json w = json::array();
    for (const float x : weights) w.push_back(x);
    records.push_back({{"id", id}, {"w", w}});
    return true;
  };
  for (size_t p = 0; p < policy.profiles.size(); ++p) {
    const Profile& profile = policy.profiles[p];
    const bool fresh = add(profile.name, s.policy.weights(static_cast<int>(p)));
    if (fresh && profile.negative_bound > 0) records.back()["allow_negative"] = {{"bound", profile.negative_bound}};
  }
  for (size_t d = 0; d < s.dataset.documents().size(); ++d) {
    const Decision& decision = s.governance->decision(static_cast<int32_t>(d));
    add(decision.profile, decision.weights);  // profiles that several rules made together
  }
  return records;
}

std::vector<ExcludedDocument> excluded_documents(FileSystem& fs, const std::string& dataset_folder) {
  const std::string path = join_path(dataset_folder, "excluded.jsonl");
  const std::string text = require(fs.read(path));
  std::vector<ExcludedDocument> out;
  for (size_t at = 0, line = 1; at < text.size(); ++line) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    const json parsed = json::parse(text.begin() + static_cast<ptrdiff_t>(at),
                                    text.begin() + static_cast<ptrdiff_t>(end), nullptr, false);
    at = end + 1;
    json provenance = parsed.is_object() ? parsed.value("provenance", json()) : json();
    if (provenance.is_object()) provenance = json::array({provenance});
    const bool objects = provenance.is_array() && !provenance.empty() &&
                         std::all_of(provenance.begin(), provenance.end(), [](const json& p) { return p.is_object(); });
    if (!objects || !parsed.contains("id") || !parsed.at("id").is_string()) {
      throw Failure(
          exit_data,
          fmt::format("{}:{}: expected an object with 'id' and 'provenance'; prepare the data again", path, line));
    }
    ExcludedDocument document{parsed.at("id"), {}};
    const json claims = parsed.value("claims", json());
    for (size_t i = 0; i < provenance.size(); ++i) {
      document.origins.push_back({provenance[i], {}});
      if (claims.is_array() && i < claims.size()) document.origins.back().claims = parse_claims(claims[i]);
    }
    out.push_back(std::move(document));
  }
  return out;
}

ExampleRecord excluded_record(const ExcludedDocument& document, const BoundPolicy& policy, const Date& date,
                              const std::string& classification) {
  const Decision decision = policy.resolve(facts_of(document.origins, digest_from_hex(document.digest)), date);
  ExampleRecord record;
  record.ex = "sha256:" + document.digest;
  record.w = decision.weights;
  record.g.assign(decision.weights.size(), 0.0f);
  record.r = decision.rule;
  record.pol = policy.policy().id();
  record.prof = decision.profile;
  const ClassSummary summary = class_summary(document.origins);
  record.cls = summary.cls;
  record.score = summary.score;
  if (!classification.empty()) record.clv = classification;
  return record;
}

std::string generation_config(const Tokenizer& tokenizer) {
  return json{{"bos_token_id", tokenizer.bos()}, {"eos_token_id", tokenizer.eos()}}.dump(1) + "\n";
}

std::string effect_table(const Session& s, const EvalResult& result) {
  std::string out =
      fmt::format("  {:<36} {:>9}   {:<30} {:>10}\n", "source", "tokens", "may teach at the end", "val loss");
  for (const auto& share : s.governance->shares("package")) {
    std::string taught;
    for (size_t b = 0; b < share.weights.size(); ++b) {
      if (share.weights[b] == 0) continue;
      taught += (taught.empty() ? "" : " ") + s.policy.blocks()[b];
    }
    if (taught.size() > 30) {
      size_t count = 0;
      for (const float w : share.weights) count += w != 0 ? 1 : 0;
      taught = fmt::format("{} of {} {}", count, share.weights.size(),
                           noun(static_cast<int64_t>(share.weights.size()), "block"));
    }
    if (taught.empty()) taught = "nothing";
    std::string loss = "-";
    for (const auto& source : result.sources) {
      if (source.name == share.value) loss = fmt::format("{:.4f}", source.loss());
    }
    out += fmt::format("  {:<36} {:>9}   {:<30} {:>10}\n", share.value.substr(0, 36),
                       human_count(static_cast<double>(share.tokens)), taught, loss);
  }
  return out + fmt::format("  {:<36} {:>9}   {:<30} {:>10}\n",
                           fmt::format("excluded: {} {}", s.prepared.excluded, noun(s.prepared.excluded, "record")),
                           "-", "nothing", "-");
}

}  // namespace govtrain
