// What can outgrow an entry of the log is known before it does: schedules and adaptation that open blocks later, and
// records that hold the weights of all blocks.
#include "tools/govtrain/train/record_size.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "core/file.h"
#include "lineage/record.h"
#include "lineage/tiles.h"
#include "routing/adaptation.h"
#include "tests/routing/fixtures.h"
#include "tests/tools/changes.h"
#include "tools/govtrain/train/outside.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

using namespace govtrain;
using namespace govtrain::routing_test;
using govtrain::testing::put;
using govtrain::testing::TinyRun;

namespace {

const std::string profiles =
    "policy: p\nversion: 1\ndefault: few\nprofiles:\n  few: {layer.0: 0.3, rest: 0}\n  part: {layer.0-99: 0.3, rest: "
    "0}\n  many: {all: 0.7}\n";

std::string problem(const std::string& text, int layers) {
  return too_large_record(bind_policy(profiles + text, layers), day("2026-06-01"), {licensed("MIT")},
                          {{"sha256:" + std::string(64, '0'), "few", "manual", "", {}, {}}})
      .value_or("");
}

bool names(const std::string& problem, const std::string& what) { return problem.find(what) != std::string::npos; }

// 2206 blocks, of which a record can hold a part; the documents of one licence may teach few of them.
const std::vector<std::string> many_blocks = {"blocks.by=channels", "blocks.ranges=1100", "model.mlp_width=1200",
                                              "train.steps=3"};
const std::string few =
    "policy: tiny\nversion: 1\ndefault: none\nprofiles:\n  full: {embedding: 1, \"*.channels.7??\": 2, rest: 0}\n"
    "  part: {\"*.channels.1\": 0.5, rest: 0}\n  all: {all: 1}\nrules:\n"
    "  - {name: free, when: {license: MIT}, profile: full}\n"
    "  - {name: copyleft, when: {license: GPL-3.0-only}, profile: part}\n";

}  // namespace

TEST_CASE("blocks that a schedule or the adaptation opens later count in the size of an example's record") {
  const std::string schedule = "schedule: [{name: s, profile: few, to: many, when: {step: 9}}]\n",
                    two =
                        "schedule: [{name: s, profile: few, to: part, when: {step: 9}}, "
                        "{name: t, profile: part, to: many, when: {step: 8}}]\n",
                    adaptation = "adaptation: {profiles: {few: many}}\n",
                    off =
                        "adaptation: {mode: off, profiles: "
                        "{few: many}}\n";
  const std::string of = " blocks, of which a document may come to teach ";
  CHECK(problem("", 2500).empty());
  CHECK(problem(off, 2500).empty());
  CHECK(problem("schedule: [{name: s, profile: few, to: part, when: {step: 9}}]\n", 2500).empty());
  CHECK(names(problem(schedule, 2500), "2502" + of + "2502, can need "));
  CHECK(problem(two, 2500).empty());  // what few comes to have is what the text says of part
  CHECK(names(problem(adaptation, 2500), "2502" + of + "2502, can need "));
  CHECK(names(problem(schedule, 1600), of));
  CHECK(problem(schedule, 1400).empty());
}

TEST_CASE("the record of an adaptation fits where nothing is said, and is as large as was said where it does not") {
  for (const int layers : {500, 850, 950, 1300}) {
    INFO(layers);
    const std::string text = "adaptation: {rate: 0.1, dead_band: 0, profiles: {few: many}}\n";
    const std::string said = problem(text, layers);
    AdaptationEngine engine(bind_policy(profiles + text, layers));
    std::vector<double> entropies(static_cast<size_t>(layers) + 2, 0.1234567890123456);
    entropies.back() = 0.9876543210987654;
    size_t largest = 0;
    for (int k = 0; k < 8; ++k) {
      const auto change = engine.observe(entropies);
      if (!change) continue;
      std::string leaf;
      const Status written = write_leaf(leaf, ControlRecord{"adapt", change->record});
      CHECK((written.ok() || !said.empty()));
      largest = std::max(largest, leaf.size());
    }
    CHECK(said.empty() == (layers < 900));
    if (!said.empty())
      CHECK(names(said, fmt::format("the adaptation of 1 profile of {} blocks can need ", layers + 2)));
    if (layers == 1300) CHECK(largest > max_entry_bytes);  // it would have ended the run
  }
}

TEST_CASE("the record of a profile that moves has a place for the longest numbers") {
  const std::string moves = "schedule: [{name: s, profile: few, to: part, over: 9, when: {step: 9}}]\n",
                    jumps = "schedule: [{name: s, profile: few, to: part, when: {step: 9}}]\n";
  std::string text = profiles;
  text.replace(text.find("{all: 0.7}"), 10, "{all: 1}");
  const auto said = [&](std::string change, int layers) {
    if (!change.empty()) change.replace(change.find("to: part"), 8, "to: many");
    const BoundPolicy policy = bind_policy(text + change, layers);
    return too_large_record(policy, day("2026-06-01"), {}, {}).value_or("");
  };
  CHECK(said("", 3000).empty());
  CHECK(said(jumps, 3000).empty());  // there are no documents: it is the profile alone
  CHECK(names(said(moves, 3000), "a profile of 3002 blocks can need "));
  CHECK(said(moves, 2600).empty());
}

TEST_CASE("a run is refused at its start when its schedule would outgrow the log, and a newer policy that would is too",
          "[slow]") {
  const TinyRun tiny;
  const std::string opens = few + "schedule: [{name: open, profile: part, to: all, when: {step: 100}}]\n";
  put(tiny.path("policy.yaml"), opens);
  CHECK(tiny.run("corpus", "run", many_blocks) == 2);
  INFO(tiny.read("run.log"));
  CHECK(names(tiny.read("run.log"), "2206 blocks, of which a document may come to teach 2206, can need "));
  CHECK(tiny.run("corpus", "run", govtrain::testing::with(many_blocks, {"lineage.enabled=false"})) == 0);

  put(tiny.path("policy.yaml"), few);
  const std::vector<std::string> watched = govtrain::testing::with(
      many_blocks,
      {"policy.watch=true", "run.out=" + tiny.path("watched"), "data.inputs=[" + tiny.path("corpus.jsonl") + "]"});
  const auto file = read_run_config(tiny.path("config.yaml"), watched);
  file->diagnostics.throw_if_errors();
  for (const bool logged : {true, false}) {
    put(tiny.path("policy.yaml"), few);
    Session s(real_file_system(), file->config, policy_date(file->config));
    if (logged) check_record_size(s);
    std::string newer = opens;
    put(tiny.path("policy.yaml"), newer.replace(newer.find("version: 1"), 10, "version: 2"));
    Outside outside(file->config, s.date);
    s.governance->begin_step({}, outside.look(1));
    const auto events = s.governance->take_events();
    REQUIRE_FALSE(events.empty());
    CHECK((s.governance->policy().policy().version == "1") == logged);
    CHECK(events[0].payload.contains("problem") == logged);
    if (logged) CHECK(names(events[0].payload.at("problem"), "form fewer blocks"));
  }
}
