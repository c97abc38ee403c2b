#include "tools/govtrain/cli/lineage_story.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "lineage/record.h"
#include "tools/govtrain/base/exit.h"
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

std::string run_text(const json& r) {
  return fmt::format("govtrain {} ({}) on {} {}; {} parameters in {} blocks; {} documents, {} tokens",
                     value_text(r.value("version", json())), value_text(r.value("commit", json())),
                     value_text(r.value("device", json())), value_text(r.value("instruction_set", json())),
                     r.value("parameters", 0), r.value("blocks", json::array()).size(),
                     r.value("data", json::object()).value("documents", 0),
                     r.value("data", json::object()).value("tokens", 0));
}

std::string policy_text(const json& r) {
  return fmt::format("{} with {} entries", value_text(r.value("id", json())), r.value("rules", json::array()).size()) +
         (r.size() > 5 ? "; " + members(r, {"id", "name", "version", "rules", "text"}) : "");
}

std::string ckpt_text(const json& r) {
  std::string text = "weights " + shortened(value_text(r.value("model", json())), 26);
  const std::string rest = members(r, {"model", "optimizer"});
  return rest.empty() ? text : text + ", " + rest;
}

std::string eval_text(const json& r) {
  std::string text = fmt::format("validation loss {:.4f}", r.value("loss", 0.0));
  if (!r.contains("by_source") || !r.at("by_source").is_object()) return text;
  std::string by;
  for (const auto& [name, loss] : r.at("by_source").items()) {
    if (loss.is_number()) by += fmt::format("{}{} {:.3f}", by.empty() ? "" : ", ", name, loss.get<double>());
  }
  return by.empty() ? text : text + " (" + shortened(by, 2 * widest_value) + ")";
}

std::string text_of(const std::string& kind, const json& payload) {
  if (kind == "run") return run_text(payload);
  if (kind == "policy") return policy_text(payload);
  if (kind == "ckpt") return ckpt_text(payload);
  if (kind == "eval") return eval_text(payload);
  return members(payload);
}

// A stretch of data records without a control record between them but `step`.
class Stretch {
 public:
  void add(const ExampleRecord& record) {
    if (!record.place) {
      ++excluded_;
      return;
    }
    ++examples_;
    see_step(record.place->step);
    tokens_ += record.tok;
    ++profiles_[record.prof];
    if (record.band) ++bands_[*record.band];
  }
  void add_step(const json& record) {
    see_step(record.value("step", int64_t{0}));
    last_loss_ = record.value("loss", 0.0);
    if (steps_++ == 0) first_loss_ = last_loss_;
  }
  bool empty() const { return excluded_ == 0 && examples_ == 0 && steps_ == 0; }

  std::string text() const {
    std::string out;
    if (excluded_ > 0) out = fmt::format("{} documents kept out from the start", grouped(excluded_));
    if (examples_ == 0 && steps_ == 0) return out;
    if (!out.empty()) out += "; ";
    out += fmt::format("{} examples, {} tokens", grouped(examples_), human_count(static_cast<double>(tokens_)));
    std::string profiles;
    for (const auto& [name, n] : profiles_)
      profiles += fmt::format("{}{} {}", profiles.empty() ? "" : ", ", name, grouped(n));
    if (!profiles.empty()) out += " (" + profiles + ")";
    std::string bands;
    for (const auto& [band, n] : bands_) bands += fmt::format("{}{}: {}", bands.empty() ? "" : ", ", band, grouped(n));
    if (!bands.empty()) out += "; bands " + bands;
    if (steps_ > 0) out += fmt::format("; loss {:.3f} to {:.3f}", first_loss_, last_loss_);
    return out;
  }
  std::string steps() const {
    if (last_ < 0) return "";
    return first_ == last_ ? fmt::format("{}", first_) : fmt::format("{}-{}", first_, last_);
  }

 private:
  void see_step(int64_t step) {
    if (last_ < 0) first_ = step;
    last_ = step;
  }
  int64_t excluded_ = 0, examples_ = 0, tokens_ = 0, steps_ = 0, first_ = -1, last_ = -1;
  double first_loss_ = 0, last_loss_ = 0;
  std::map<std::string, int64_t> profiles_;
  std::map<int32_t, int64_t> bands_;
};

void line(const std::string& index, const std::string& step, const std::string& kind, const std::string& text) {
  fmt::print("{:>9}  {:>9}  {:<9} {}\n", index, step, kind, text);
}

}  // namespace

void print_lineage_story(LogReader& log) {
  line("entry", "step", "event", "");
  Stretch stretch;
  uint64_t begin = 0;
  Status broken;
  const auto tell_stretch = [&] {
    if (!stretch.empty()) line(fmt::format("{}", begin), stretch.steps(), "train", stretch.text());
    stretch = {};
  };
  const auto visit = [&](uint64_t index, std::string_view leaf) {
    if (stretch.empty()) begin = index;
    const auto kind = leaf_kind(leaf);
    if (kind.ok() && kind.value() == "ex") {
      const auto record = parse_example(leaf);
      if (!record.ok())
        broken = Status(record.status().code(), fmt::format("entry {}: {}", index, record.status().message()));
      if (record.ok()) stretch.add(record.value());
      return record.ok();
    }
    const auto record = parse_control(leaf);
    if (!record.ok()) {
      broken = Status(record.status().code(), fmt::format("entry {}: {}", index, record.status().message()));
      return false;
    }
    const json& payload = record.value().payload;
    if (record.value().kind == "step") {
      stretch.add_step(payload);
      return true;
    }
    tell_stretch();
    const std::string step = payload.contains("step") ? value_text(payload.at("step")) : "";
    line(fmt::format("{}", index), step, record.value().kind, text_of(record.value().kind, payload));
    return true;
  };
  require(log.visit(0, log.size(), visit), exit_unverified);
  require(broken, exit_unverified);
  tell_stretch();
}

}  // namespace govtrain
