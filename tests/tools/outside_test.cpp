// What comes from outside while a run trains, through the real program: policy files that are replaced and revocation
// lists that grow. A run that goes on from an older checkpoint meets the same events at the same steps, whatever the
// files say by then.
#include "tools/govtrain/train/outside.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <random>
#include <thread>

#include "core/file.h"
#include "core/hash.h"
#include "tests/tools/changes.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/run_head.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

using namespace govtrain;
using govtrain::testing::check_again;
using govtrain::testing::controls;
using govtrain::testing::put;
using govtrain::testing::TinyRun;
using govtrain::testing::train_beside;
using govtrain::testing::WaitFor;
using govtrain::testing::with;
using nlohmann::json;

TEST_CASE("a newer policy, a broken one and a revocation reach a run that trains; going on repeats them from the log",
          "[temporal][slow]") {
  const TinyRun tiny;
  const std::string first = tiny.read("policy.yaml");
  std::string second = first;
  second.replace(second.find("version: 1"), 10, "version: 2");
  second.replace(second.find("layer.0: 0.5"), 12, "layer.0: 0.0");
  const auto reset = [&] {
    put(tiny.path("policy.yaml"), first);
    put(tiny.path("revoked.txt"), "# nothing yet\n");
  };
  const std::vector<std::string> settings =
      train_beside(tiny,
                   {"save.every=100", "save.keep_last=99", "eval.every=0", "policy.watch=true",
                    "policy.revocations=" + tiny.path("revoked.txt")},
                   4000, reset, [&](const WaitFor& wait_for) {
                     bool seen = wait_for("run/metrics.jsonl", "\"step\":120,");
                     put(tiny.path("policy.yaml"), first.substr(0, first.find("rules")));
                     seen = seen && wait_for("run/train.log", "stays in force");
                     put(tiny.path("policy.yaml"), second);
                     seen = seen && wait_for("run/train.log", "replaces tiny@");
                     put(tiny.path("revoked.txt"), "source:doc-1?\n");
                     seen = seen && wait_for("run/train.log", "are kept out from now on");
                     put(tiny.path("revoked.txt"), "source:doc-1?\nsource:doc-2?");  // half written
                     return seen && wait_for("run/train.log", "what was revoked stays");
                   });
  const TinyRun::Log log = tiny.log("run");
  std::vector<json> replaced;
  for (const json& p : controls(log, "policy"))
    if (p.contains("step")) replaced.push_back(p);
  REQUIRE(replaced.size() == 2);
  CHECK(replaced[0].contains("problem"));
  CHECK(replaced[1].at("version") == "2");
  CHECK_FALSE(replaced[1].at("restricted").empty());
  const int64_t step = replaced[1].at("step");
  for (const ExampleRecord& r : log.examples) {
    if (!r.place) continue;
    CHECK((r.pol == replaced[1].at("id")) == (r.place->step >= step));
    if (r.prof == "shallow") CHECK(r.w[1] == (r.place->step >= step ? 0.0F : 0.5F));
  }
  const std::vector<json> revoked = controls(log, "revoke");
  REQUIRE(revoked.size() == 2);
  CHECK_FALSE(revoked[0].at("documents").empty());
  CHECK(revoked[1].at("problem").get<std::string>().find("half written") != std::string::npos);
  // By now the files say what they said at first, and what was seen later is only in the log.
  put(tiny.path("revoked.txt"), "# nothing\n");
  const int64_t early = replaced[0].at("step").get<int64_t>() / 100 * 100;
  const std::string model = tiny.final_sha256("run", "model.safetensors");
  REQUIRE(tiny.run("corpus", "run",
                   with(settings, {"run.resume=" + CheckpointStore(real_file_system(), tiny.path("run/ckpt"))
                                                       .path(std::max<int64_t>(early - 100, 100))})) == 0);
  INFO(tiny.read("run.log"));
  CHECK(tiny.final_sha256("run", "model.safetensors") == model);
  const TinyRun::Log again = tiny.log("run");
  CHECK(again.examples == log.examples);
  CHECK(controls(again, "revoke") == revoked);
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "verify.log") == 0);
}

TEST_CASE("exclusion lists of thousands: in the log in parts, the same when a run goes on, and in a newer policy",
          "[temporal][slow]") {
  const TinyRun tiny;
  const auto list = [](int count) {
    std::string out = "source:doc-7\n";
    for (int i = 0; i < count; ++i) out += "sha256:" + hex(sha256(std::to_string(i))) + "\n";
    return out;
  };
  put(tiny.path("kept-out.txt"), list(25000));
  put(tiny.path("policy.yaml"), tiny.read("policy.yaml") + "exclusions: [{file: kept-out.txt}]\n");
  const std::vector<std::string> settings = {"policy.watch=true", "train.steps=8"};
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  INFO(tiny.read("run.log"));
  const TinyRun::Log log = tiny.log("run");
  std::string text;
  bool whole = false;
  for (const json& p : controls(log, "policy")) whole = add_policy_text(p, text);
  CHECK(whole);
  CHECK(controls(log, "policy").size() > 50);
  check_again(tiny, "run", settings, 4);

  const auto file = read_run_config(tiny.path("run"), {});
  Session s(real_file_system(), file->config, policy_date(file->config));
  CHECK(text == s.policy.policy().canonical());
  put(tiny.path("kept-out.txt"), list(26000));
  std::string newer = tiny.read("policy.yaml");
  put(tiny.path("policy.yaml"), newer.replace(newer.find("version: 1"), 10, "version: 2") +
                                    "schedule: [{name: s, profile: shallow, to: full, when: {step: 9}}]\n");
  Outside outside(file->config, s.date);
  s.governance->begin_step({}, outside.look(1));
  CHECK(s.governance->policy().policy().version == "2");
  whole = false;
  for (const GovernanceEvent& event : s.governance->take_events()) {
    std::string leaf;
    CHECK(write_leaf(leaf, ControlRecord{event.kind, event.payload}).ok());
    if (event.kind == "policy") whole = add_policy_text(event.payload, text) || whole;
  }
  CHECK(whole);
  CHECK(text == s.governance->policy().policy().canonical());
}

TEST_CASE("a policy or a list that is gone in mid-run is told with its name, the cause and what to do", "[temporal]") {
  RunConfig config;
  config.policy.file = "/nowhere/gone.yaml";
  config.policy.watch = true;
  config.policy.revocations = "/nowhere/gone.txt";
  Outside outside(config, Date::parse("2026-01-01").value());
  const Observation seen = outside.look(1);
  const std::string rest =
      ": No such file or directory; what it said last stays in force; put the file back, or a newer one in its place";
  REQUIRE(seen.policy);
  REQUIRE(seen.revocations);
  CHECK(seen.policy->problem == "the policy cannot be read: open gone.yaml" + rest);
  CHECK(seen.revocations->problem == "the revocation list cannot be read: open gone.txt" + rest);
}

TEST_CASE("a day that changed nothing when it came counts in what reaches a run later; going on repeats that",
          "[temporal][slow]") {
  const TinyRun tiny;
  const std::string first = tiny.read("policy.yaml");
  std::string second = first;
  second.replace(second.find("version: 1"), 10, "version: 2");
  const std::string rule = "when: {license: MIT}, profile: full";
  second.replace(second.find(rule), rule.size(), rule + ", until: 2026-06-20");  // step 20
  const auto reset = [&] {
    put(tiny.path("policy.yaml"), first);
    put(tiny.path("revoked.txt"), "# nothing yet\n");
  };
  const std::vector<std::string> settings = train_beside(
      tiny,
      {"save.every=50", "save.keep_last=99", "eval.every=0", "policy.watch=true",
       "policy.revocations=" + tiny.path("revoked.txt"), "policy.clock=simulated", "policy.steps_per_day=1"},
      3000, reset, [&](const WaitFor& wait_for) {
        bool seen = wait_for("run/metrics.jsonl", "\"step\":120,");
        put(tiny.path("policy.yaml"), second);
        seen = seen && wait_for("run/train.log", "replaces tiny@");
        put(tiny.path("revoked.txt"), "2026-06-21 source:doc-3\n");
        return seen && wait_for("run/train.log", "1 document is kept out from now on");
      });
  const TinyRun::Log log = tiny.log("run");
  const std::vector<json> replaced = controls(log, "policy"), revoked = controls(log, "revoke");
  REQUIRE(replaced.size() == 2);
  const int64_t step = replaced[1].at("step");
  CHECK(replaced[1].at("day") > "2026-06-20");
  CHECK_FALSE(replaced[1].at("restricted").empty());
  REQUIRE(revoked.size() == 1);
  CHECK(revoked[0].at("entries").size() == 1);
  for (const ExampleRecord& r : log.examples) {
    if (r.place) CHECK((r.prof == "shallow" || r.place->step < step));
  }
  const std::string model = tiny.final_sha256("run", "model.safetensors");
  const CheckpointStore store(real_file_system(), tiny.path("run/ckpt"));
  REQUIRE(tiny.run("corpus", "run", with(settings, {"run.resume=" + store.path((step - 1) / 50 * 50)})) == 0);
  INFO(tiny.read("run.log"));
  CHECK(tiny.final_sha256("run", "model.safetensors") == model);
  const TinyRun::Log again = tiny.log("run");
  CHECK(again.examples == log.examples);
  CHECK(controls(again, "policy") == replaced);
  CHECK(controls(again, "revoke") == revoked);
  CHECK(controls(again, "expire").empty());
}

TEST_CASE("killed while a policy is replaced and documents are revoked: as a run that was not killed",
          "[temporal][slow]") {
  const TinyRun tiny;
  put(tiny.path("revoked.txt"), "# nothing yet\n");
  int64_t steps = 6000;
  const auto settings_of = [&](int64_t n) {
    return std::vector<std::string>{"train.steps=" + std::to_string(n),
                                    "save.every=100",
                                    "save.keep_last=99",
                                    "eval.every=0",
                                    "run.resume=auto",
                                    "policy.watch=true",
                                    "run.threads=1",
                                    "policy.revocations=" + tiny.path("revoked.txt")};
  };
  const std::string first = tiny.read("policy.yaml");
  const auto version = [&](int number) {
    std::string text = first;
    text.replace(text.find("version: 1"), 10, "version: " + std::to_string(number));
    return text.replace(text.find("layer.0: 0.5"), 12, "layer.0: 0." + std::to_string(number));
  };
  const std::string needy =
      version(9) +
      "schedule:\n  - {name: open, profile: shallow, to: full, when: {drift: {block: layer.0, above: 0}}}\n";
  struct Event {
    std::string file, text, kind;
    size_t records;  // of that kind, once it was seen
  };
  const std::vector<Event> events = {{"policy.yaml", version(2), "policy", 1},
                                     {"revoked.txt", "source:doc-1?\n", "revoke", 1},
                                     {"policy.yaml", needy, "policy", 2},
                                     {"policy.yaml", version(3), "policy", 3},
                                     {"revoked.txt", "source:doc-1?\nsource:doc-3\n", "revoke", 2}};
  const auto seen = [](const TinyRun::Log& log, const std::string& kind) {
    std::vector<json> out;
    for (const json& p : controls(log, kind))
      if (p.contains("seen") && p.at("step") > 1) out.push_back(p);
    return out;
  };
  const auto saved = [&] {
    const auto found = CheckpointStore(real_file_system(), tiny.path("run/ckpt")).steps();
    return found.ok() && !found.value().empty() ? found.value().back() : 0;
  };
  std::mt19937 random(20261124);
  size_t next = 0;
  int killed = 0;
  int64_t length = 200;  // milliseconds; more where a run does not get on before it is killed
  for (int attempt = 0, left = 3; attempt < 100 && left > 0; ++attempt) {
    const int64_t before = saved();
    const std::chrono::milliseconds life(length / 2 + static_cast<int64_t>(random()) % length);
    int status = -1;
    std::thread trainer([&] { status = tiny.run("corpus", "run", settings_of(steps), life); });
    std::this_thread::sleep_for(life / 2);
    if (next < events.size() && before > 0) put(tiny.path(events[next].file), events[next].text);
    trainer.join();
    killed += status == 128 + 9 ? 1 : 0;
    if (status == 0 && next < events.size()) {  // over before it had seen everything: too short for this machine
      std::filesystem::remove_all(tiny.path("run"));
      put(tiny.path("policy.yaml"), first);
      put(tiny.path("revoked.txt"), "# nothing yet\n");
      next = 0;
      killed = 0;
      steps *= 3;
      continue;
    }
    if (saved() == before) length += 100;
    if (next == events.size()) --left;
    if (next == events.size() || before == 0) continue;
    if (seen(tiny.log("run"), events[next].kind).size() >= events[next].records) ++next;
    put(tiny.path("policy.yaml"), next < 1 ? first : version(next < 4 ? 2 : 3));  // a start checks its files
  }
  INFO(tiny.read("run.log"));
  REQUIRE(next == events.size());
  CHECK(killed >= 5);
  const std::vector<std::string> settings = settings_of(steps);
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  const TinyRun::Log log = tiny.log("run");
  CHECK(log.controls.at("step") == steps);
  REQUIRE(seen(log, "policy").size() == 3);
  CHECK(seen(log, "policy")[1].at("problem").get<std::string>().find("need a probe set") != std::string::npos);
  REQUIRE(seen(log, "revoke").size() == 2);
  const std::string model = tiny.final_sha256("run", "model.safetensors");
  // Not killed, from the first checkpoint; by now the files say what they said at first.
  put(tiny.path("revoked.txt"), "# nothing\n");
  put(tiny.path("policy.yaml"), first);
  REQUIRE(tiny.run("corpus", "run", with(settings, {"run.resume=" + tiny.path("run/ckpt/step-000100")})) == 0);
  CHECK(tiny.final_sha256("run", "model.safetensors") == model);
  const TinyRun::Log again = tiny.log("run");
  CHECK(again.examples == log.examples);
  CHECK(seen(again, "policy") == seen(log, "policy"));
  CHECK(seen(again, "revoke") == seen(log, "revoke"));
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "verify.log") == 0);
}
