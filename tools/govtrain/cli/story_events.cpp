#include "tools/govtrain/cli/story_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

using nlohmann::json;

constexpr size_t widest_value = 100;

std::string shortened(std::string text, size_t most) {
  if (text.size() <= most) return text;
  text.resize(most - 3);
  return text + "...";
}

// Numbers to six digits, texts without quotes, lists and objects by their beginning.
std::string value_text(const json& value) {
  if (value.is_string()) return shortened(value.get<std::string>(), widest_value);
  if (value.is_number_float()) return fmt::format("{:.6g}", value.get<double>());
  if (value.is_array() && !value.empty() &&
      std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_primitive(); })) {
    std::string text;
    for (const json& v : value) text += (text.empty() ? "" : " ") + value_text(v);
    return shortened("[" + text + "]", widest_value);
  }
  if (value.is_structured()) return shortened(value.dump(), widest_value);
  return value.dump();
}

std::string members(const json& record, const std::vector<std::string>& left_out = {}) {
  std::string text;
  for (const auto& [key, value] : record.items()) {
    if (key == "step" || std::find(left_out.begin(), left_out.end(), key) != left_out.end()) continue;
    text += (text.empty() ? "" : ", ") + key + " " + value_text(value);
  }
  return text;
}

std::string member(const json& record, const char* key) { return value_text(record.value(key, json())); }

std::string run_text(const json& r) {
  return fmt::format(
      "govtrain {} ({}) on {} {}; {} parameters in {} blocks; {} documents, {} tokens", member(r, "version"),
      member(r, "commit"), member(r, "device"), member(r, "instruction_set"), r.value("parameters", 0),
      r.contains("block_map") ? r.at("block_map").value("count", size_t{0}) : r.value("blocks", json::array()).size(),
      r.value("data", json::object()).value("documents", 0), r.value("data", json::object()).value("tokens", 0));
}

std::string device_text(const json& r) {
  const json before = r.value("before", json::object());
  return fmt::format("goes on with {} {}, until here {} {}", member(r, "device"), member(r, "instruction_set"),
                     member(before, "device"), member(before, "instruction_set"));
}

std::string policy_text(const json& r) {
  if (r.contains("part") && r.contains("text"))
    return fmt::format("{}, part {} of its text", member(r, "id"), r.at("part").dump());
  const auto entries = static_cast<int64_t>(r.value("rules", json::array()).size());
  return fmt::format("{} with {} {}", member(r, "id"), entries, noun(entries, "entry")) +
         (r.contains("step") ? "; " + members(r, {"id", "name", "version", "rules", "text", "parts"}) : "");
}

std::string ckpt_text(const json& r) {
  std::string text = "weights " + shortened(member(r, "model"), 26);
  std::string with;
  for (const char* part : {"withheld", "average", "probe"}) {
    if (r.contains(part)) with += (with.empty() ? "" : ", ") + std::string(part);
  }
  return with.empty() ? text : text + ", with " + with;
}

std::string eval_text(const json& r) {
  const int64_t out = r.value("kept_out", int64_t{0});
  if (!r.contains("loss")) return fmt::format("no validation document is left: {} {} kept out", out, are(out));
  std::string text = fmt::format("validation loss {:.4f}", r.value("loss", 0.0));
  if (out > 0) text += fmt::format(", {} {} kept out", out, noun(out, "document"));
  if (!r.contains("by_source") || !r.at("by_source").is_object()) return text;
  std::string by;
  for (const auto& [name, loss] : r.at("by_source").items()) {
    if (loss.is_number()) by += fmt::format("{}{} {:.3f}", by.empty() ? "" : ", ", name, loss.get<double>());
  }
  return by.empty() ? text : text + " (" + shortened(by, 2 * widest_value) + ")";
}

std::string adapt_text(const json& r) {
  if (!r.contains("position")) return members(r);
  const json position = r.at("position");
  return fmt::format("stratification {}: {}, position {} to {} between broad (0) and narrow (1)",
                     member(r, "stratification"), member(r, "event"), member(position, "before"),
                     member(position, "after"));
}

std::string bands_text(const json& r) {
  std::string text;
  for (const char* what : {"surprisal", "slope"}) {
    const auto sketch = r.find(what);
    if (sketch == r.end() || !sketch->is_object()) continue;
    const json edges = sketch->value("edges", json());
    text += (text.empty() ? "" : "; ") + std::string(what);
    text += edges.is_array() ? fmt::format(" edges {}, of {} values within {} ranks", value_text(edges),
                                           member(*sketch, "n"), member(*sketch, "rank_error"))
                             : " no edges yet";
  }
  if (r.value("restart", false)) text += "; anew, for the profiles changed";
  return text.empty() ? members(r) : text;
}

// Windows of rules and revocations.
std::string dated_text(const json& r) {
  std::string text = r.contains("day") ? member(r, "day") + ": " : "";
  for (const char* key : {"rules", "due", "entries"}) {
    if (r.contains(key) && !r.at(key).empty()) text += value_text(r.at(key)) + "; ";
  }
  if (r.contains("pending") && !r.at("pending").empty())
    text += "for a later day " + value_text(r.at("pending")) + "; ";
  if (r.contains("problem")) return text + members(r, {"day", "rules", "due", "entries", "pending"});
  const json documents = r.value("documents", json::array());
  return text + fmt::format("{} {}", documents.size(), noun(static_cast<int64_t>(documents.size()), "document")) +
         (r.contains("part") ? fmt::format(" (part {})", r.at("part").dump()) : "");
}

// What the policy said of a prompt and its text.
std::string infer_text(const json& r) {
  const auto tokens = [&](const char* what) { return member(r.value(what, json::object()), "tokens"); };
  std::string text = fmt::format("{} on {}: {} tokens after a prompt of {}, {}", member(r, "policy"), member(r, "day"),
                                 tokens("text"), tokens("prompt"), member(r, "decision"));
  if (r.contains("rule")) text += " by " + member(r, "rule");
  return text;
}

}  // namespace

std::string event_text(const ControlRecord& record) {
  const json& r = record.payload;
  if (record.kind == "run") return run_text(r);
  if (record.kind == "device" && r.value("before", json()).is_object()) return device_text(r);
  if (record.kind == "policy") return policy_text(r);
  if (record.kind == "classes") return members(r, {"text", "models"});
  if (record.kind == "ckpt") return ckpt_text(r);
  if (record.kind == "eval") return eval_text(r);
  if (record.kind == "infer") return infer_text(r);
  if (record.kind == "adapt") return adapt_text(r);
  if (record.kind == "bands") return bands_text(r);
  if (record.kind == "expire" || record.kind == "admit" || record.kind == "revoke") return dated_text(r);
  return members(r);
}

}  // namespace govtrain
