// Decisions that change while a run trains, through the real program: zero tolerance. Excluded later is the same
// schedule with those slots empty; a run that goes on from an older checkpoint meets the same events at the same steps,
// whatever the files say by then.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

#include "core/file.h"
#include "core/hash.h"
#include "tests/tools/empty_slots.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/review.h"
#include "tools/govtrain/train/run_head.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

using namespace govtrain;
using govtrain::testing::empty_slots;
using govtrain::testing::files_of;
using govtrain::testing::TinyRun;
using nlohmann::json;

namespace {

// As an editor should: under another name first.
void put(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new") << text;
  std::filesystem::rename(path + ".new", path);
}

std::vector<json> controls(const TinyRun::Log& log, const std::string& kind) {
  std::vector<json> out;
  for (const std::string& leaf : log.leaves) {
    const json record = json::parse(leaf);
    if (record.at("k") == kind) out.push_back(record);
  }
  return out;
}

// Everything that a reader sees but checkpoints, whose digests are compared by themselves, and the rewind.
std::vector<std::string> story(const TinyRun::Log& log) {
  std::vector<std::string> out;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() != "rewind") out.push_back(leaf);
  }
  return out;
}

const std::vector<std::string> simulated = {"policy.clock=simulated", "policy.steps_per_day=5", "save.every=10",
                                            "save.keep_last=9", "train.steps=40"};

std::vector<std::string> with(std::vector<std::string> settings, const std::vector<std::string>& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

// Goes on from the checkpoint of `step` after the run has come to its end, and must come to the same end.
void check_again(const TinyRun& tiny, const std::string& out, const std::vector<std::string>& settings, int64_t step) {
  const std::string model = tiny.final_sha256(out, "model.safetensors");
  const std::string state = tiny.final_sha256(out, "trainer_state.json");
  const std::vector<std::string> told = story(tiny.log(out));
  const CheckpointStore store(real_file_system(), tiny.path(out + "/ckpt"));
  REQUIRE(tiny.run("corpus", out, with(settings, {"run.resume=" + store.path(step)})) == 0);
  INFO(tiny.read(out + ".log"));
  CHECK(tiny.final_sha256(out, "model.safetensors") == model);
  CHECK(story(tiny.log(out)) == told);
  CHECK(tiny.program({"lineage", "verify", tiny.path(out)}, out + ".verify.log") == 0);
}

// True when a file of the run holds the text, false when the run was over before that.
using WaitFor = std::function<bool(const std::string& file, const std::string& text)>;

// Trains `steps` steps while the script changes files and waits for what the run says of them. Where the run is over
// before the script has seen it all (then the script gives false), it was too short for this machine: again with more
// steps, after `reset` has put the files back. Returns the settings that were used.
std::vector<std::string> train_beside(const TinyRun& tiny, const std::vector<std::string>& settings, int64_t steps,
                                      const std::function<void()>& reset,
                                      const std::function<bool(const WaitFor& wait_for)>& script) {
  for (;; steps *= 4) {
    REQUIRE(steps < 1000000);
    const std::vector<std::string> all = with(settings, {"train.steps=" + std::to_string(steps)});
    std::filesystem::remove_all(tiny.path("run"));
    reset();
    std::atomic<int> status = -1;
    std::thread trainer([&] { status = tiny.run("corpus", "run", all); });
    const bool seen = script([&](const std::string& file, const std::string& text) {
      while (status < 0) {
        if (tiny.read(file).find(text) != std::string::npos) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      return tiny.read(file).find(text) != std::string::npos;
    });
    trainer.join();
    INFO(tiny.read("run.log"));
    REQUIRE(status == 0);
    if (seen) return all;
  }
}

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
  CHECK(tiny.read("run/train.log").find(" | 1 documents are kept out") != std::string::npos);
  CHECK(tiny.program({"lineage", "show", tiny.path("run"), "--story"}, "story.log") == 0);
  CHECK(tiny.read("story.log").find(", 1 documents kept out") != std::string::npos);

  const auto eval = [&](const std::string& run) {
    REQUIRE(tiny.program({"eval", tiny.path(run)}, run + ".eval.log") == 0);
    const std::string text = tiny.read(run + ".eval.log");
    return text.substr(text.find('\n'), text.find("(unigram") - text.find('\n'));
  };
  CHECK(eval("run") == eval("absent"));
  CHECK(tiny.read("run.eval.log").find("1 validation documents are kept out and were not looked at") !=
        std::string::npos);
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
  CHECK(tiny.read("show.log").find("1 of its documents are kept out by now and were not looked at") !=
        std::string::npos);
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
        return seen && wait_for("run/train.log", "1 documents are kept out from now on");
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
