// Decisions that change with the day and the step while a run trains, through the real program: zero tolerance.
// Excluded later is the same schedule with those slots empty; a run that goes on from an older checkpoint meets the
// same events at the same steps.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/tools/changes.h"
#include "tests/tools/empty_slots.h"
#include "tools/govtrain/train/review.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

using namespace govtrain;
using govtrain::testing::check_again;
using govtrain::testing::controls;
using govtrain::testing::empty_slots;
using govtrain::testing::files_of;
using govtrain::testing::put;
using govtrain::testing::TinyRun;
using govtrain::testing::with;
using nlohmann::json;

namespace {

const std::vector<std::string> simulated = {"policy.clock=simulated", "policy.steps_per_day=5", "save.every=10",
                                            "save.keep_last=9", "train.steps=40"};

}  // namespace

TEST_CASE("revoked on a later day: the same bits as the same schedule with those slots empty", "[temporal][slow]") {
  const TinyRun tiny;
  put(tiny.path("revoked.txt"), "2026-06-03 source:doc-1?\n2026-06-03 source:doc-3\n");
  const auto settings = with(simulated, {"policy.revocations=" + tiny.path("revoked.txt")});
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  INFO(tiny.read("run.log"));
  const TinyRun::Log log = tiny.log("run");
  const std::vector<json> revoked = controls(log, "revoke");
  REQUIRE(revoked.size() == 2);  // what the list says, then the day
  CHECK(revoked[0].at("step") == 1);
  CHECK(revoked[0].at("pending").size() == 2);
  const int64_t first = revoked[1].at("step");
  CHECK(first == 11);  // two days of five steps
  const std::vector<std::string> documents = revoked[1].at("documents");
  CHECK(documents.size() > 5);
  int before = 0;
  for (const ExampleRecord& r : log.examples) {
    if (!r.place || std::find(documents.begin(), documents.end(), r.ex) == documents.end()) continue;
    CHECK(r.place->step < first);
    ++before;
  }
  CHECK(before > 0);
  const auto gone = [](const json& meta) {
    const std::string source = meta.at("source");
    return source == "doc-3" || (source.size() == 6 && source.rfind("doc-1", 0) == 0);
  };
  CHECK(files_of(tiny, "run") == empty_slots(tiny, "run", first, gone));
  CHECK(files_of(tiny, "run") != empty_slots(tiny, "run", first + 1, gone));  // the test can fail
  check_again(tiny, "run", settings, 10);
}

TEST_CASE("a validation document that is kept out later is not looked at: the same bits as without it", "[temporal]") {
  const TinyRun tiny;
  FileSystem& fs = real_file_system();
  std::vector<std::string> settings = with(simulated, {"train.steps=20", "eval.every=5", "routing.withheld=shadow",
                                                       "routing.shadow.every=10", "data.validation_fraction=0.3"});
  put(tiny.path("revoked.txt"), "# nothing\n");
  REQUIRE(tiny.run("corpus", "first", with(settings, {"policy.revocations=" + tiny.path("revoked.txt")})) == 0);
  std::string source;  // of a validation document, beside which the split has others of its licence
  {
    const auto file = read_run_config(tiny.path("first"), {"run.resume=auto"});
    const Session session(fs, file->config, policy_date(file->config));
    for (const int32_t d : documents_of(session.dataset, Split::validation)) {
      const auto& document = session.dataset.documents()[static_cast<size_t>(d)];
      if (session.governance->keep(d)) source = document.provenance.front().at("source");
    }
  }
  REQUIRE_FALSE(source.empty());
  INFO(source);
  std::vector<testing::TinyDocument> rest = TinyRun::default_documents(1);
  std::erase_if(rest, [&](const testing::TinyDocument& d) { return d.source == source; });
  tiny.write_corpus("rest", rest);
  put(tiny.path("revoked.txt"), "2026-06-03 source:" + source + "\n");  // from step 11 on
  settings.push_back("policy.revocations=" + tiny.path("revoked.txt"));
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  REQUIRE(tiny.run("rest", "absent", settings) == 0);
  REQUIRE(tiny.final_sha256("run", "model.safetensors") == tiny.final_sha256("absent", "model.safetensors"));

  const std::vector<json> evals = controls(tiny.log("run"), "eval"), without = controls(tiny.log("absent"), "eval");
  REQUIRE(evals.size() == 4);
  REQUIRE(without.size() == 4);
  for (size_t i = 0; i < evals.size(); ++i) {
    INFO(evals[i].dump() << " against " << without[i].dump());
    const bool out = evals[i].at("step").get<int64_t>() > 10;
    CHECK(evals[i].value("kept_out", 0) == (out ? 1 : 0));
    CHECK((evals[i].at("loss") == without[i].at("loss")) == out);
    CHECK((evals[i].at("by_source") == without[i].at("by_source")) == out);
    CHECK_FALSE(without[i].contains("kept_out"));
  }
  CHECK(tiny.read("run/train.log").find(" | 1 document is kept out") != std::string::npos);
  CHECK(tiny.program({"lineage", "show", tiny.path("run"), "--story"}, "story.log") == 0);
  CHECK(tiny.read("story.log").find(", 1 document kept out") != std::string::npos);

  const auto eval = [&](const std::string& run) {
    REQUIRE(tiny.program({"eval", tiny.path(run)}, run + ".eval.log") == 0);
    const std::string text = tiny.read(run + ".eval.log");
    return text.substr(text.find('\n'), text.find("(unigram") - text.find('\n'));
  };
  CHECK(eval("run") == eval("absent"));
  CHECK(tiny.read("run.eval.log").find("1 validation document is kept out and was not looked at") != std::string::npos);
  CHECK(tiny.read("absent.eval.log").find("kept out") == std::string::npos);

  const auto probe = [&](const std::string& run) {
    const Review review(fs, tiny.path(run), false);
    const Probe set(review.session(), "");
    CHECK(set.kept_out() == (run == "run" ? 1 : 0));
    return set.at(*review.session().model, review.session().backend, false).loss;
  };
  CHECK(probe("run") == probe("absent"));
  CHECK(tiny.program({"review", "show", tiny.path("run"), "steps-000001-000010"}, "show.log") == 0);
  INFO(tiny.read("show.log"));
  CHECK(tiny.read("show.log").find("1 of its documents is kept out by now and was not looked at") != std::string::npos);
}

TEST_CASE("a licence that ends in mid-run: weight zero from that step on, and a record before it", "[temporal][slow]") {
  const TinyRun tiny;
  std::string policy = tiny.read("policy.yaml");
  const std::string rule = "when: {license: MIT}, profile: full";
  policy.replace(policy.find(rule), rule.size(), rule + ", until: 2026-06-04");
  put(tiny.path("policy.yaml"), policy);
  REQUIRE(tiny.run("corpus", "run", simulated) == 0);
  const TinyRun::Log log = tiny.log("run");
  const std::vector<json> expired = controls(log, "expire");
  REQUIRE(expired.size() == 1);
  CHECK(expired[0].at("step") == 16);
  CHECK(expired[0].at("day") == "2026-06-04");
  CHECK(expired[0].at("rules") == json{"rule free"});
  for (const ExampleRecord& r : log.examples) {
    if (r.place) CHECK((r.prof == "shallow" || r.place->step < 16));
  }
  const auto gone = [](const json& meta) { return meta.at("license") == "MIT"; };
  CHECK(files_of(tiny, "run") == empty_slots(tiny, "run", 16, gone));
  check_again(tiny, "run", simulated, 10);
  check_again(tiny, "run", simulated, 20);
  // Where the day stands still, nothing expires.
  REQUIRE(tiny.run("corpus", "fixed", {"train.steps=40"}) == 0);
  CHECK(controls(tiny.log("fixed"), "expire").empty());
}

TEST_CASE("a schedule's profile: empty slots while it is zero, its weights in every record after", "[temporal][slow]") {
  const TinyRun tiny;
  std::string policy = tiny.read("policy.yaml");
  policy.replace(policy.find("{embedding: 1, layer.0: 0.5, rest: 0}"), 37, "{all: 0}");
  policy += "schedule:\n  - {name: open, profile: shallow, to: full, when: {step: 8}, over: 4}\n";
  put(tiny.path("policy.yaml"), policy);
  REQUIRE(tiny.run("corpus", "run", simulated) == 0);
  INFO(tiny.read("run.log"));
  int copyleft = 0;
  const TinyRun::Log log = tiny.log("run");
  for (const ExampleRecord& r : log.examples) {
    if (!r.place || r.prof != "shallow") continue;
    ++copyleft;
    const float expected = static_cast<float>(std::min<int64_t>(r.place->step - 7, 4)) / 4;
    CHECK(r.place->step >= 8);
    CHECK(r.w == std::vector<float>(4, expected));
  }
  CHECK(copyleft > 10);
  int changes = 0;
  for (const json& p : controls(log, "profile")) changes += p.contains("schedule") ? 1 : 0;
  CHECK(changes == 4);
  check_again(tiny, "run", simulated, 10);  // in the middle of the way
}

TEST_CASE("a schedule that begins after the last step of the run is warned of", "[temporal][slow]") {
  const TinyRun tiny;
  std::ofstream(tiny.path("policy.yaml"), std::ios::app)
      << "schedule: [{name: late, profile: shallow, to: full, when: {step: 4}, hold: 2}]\n";
  const auto said = [&](int steps) {
    const std::string log = std::to_string(steps) + ".log";
    REQUIRE(tiny.program({"validate", tiny.path("config.yaml"), "data.inputs=[" + tiny.path("config.yaml") + "]",
                          "train.steps=" + std::to_string(steps)},
                         log) == 0);
    return tiny.read(log);
  };
  CHECK(said(4).find("warning: schedule 'late' begins at step 5 at the earliest, after the run's last one") !=
        std::string::npos);
  CHECK(said(5).find("at the earliest") == std::string::npos);
}

TEST_CASE("while a schedule admits nobody a step has no loss: none is shown, logged or part of a statistic",
          "[temporal]") {
  const TinyRun tiny;
  put(tiny.path("policy.yaml"),
      "policy: tiny\nversion: 1\ndefault: shut\nprofiles: {shut: {all: 0}, full: {all: 1}}\n"
      "schedule:\n  - {name: open, profile: shut, to: full, when: {step: 8}}\n");
  REQUIRE(tiny.run("corpus", "run", {"train.steps=140", "log.progress=json", "log.every_seconds=0"}) == 0);
  std::map<int64_t, json> shown, measured;
  const auto by_step = [](const std::string& lines, std::map<int64_t, json>& out) {
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);) {
      const json parsed = json::parse(line, nullptr, false);
      if (parsed.is_object() && parsed.contains("lr")) out[parsed.at("step")] = parsed;
    }
  };
  by_step(tiny.read("run.log"), shown);
  by_step(tiny.read("run/metrics.jsonl"), measured);
  const std::vector<json> logged = controls(tiny.log("run"), "step");
  REQUIRE((shown.size() == 140 && measured.size() == 140 && logged.size() == 140));
  for (int64_t step = 1; step <= 140; ++step) {
    INFO("step " << step);
    const json& record = logged[static_cast<size_t>(step - 1)];
    CHECK(record.at("step") == step);
    CHECK((record.at("examples") == 0) == (step < 8));
    CHECK(record.contains("loss") == (step >= 8));
    CHECK(shown[step].contains("loss") == (step >= 8));
    CHECK(measured[step].at("loss").is_null() == (step < 8));
    CHECK(shown[step].contains("loss_z") == (step >= 8 + 128));  // a window of 128 losses comes first
  }
  REQUIRE(tiny.program({"lineage", "show", tiny.path("run"), "--story"}, "story.log") == 0);
  CHECK(tiny.read("story.log").find("loss 0.000") == std::string::npos);
}
