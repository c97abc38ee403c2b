// Whole runs with profiles that adapt, through the real program: what is logged and when, bounds, kill and resume,
// replay, threads, and that what is kept out or restricted has no say. Zero tolerance.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "routing/adaptation.h"
#include "routing/controller.h"
#include "tests/tools/adapting_run.h"
#include "tools/govtrain/data/prepare.h"
#include "tools/govtrain/train/proposals.h"
#include "tools/govtrain/train/session.h"

using namespace govtrain;
using namespace govtrain::testing;
using nlohmann::json;

namespace {

BoundPolicy policy_of(const TinyRun::Log& log) {
  Diagnostics d;
  auto policy = Policy::parse("log", records(log, "policy").at(0).at("text"), d);
  BlockMap blocks;
  const json run = records(log, "run").at(0);
  for (const json& b : run.at("blocks")) blocks.names.push_back(b.at("name"));
  blocks.info.resize(blocks.names.size());
  return BoundPolicy::bind(std::move(*policy), blocks);
}

}  // namespace

TEST_CASE("adaptation in a run: broad first, narrowing, logged before it counts, and computed again from the log",
          "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, adaptation);
  run(tiny, "a", probing);
  const TinyRun::Log log = tiny.log("a");
  CHECK(tiny.program({"lineage", "verify", tiny.path("a")}, "verify.log") == 0);
  check_weights_are_logged(log);

  const std::vector<json> adapted = records(log, "adapt");
  REQUIRE(adapted.size() >= 2);
  CHECK(adapted[0].at("event") == "start");
  CHECK(adapted[0].at("step") == 1);
  CHECK(adapted[0].at("probe").at("examples") == 8);
  CHECK(adapted[1].at("position").at("after").get<double>() > 0);
  const BoundPolicy policy = policy_of(log);
  for (const json& record : adapted) CHECK(check_adaptation(policy, record) == std::nullopt);
  // The very first step was broad: copyleft text taught every block.
  const auto copyleft =
      std::find_if(log.examples.begin(), log.examples.end(), [](const auto& e) { return e.prof == "shallow"; });
  REQUIRE(copyleft != log.examples.end());
  CHECK(copyleft->w == std::vector<float>(4, 1.0F));
  const auto last =
      std::find_if(log.examples.rbegin(), log.examples.rend(), [](const auto& e) { return e.prof == "shallow"; });
  CHECK(last->w[3] < 1);
  CHECK(last->w[0] == 1);

  const std::string metrics = tiny.read("a/metrics.jsonl");
  for (const char* name : {"entropy/embedding", "entropy/layer.1", "entropy/final", "capacity/layer.0", "drift/final",
                           "stratification/spread", "adaptation/position"}) {
    CHECK(metrics.find(name) != std::string::npos);
  }
  // Other threads, other portions: the same run.
  run(tiny, "b", probing, "run.threads=2");
  check_same(tiny, "a", "b");
  CHECK(tiny.log("b").leaves == log.leaves);
  // Replayed from the log, without a probe set: the same weights at the same steps.
  run(tiny, "r", {"data.validation_fraction=0.3"}, "adaptation.replay=" + tiny.path("a"));
  check_same(tiny, "a", "r");
  CHECK(records(tiny.log("r"), "adapt").at(0).at("replayed").at("entry").get<int>() > 0);
  CHECK(tiny.read("r/metrics.jsonl").find("entropy/") == std::string::npos);
  CHECK(tiny.program({"policy", "replay", tiny.path("a")}, "replay.log") == 0);
  CHECK(tiny.program({"policy", "replay", tiny.path("r")}, "replay.log") == 0);
  // It matters.
  write_policy(tiny, "");
  run(tiny, "n", probing);
  CHECK(tiny.final_sha256("n", "model.safetensors") != tiny.final_sha256("a", "model.safetensors"));
  CHECK(records(tiny.log("n"), "adapt").empty());
  const std::string narrow = tiny.final_sha256("n", "model.safetensors");
  write_policy(tiny, std::string("adaptation: {mode: off, ") + (adaptation + 13));
  run(tiny, "o", probing);
  CHECK(tiny.final_sha256("o", "model.safetensors") == narrow);  // measuring changes nothing
  write_policy(tiny, std::string("adaptation: {mode: frozen, ") + (adaptation + 13));
  run(tiny, "f", probing);
  CHECK(records(tiny.log("f"), "adapt").empty());
  CHECK(tiny.final_sha256("f", "model.safetensors") == narrow);  // nothing was reached that could be kept
}

TEST_CASE("runs with adaptation or a controller are the same after an interruption and a resume", "[slow]") {
  const bool adapts = GENERATE(true, false);
  CAPTURE(adapts);
  const TinyRun tiny;
  write_policy(tiny, adapts ? adaptation : controller);
  std::vector<std::string> settings = adapts ? probing : controlling;
  settings.push_back("save.every=2");
  settings.push_back("save.keep_last=100");
  run(tiny, "whole", settings);
  const TinyRun::Log whole = tiny.log("whole");
  REQUIRE(records(whole, adapts ? "adapt" : "proposal").size() >= 2);
  for (const char* step : {"2", "6"}) {
    CAPTURE(step);
    const std::string out = std::string("from") + step;
    run(tiny, out, settings);
    run(tiny, out, settings, "run.resume=" + tiny.path(out + "/ckpt/step-00000" + step));
    check_same(tiny, "whole", out);
    CHECK(tiny.final_sha256(out, "trainer_state.json").size() == 64);
    std::vector<std::string> kept;
    for (const std::string& leaf : tiny.log(out).leaves) {
      if (leaf_kind(leaf).value() != "rewind") kept.push_back(leaf);
    }
    CHECK(kept == whole.leaves);
  }
}

TEST_CASE("what is kept out, and what some block does not admit, has no say in adaptation", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, adaptation);
  std::vector<TinyDocument> all = TinyRun::default_documents(5), without, other;
  for (const TinyDocument& d : all) {
    if (d.cls != "uncertain") without.push_back(d);
    other.push_back(d);
    if (d.cls == "uncertain") other.back().text = "jackdaws " + d.source + " love big sphinxes of quartz";
  }
  tiny.write_corpus("all", all);
  tiny.write_corpus("without", without);
  tiny.write_corpus("other", other);
  run(tiny, "a", probing, "", "all");
  run(tiny, "w", probing, "", "without");
  run(tiny, "o", probing, "", "other");
  check_same(tiny, "a", "w");
  check_same(tiny, "a", "o");
  CHECK(records(tiny.log("a"), "adapt") == records(tiny.log("w"), "adapt"));
  // Documents that some block does not admit are not in the probe set: their number changes nothing in it.
  const auto digest = [&](const std::string& out) { return records(tiny.log(out), "adapt").at(0).at("probe"); };
  std::vector<TinyDocument> free;
  for (const TinyDocument& d : without) {
    if (d.license == "MIT") free.push_back(d);
  }
  tiny.write_corpus("free", free);
  run(tiny, "free", probing, "", "free");
  CHECK(digest("free") == digest("a"));
}

TEST_CASE("the controller in a run: proposals within bounds, applied by rule, or after a review", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, controller);
  run(tiny, "rule", controlling);
  const TinyRun::Log log = tiny.log("rule");
  check_weights_are_logged(log);
  const std::vector<json> proposals = records(log, "proposal");
  REQUIRE(!proposals.empty());
  const BoundPolicy policy = policy_of(log);
  for (const json& p : proposals) {
    CHECK(check_proposal(policy, p) == std::nullopt);
    CHECK(p.at("after").at(3) == 0);
  }
  CHECK(tiny.program({"policy", "replay", tiny.path("rule")}, "replay.log") == 0);
  run(tiny, "replayed", controlling, "adaptation.replay=" + tiny.path("rule"));
  check_same(tiny, "rule", "replayed");

  write_policy(tiny, std::string("controller: {by: review, ") + (controller + 13));
  std::vector<std::string> stops = controlling;
  stops.push_back("save.every=1");
  stops.push_back("save.keep_last=100");
  run(tiny, "review", stops);
  const std::vector<json> open = records(tiny.log("review"), "proposal");
  REQUIRE(!open.empty());
  CHECK(open[0].at("outcome") == "pending");
  CHECK(records(tiny.log("review"), "review").empty());
  CHECK(tiny.program({"proposals", "list", tiny.path("review")}, "list.log") == 0);
  CHECK(tiny.read("list.log").find("pending") != std::string::npos);
  CHECK(tiny.program({"proposals", "show", tiny.path("review"), "1"}, "show.log") == 0);
  // As if somebody had decided while it trained.
  REQUIRE(write_verdict(real_file_system(), tiny.path("review"), payload_of(open[0]), {true, "plausible"}).ok());
  CHECK(tiny.program({"proposals", "approve", tiny.path("review"), "99", "--reason", "x"}, "no.log") != 0);
  // A verdict on something else of that number is no verdict.
  const std::string verdict = tiny.read("review/proposals/1.json");
  std::string other = verdict;
  other.replace(other.find("sha256:") + 7, 8, "00000000");
  std::ofstream(tiny.path("review/proposals/1.json")) << other;
  CHECK(tiny.program({"proposals", "list", tiny.path("review")}, "other.log") == 3);
  CHECK(tiny.read("other.log").find("another proposal of that number") != std::string::npos);
  std::ofstream(tiny.path("review/proposals/1.json")) << verdict;
  // Taken in at the next checkpoint of a run that goes on.
  const int64_t step = open[0].at("step").get<int64_t>() - 1;
  run(tiny, "review", stops, fmt::format("run.resume={}/ckpt/step-{:06}", tiny.path("review"), step));
  const std::vector<json> reviewed = records(tiny.log("review"), "review");
  REQUIRE(reviewed.size() == 1);
  CHECK(reviewed[0].at("outcome") == "applied");
  CHECK(reviewed[0].at("after") == open[0].at("after"));
  check_weights_are_logged(tiny.log("review"));
  CHECK(tiny.program({"policy", "replay", tiny.path("review")}, "replay.log") == 0);
}

TEST_CASE("a probe set whose licence ends is measured no more, and the run goes on", "[slow]") {
  const TinyRun tiny;
  std::string text = std::string(head) + adaptation;
  const std::string free = "when: {license: MIT}, profile: full";
  text.replace(text.find(free), free.size(), free + ", until: 2026-06-02");
  std::ofstream(tiny.path("policy.yaml")) << text;
  std::vector<std::string> settings = probing;
  settings.insert(settings.end(), {"policy.clock=simulated", "policy.steps_per_day=5"});
  run(tiny, "a", settings);
  const std::vector<json> adapt = records(tiny.log("a"), "adapt");
  std::vector<int64_t> skipped;
  for (const json& r : adapt) {
    if (r.at("event") == "skipped") skipped.push_back(r.at("step").get<int64_t>());
  }
  CHECK(skipped == std::vector<int64_t>{7, 10});
  CHECK(adapt.size() > skipped.size());
  check_weights_are_logged(tiny.log("a"));
  CHECK(tiny.program({"policy", "replay", tiny.path("a")}, "replay.log") == 0);
}

TEST_CASE("profiles that several rules decide together are recorded again when one of them has changed", "[slow]") {
  const TinyRun tiny;
  std::string text = std::string(head) + adaptation;
  text.replace(
      text.find("rules:\n"), 7,
      "  upper: {embedding: 0.5, rest: 1}\nrules:\n  - {name: manual, when: {class: manual}, profile: upper}\n");
  std::ofstream(tiny.path("policy.yaml")) << text;
  std::vector<std::string> settings = probing;
  settings.insert(settings.end(), {"probe.file=" + tiny.path("probe.txt"), "save.every=2", "save.keep_last=100"});
  std::ofstream(tiny.path("probe.txt")) << "the depth of the layer is\nnever a model and\nthe log of the routing\n";
  run(tiny, "a", settings);
  const TinyRun::Log log = tiny.log("a");
  check_weights_are_logged(log);
  int together = 0;
  for (const ExampleRecord& r : log.examples) together += r.prof.find('+') != std::string::npos ? 1 : 0;
  CHECK(together > 20);
  std::set<std::vector<float>> weights;
  for (const json& p : records(log, "profile")) {
    if (p.at("id") == "upper+shallow") weights.insert(p.at("w").get<std::vector<float>>());
  }
  CHECK(weights.size() > 1);
  // Going on records them at the same places.
  run(tiny, "a", settings, "run.resume=" + tiny.path("a/ckpt/step-000006"));
  std::vector<std::string> kept;
  for (const std::string& leaf : tiny.log("a").leaves) {
    if (leaf_kind(leaf).value() != "rewind") kept.push_back(leaf);
  }
  REQUIRE(kept.size() == log.leaves.size());
  for (size_t i = 0; i < kept.size(); ++i) CHECK(kept[i] == log.leaves[i]);
}

TEST_CASE("a controller takes the steps of a policy that was replaced, and steps without examples") {
  const TinyRun tiny;
  write_policy(tiny, controller);
  run(tiny, "a", controlling, "train.steps=3");
  const auto file = read_run_config(tiny.path("a"), {});
  REQUIRE_FALSE(file->diagnostics.has_errors());
  Session s(real_file_system(), file->config, policy_date(file->config));
  const auto step = [&](uint64_t number, const Batch& batch) {
    const StepResult result = s.trainer->step(Session::train_batch(batch), s.route(batch), number, 0.01);
    s.adapter->add_step(result);
    return s.adapter->state().at("controller");
  };
  const Batch nothing;
  CHECK(step(0, nothing).at("steps") == 1);
  const size_t rules = s.governance->policy().policy().table().size();
  Diagnostics d;
  std::string newer = head;
  newer.replace(newer.find("version: 1"), 10, "version: 2");
  const auto policy =
      Policy::parse("p", newer + "  - {name: late, when: {class: manual}, profile: shallow}\n" + controller, d);
  REQUIRE(policy);
  SeenFile seen{"digest", "", {policy->canonical()}};
  s.governance->begin_step({}, {std::nullopt, std::nullopt, seen});
  REQUIRE(s.governance->policy().policy().table().size() == rules + 1);
  const json state = step(1, s.sampler->next());
  CHECK(state.at("steps") == 1);  // anew
  CHECK(state.at("norms").at(0).get<double>() > 0);
}

TEST_CASE("validation texts that are kept out by now have no say in what the controller proposes", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, controller);
  std::vector<std::string> settings = controlling;
  settings.insert(settings.end(), {"eval.every=6", "train.steps=60", "policy.clock=simulated", "policy.steps_per_day=5",
                                   "policy.revocations=" + tiny.path("revoked.txt")});
  std::ofstream(tiny.path("revoked.txt")) << "2026-06-02 source:taken-back\n";  // step 6
  // Two texts of different lengths that the split by content holds out.
  std::vector<std::string> runs;
  for (int i = 0; runs.size() < 2 && i < 100; ++i) {
    std::vector<TinyDocument> documents = TinyRun::default_documents(7);
    std::string text = "a text that is taken back, number " + std::to_string(i);
    for (size_t n = 0; n < runs.size(); ++n) text += " which is longer than the one before it";
    documents.push_back({text, "taken-back", "MIT", "manual"});
    const std::string name = "c" + std::to_string(i);
    tiny.write_corpus(name, documents);
    PrepareOptions options;
    options.inputs = {tiny.path(name + ".jsonl")};
    options.validation_fraction = 0.3;
    options.tokenizer.kind = "bytes";
    const auto selected = select_documents(options, {}, nullptr);
    const bool held_out = std::any_of(selected.begin(), selected.end(), [&](const auto& document) {
      return document.split == Split::validation && document.text.find("taken back") != std::string::npos;
    });
    if (!held_out) continue;
    run(tiny, name, settings, "", name);
    runs.push_back(name);
  }
  REQUIRE(runs.size() == 2);
  check_same(tiny, runs[0], runs[1]);
  const auto proposals = records(tiny.log(runs[0]), "proposal");
  CHECK_FALSE(proposals.empty());
  CHECK(proposals == records(tiny.log(runs[1]), "proposal"));
  CHECK(records(tiny.log(runs[0]), "eval") == records(tiny.log(runs[1]), "eval"));
}
