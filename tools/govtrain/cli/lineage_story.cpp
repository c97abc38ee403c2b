#include "tools/govtrain/cli/lineage_story.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "lineage/record.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/story_events.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

using nlohmann::json;

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
    if (const auto loss = record.find("loss"); loss != record.end() && loss->is_number()) {
      last_loss_ = loss->get<double>();
      if (!first_loss_) first_loss_ = last_loss_;
    }
    double withheld = 0;
    for (const json& norm : record.value("withheld", json::array())) {
      if (norm.is_number()) withheld += norm.get<double>() * norm.get<double>();
    }
    withheld_ = std::max(withheld_, std::sqrt(withheld));
    ++steps_;
  }
  bool empty() const { return excluded_ == 0 && examples_ == 0 && steps_ == 0; }

  std::string text() const {
    std::string out;
    if (excluded_ > 0)
      out = fmt::format("{} {} kept out from the start", grouped(excluded_), noun(excluded_, "document"));
    if (examples_ == 0 && steps_ == 0) return out;
    if (!out.empty()) out += "; ";
    out += fmt::format("{} {}, {} tokens", grouped(examples_), noun(examples_, "example"),
                       human_count(static_cast<double>(tokens_)));
    std::string profiles;
    for (const auto& [name, n] : profiles_)
      profiles += fmt::format("{}{} {}", profiles.empty() ? "" : ", ", name, grouped(n));
    if (!profiles.empty()) out += " (" + profiles + ")";
    std::string bands;
    for (const auto& [band, n] : bands_) bands += fmt::format("{}{}: {}", bands.empty() ? "" : ", ", band, grouped(n));
    if (!bands.empty()) out += "; bands " + bands;
    if (first_loss_) out += fmt::format("; loss {:.3f} to {:.3f}", *first_loss_, last_loss_);
    if (withheld_ > 0) out += fmt::format("; withheld up to {:.3f}", withheld_);
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
  std::optional<double> first_loss_;  // of the steps that have one
  double last_loss_ = 0, withheld_ = 0;
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
    const std::string step = payload.contains("step") ? payload.at("step").dump() : "";
    line(fmt::format("{}", index), step, record.value().kind, event_text(record.value()));
    return true;
  };
  require(log.visit(0, log.size(), visit), exit_unverified);
  require(broken, exit_unverified);
  tell_stretch();
}

}  // namespace govtrain
