// Runs whose newer policy switches adaptation or the controller: frozen, on again, off; in mid-run, when a stopped run
// goes on, and repeated from an older checkpoint. Zero tolerance.
#include <fmt/format.h>

#include <filesystem>

#include "tests/tools/adapting_run.h"

using namespace govtrain;
using namespace govtrain::testing;
using nlohmann::json;

namespace {

std::string policy_text(int version, const std::string& mode, const char* section) {
  std::string text = std::string(head) + section;
  text.replace(text.find("version: 1"), 10, fmt::format("version: {}", version));
  const size_t at = text.find(
      '{', text.find("adaptation: {") != std::string::npos ? text.find("adaptation: {") : text.find("controller: {"));
  return text.insert(at + 1, "mode: " + mode + ", ");
}

void put(const TinyRun& tiny, const std::string& text) {
  std::ofstream(tiny.path("policy.new")) << text;
  std::filesystem::rename(tiny.path("policy.new"), tiny.path("policy.yaml"));
}

// `steps` steps more; the run is stopped after each of them.
void steps(const TinyRun& tiny, std::vector<std::string> settings, int count) {
  settings.insert(settings.end(), {"train.max_minutes=0.000001", "run.resume=auto"});
  for (int i = 0; i < count; ++i) run(tiny, "a", settings);
}

// The weights of a profile in a step, as the records of its examples have them.
std::vector<float> weights_in(const TinyRun::Log& log, int64_t step) {
  std::vector<float> out;
  for (const ExampleRecord& e : log.examples) {
    if (!e.place || e.prof != "shallow" || e.place->step != step) continue;
    if (!out.empty()) REQUIRE(out == e.w);
    out = e.w;
  }
  REQUIRE(out.size() == 4);
  return out;
}

const std::vector<float> own = {1, 0.5F, 0, 0};

}  // namespace

TEST_CASE("adaptation is frozen where it stands, goes on from there, and is switched off, by newer policies",
          "[slow]") {
  const TinyRun tiny;
  std::vector<std::string> settings = probing;
  settings.insert(settings.end(), {"probe.every=2", "policy.watch=true", "train.steps=20", "save.keep_last=100",
                                   "train.tokens_per_step=512"});
  put(tiny, policy_text(1, "on", adaptation));
  steps(tiny, settings, 5);
  put(tiny, policy_text(2, "frozen", adaptation));
  steps(tiny, settings, 5);
  put(tiny, policy_text(3, "on", adaptation));
  steps(tiny, settings, 5);
  put(tiny, policy_text(4, "off", adaptation));
  run(tiny, "a", settings, "run.resume=auto");

  const TinyRun::Log log = tiny.log("a");
  const std::vector<float> reached = weights_in(log, 5);
  CHECK(reached != own);
  CHECK(reached != std::vector<float>(4, 1));
  for (int64_t step = 6; step <= 10; ++step) CHECK(weights_in(log, step) == reached);
  CHECK(weights_in(log, 11) == reached);
  CHECK(weights_in(log, 15) != reached);
  for (int64_t step = 16; step <= 20; ++step) CHECK(weights_in(log, step) == own);
  std::vector<json> switched;
  for (const json& p : records(log, "policy"))
    if (p.contains("switched")) switched.push_back(p.at("switched").at("adaptation"));
  CHECK(switched == std::vector<json>{{{"before", "on"}, {"after", "frozen"}},
                                      {{"before", "frozen"}, {"after", "on"}},
                                      {{"before", "on"}, {"after", "off"}}});
  int starts = 0;
  for (const json& r : records(log, "adapt")) {
    const auto step = r.at("step").get<int64_t>();
    CHECK((step <= 5 || (step > 10 && step <= 15)));
    starts += r.at("event") == "start" ? 1 : 0;
  }
  CHECK(starts == 1);
  check_weights_are_logged(log);
  CHECK(tiny.program({"policy", "replay", tiny.path("a")}, "replay.log") == 0);
  CHECK(tiny.program({"lineage", "verify", tiny.path("a")}, "verify.log") == 0);
  // Repeated from older checkpoints in one go, all of it comes in mid-run, from the log.
  const std::string model = tiny.final_sha256("a", "model.safetensors");
  for (const char* step : {"13", "08", "04"}) {
    CAPTURE(step);
    run(tiny, "a", settings, "run.resume=" + tiny.path(std::string("a/ckpt/step-0000") + step));
    CHECK(tiny.final_sha256("a", "model.safetensors") == model);
    CHECK(tiny.log("a").examples == log.examples);
  }
  // What else differs is refused, as ever.
  std::string other = policy_text(5, "on", adaptation);
  other.replace(other.find("rate: 0.4"), 9, "rate: 0.3");
  put(tiny, policy_text(1, "on", adaptation));
  std::filesystem::remove_all(tiny.path("a"));
  steps(tiny, settings, 2);
  put(tiny, other);
  steps(tiny, settings, 1);
  CHECK(records(tiny.log("a"), "policy").back().at("problem").get<std::string>().find("but for their modes") !=
        std::string::npos);
}

TEST_CASE("a run that begins frozen has the profiles of its policy; switched on, it begins broad", "[slow]") {
  const TinyRun tiny;
  std::vector<std::string> settings = probing;
  settings.insert(settings.end(), {"policy.watch=true", "save.keep_last=100"});
  put(tiny, policy_text(1, "frozen", adaptation));
  steps(tiny, settings, 4);
  CHECK(records(tiny.log("a"), "adapt").empty());
  for (int64_t step = 1; step <= 4; ++step) CHECK(weights_in(tiny.log("a"), step) == own);
  put(tiny, policy_text(2, "on", adaptation));
  run(tiny, "a", settings, "run.resume=auto");
  const std::vector<json> adapted = records(tiny.log("a"), "adapt");
  REQUIRE_FALSE(adapted.empty());
  CHECK(adapted[0].at("event") == "start");
  CHECK(adapted[0].at("step") == 7);
  CHECK(weights_in(tiny.log("a"), 6) == own);
  CHECK(weights_in(tiny.log("a"), 7) == std::vector<float>(4, 1));
  CHECK(tiny.program({"policy", "replay", tiny.path("a")}, "replay.log") == 0);
}

TEST_CASE("a frozen controller proposes nothing and keeps what was applied; off, the profile has its own weights",
          "[slow]") {
  const TinyRun tiny;
  std::vector<std::string> settings = controlling;
  settings.insert(settings.end(),
                  {"policy.watch=true", "train.steps=22", "save.keep_last=100", "train.tokens_per_step=512"});
  put(tiny, policy_text(1, "on", controller));
  steps(tiny, settings, 7);
  const std::vector<json> before = records(tiny.log("a"), "proposal");
  REQUIRE_FALSE(before.empty());
  put(tiny, policy_text(2, "frozen", controller));
  steps(tiny, settings, 5);
  CHECK(records(tiny.log("a"), "proposal").size() == before.size());
  const std::vector<float> reached = weights_in(tiny.log("a"), 8);
  CHECK(reached != own);
  for (int64_t step = 9; step <= 12; ++step) CHECK(weights_in(tiny.log("a"), step) == reached);
  put(tiny, policy_text(3, "on", controller));
  steps(tiny, settings, 5);
  const std::vector<json> after = records(tiny.log("a"), "proposal");
  REQUIRE(after.size() > before.size());
  for (size_t i = 0; i < after.size(); ++i) CHECK(after[i].at("id") == i + 1);
  put(tiny, policy_text(4, "off", controller));
  run(tiny, "a", settings, "run.resume=auto");
  const TinyRun::Log log = tiny.log("a");
  for (int64_t step = 18; step <= 22; ++step) CHECK(weights_in(log, step) == own);
  CHECK(records(log, "proposal").size() == after.size());
  check_weights_are_logged(log);
  CHECK(tiny.program({"policy", "replay", tiny.path("a")}, "replay.log") == 0);
  const std::string model = tiny.final_sha256("a", "model.safetensors");
  run(tiny, "a", settings, "run.resume=" + tiny.path("a/ckpt/step-000006"));
  CHECK(tiny.final_sha256("a", "model.safetensors") == model);
  CHECK(tiny.log("a").examples == log.examples);
}
