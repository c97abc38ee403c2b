#include "tools/govtrain/train/run_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/hash.h"
#include "tools/govtrain/base/build_info.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain {

using nlohmann::json;

json run_record(const Session& s) {
  const json config = training_config(s.config);
  json blocks = json::array();
  std::vector<int64_t> elements(s.policy.blocks().size(), 0);
  for (const Slice& slice : s.blocks.slices) {
    elements[static_cast<size_t>(slice.block)] += (slice.row_end - slice.row_begin) * (slice.col_end - slice.col_begin);
  }
  for (size_t b = 0; b < elements.size(); ++b) {
    blocks.push_back({{"name", s.policy.blocks()[b]}, {"elements", elements[b]}});
  }
  return {{"version", version()},
          {"commit", git_id()},
          {"build", build_description()},
          {"device", s.backend.name()},
          {"instruction_set", s.backend.instruction_set()},
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
          {"blocks", blocks}};
}

json policy_record(const BoundPolicy& policy) {
  json rules = json::array();
  for (const TableEntry& entry : policy.policy().table())
    rules.push_back({{"name", entry.name}, {"profile", entry.profile}});
  return {{"id", policy.policy().id()},
          {"name", policy.policy().name},
          {"version", policy.policy().version},
          {"rules", rules},
          {"text", policy.policy().canonical()}};
}

std::vector<json> profile_records(const Session& s) {
  std::vector<json> records;
  std::set<std::string> named;
  const Policy& policy = s.policy.policy();
  const auto add = [&](const std::string& id, const std::vector<float>& weights) {
    if (!named.insert(id).second) return;
    json w = json::array();
    for (const float x : weights) w.push_back(x);
    records.push_back({{"id", id}, {"w", w}});
  };
  for (size_t p = 0; p < policy.profiles.size(); ++p)
    add(policy.profiles[p].name, s.policy.weights(static_cast<int>(p)));
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
    ExcludedDocument document{parsed.at("id"), "", {}};
    document.provenance = json{{"ex", "sha256:" + document.digest}, {"provenance", provenance}}.dump() + "\n";
    for (const json& meta : provenance) document.meta.push_back(policy_meta(meta));
    out.push_back(std::move(document));
  }
  return out;
}

ExampleRecord excluded_record(const ExcludedDocument& document, const BoundPolicy& policy, const Date& date) {
  const Decision decision = policy.resolve({document.digest, document.digest, document.meta}, date);
  ExampleRecord record;
  record.ex = "sha256:" + document.digest;
  record.w = decision.weights;
  record.g.assign(decision.weights.size(), 0.0f);
  record.r = decision.rule;
  record.pol = policy.policy().id();
  record.prof = decision.profile;
  const Meta& first = document.meta.front();
  const auto cls = first.find("class");
  if (cls != first.end()) record.cls = cls->second;
  return record;
}

std::string generation_config(const Tokenizer& tokenizer) {
  return json{{"bos_token_id", tokenizer.bos()}, {"eos_token_id", tokenizer.eos()}}.dump(1) + "\n";
}

std::string effect_table(const Session& s, const EvalResult& result) {
  std::string out = fmt::format("  {:<36} {:>9}   {:<30} {:>10}\n", "source", "tokens", "taught", "val loss");
  for (const auto& share : s.governance->shares("package")) {
    std::string taught;
    for (size_t b = 0; b < share.weights.size(); ++b) {
      if (share.weights[b] == 0) continue;
      taught += (taught.empty() ? "" : " ") + s.policy.blocks()[b];
    }
    if (taught.size() > 30) {
      size_t count = 0;
      for (const float w : share.weights) count += w != 0 ? 1 : 0;
      taught = fmt::format("{} of {} blocks", count, share.weights.size());
    }
    std::string loss = "-";
    for (const auto& source : result.sources) {
      if (source.name == share.value) loss = fmt::format("{:.4f}", source.loss());
    }
    out += fmt::format("  {:<36} {:>9}   {:<30} {:>10}\n", share.value.substr(0, 36),
                       human_count(static_cast<double>(share.tokens)), taught, loss);
  }
  return out + fmt::format("  {:<36} {:>9}   {:<30} {:>10}\n", fmt::format("excluded: {} records", s.prepared.excluded),
                           "-", "nothing", "-");
}

}  // namespace govtrain
