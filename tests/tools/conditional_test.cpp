// Schedules that wait for the training state (drift, capacity use, a plateau of the loss) in whole runs: they act in
// the step after the measurement that first meets them, with that measurement as evidence, the same after a resume, and
// without regard to what is excluded. What the measures are: tests/routing/representation_test.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/tools/empty_slots.h"
#include "tests/tools/tiny_run.h"

using namespace govtrain;
using govtrain::testing::files_of;
using govtrain::testing::TinyDocument;
using govtrain::testing::TinyRun;
using nlohmann::json;

namespace {

const std::vector<std::string> settings = {
    "probe.examples=8", "probe.every=1",     "probe.loss_window=2", "train.steps=24",
    "save.every=4",     "save.keep_last=99", "eval.every=0",        "data.validation_fraction=0.3"};

void write_policy(const TinyRun& tiny, const std::string& when) {
  std::ofstream(tiny.path("policy.yaml"))
      << "policy: tiny\nversion: 1\ndefault: none\nprofiles:\n  full: {all: 1}\n"
      << "  shallow: {embedding: 1, layer.0: 0.5, rest: 0}\nrules:\n"
      << "  - {name: free, when: {license: MIT}, profile: full}\n"
      << "  - {name: copyleft, when: {license: GPL-3.0-only}, profile: shallow}\n"
      << "  - {name: unclear, when: {class: uncertain}, profile: none}\n"
      << (when.empty() ? "" : "schedule:\n  - {name: wait, profile: shallow, to: full, when: {" + when + "}}\n");
}

// What a metric was after each step, as far as it was there.
std::map<int64_t, double> metric(const TinyRun& tiny, const std::string& out, const std::string& name) {
  std::map<int64_t, double> values;
  std::istringstream lines(tiny.read(out + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line);
    if (record.contains(name)) values[record.at("step")] = record.at(name);
  }
  return values;
}

struct Threshold {
  std::string bound;  // "above: x"
  int64_t met = -1;   // after this step, and not before
};

// A bound that the values first meet well after the start.
Threshold threshold(const std::map<int64_t, double>& values) {
  double lowest = INFINITY, highest = -INFINITY;
  for (const auto& [step, v] : values) {
    const double above = (highest + v) / 2, below = (lowest + v) / 2;
    if (step >= 7 && step <= 18 && v > highest + 1e-6) return {fmt::format("above: {}", above), step};
    if (step >= 7 && step <= 18 && v < lowest - 1e-6) return {fmt::format("below: {}", below), step};
    lowest = std::min(lowest, v);
    highest = std::max(highest, v);
  }
  return {};
}

std::vector<json> changes(const TinyRun::Log& log) {
  std::vector<json> out;
  for (const std::string& leaf : log.leaves) {
    const json record = json::parse(leaf);
    if (record.at("k") == "profile" && record.contains("schedule")) out.push_back(record);
  }
  return out;
}

}  // namespace

TEST_CASE("the plan says how many blocks a document may teach at the start, and how many later", "[slow]") {
  const TinyRun tiny;
  tiny.write_corpus("all", TinyRun::default_documents(1));
  const auto plan = [&](const std::string& name, const std::string& more) {
    write_policy(tiny, "");
    std::ofstream(tiny.path("policy.yaml"), std::ios::app) << more;
    REQUIRE(tiny.run("all", name, {"probe.examples=8", "data.validation_fraction=0.3", "--dry-run"}) == 0);
    return tiny.read(name + ".log");
  };
  const auto says = [](const std::string& text, const std::string& part) {
    INFO(text);
    return text.find(part) != std::string::npos;
  };
  const std::string fixed = plan("fixed", "");
  CHECK(says(fixed, "2 of 4 blocks\n"));
  CHECK_FALSE(says(fixed, ", may "));
  CHECK_FALSE(says(fixed, "at the start"));
  const std::string opens = plan("opens", "schedule: [{name: s, profile: shallow, to: full, when: {step: 5}}]\n");
  CHECK(says(opens, "2 of 4 blocks, may rise to 4\n"));
  CHECK(says(opens, "mean weight over tokens, at the start\n"));
  const std::string adapts = plan("adapts", "adaptation: {begin: 0.1, full: 0.2, profiles: {shallow: full}}\n");
  CHECK(says(adapts, "4 of 4 blocks, may fall to 2\n"));
  CHECK(says(adapts, "   1.00\n"));
  CHECK_FALSE(says(adapts, "2 of 4 blocks"));
}

TEST_CASE("a schedule that waits for drift, capacity or a plateau acts after the measurement that meets it", "[slow]") {
  const TinyRun tiny;
  const std::vector<TinyDocument> all = TinyRun::default_documents(1);
  std::vector<TinyDocument> without;
  for (const TinyDocument& d : all) {
    if (d.cls != "uncertain") without.push_back(d);
  }
  tiny.write_corpus("without", without);
  write_policy(tiny, "");
  REQUIRE(tiny.run("corpus", "measured", settings) == 0);
  struct Measure {
    std::string metric, evidence, condition;  // {} in the condition: the bound
  };
  const std::vector<Measure> measures = {{"drift/layer.1", "drift layer.1", "drift: {{block: layer.1, {}}}"},
                                         {"capacity/layer.0", "capacity layer.0", "capacity: {{block: layer.0, {}}}"},
                                         {"loss_progress", "loss_progress", "loss_progress: {{{}}}"}};
  for (const Measure& m : measures) {
    const auto values = metric(tiny, "measured", m.metric);
    const Threshold t = threshold(values);
    INFO(m.metric << " " << t.bound << " after step " << t.met);
    REQUIRE(t.met > 0);
    write_policy(tiny, fmt::format(fmt::runtime(m.condition), t.bound));
    const std::string out = m.metric.substr(0, 5);
    REQUIRE(tiny.run("corpus", out, settings) == 0);
    const TinyRun::Log log = tiny.log(out);
    const std::vector<json> changed = changes(log);
    REQUIRE(changed.size() == 1);
    CHECK(changed[0].at("step") == t.met + 1);
    CHECK(changed[0].at("evidence").at(m.evidence).get<double>() == values.at(t.met));
    int before = 0, after = 0;
    for (const ExampleRecord& r : log.examples) {
      if (!r.place || r.prof != "shallow") continue;
      const bool wide = r.place->step > t.met;
      (wide ? after : before) += 1;
      CHECK(r.w == (wide ? std::vector<float>(4, 1.0F) : std::vector<float>{1, 0.5F, 0, 0}));
    }
    CHECK(before > 0);
    CHECK(after > 0);
    // Resumed before and after it: the same run. Without what is excluded, too.
    const auto files = files_of(tiny, out);
    CHECK(files != files_of(tiny, "measured"));
    for (const int64_t step : {4, 20}) {
      std::vector<std::string> again = settings;
      again.push_back(fmt::format("run.resume={}/ckpt/step-{:06}", tiny.path(out), step));
      REQUIRE(tiny.run("corpus", out, again) == 0);
      CHECK(files_of(tiny, out) == files);
      CHECK(tiny.log(out).examples == log.examples);
      CHECK(changes(tiny.log(out)) == changed);
    }
    REQUIRE(tiny.run("without", out + "-without", settings) == 0);
    CHECK(files_of(tiny, out + "-without") == files);
    CHECK(changes(tiny.log(out + "-without")) == changed);
  }
}
