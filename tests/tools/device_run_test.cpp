// Runs on the CUDA device of this build, emulated or real: what plan, log and verbs say of it, a run that goes on on
// another device, and a run of the quickstart's size whose losses agree with the CPU's step by step.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/parallel.h"
#include "core/rng.h"
#include "tests/backends.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

using namespace govtrain;
using govtrain::test::backend_names;
using govtrain::testing::TinyDocument;
using govtrain::testing::TinyRun;

namespace {

// Sanitizers make the emulated device many times slower: they see two steps, which launch all of its kernels.
#if defined(__SANITIZE_ADDRESS__)
constexpr int steps = 2;
#else
constexpr int steps = 20;
#endif

// Made-up words; which of them comes next depends on the last one, so that there is something to learn.
std::string prose(const Rng& rng, uint64_t at, int words) {
  static const char* const part[] = {"ba", "ren", "to", "mis", "la", "vor", "ne",  "cu", "dri", "os",  "pel", "ta",
                                     "ga", "lin", "su", "che", "mo", "ark", "ith", "we", "zu",  "fol", "ny",  "ex"};
  std::string text;
  uint32_t last = 0;
  for (int i = 0; i < words; ++i) {
    const uint32_t r = rng.bits(at + static_cast<uint64_t>(i));
    const double u = static_cast<double>(r >> 8) / (1 << 24);
    last = static_cast<uint32_t>(u * u * u * 900) * 7 + last % 7;
    for (uint32_t n = last + 24, k = 0; n > 0 && k < 4; n /= 24, ++k) text += part[n % 24];
    text += i % 13 == 12 ? ".\n" : " ";
  }
  return text;
}

// About as many tokens as four epochs of the run need; the licences of the quickstart's policy.
std::vector<TinyDocument> documents() {
  const Rng rng(11, Stream::test);
  const char* const licenses[] = {"LicenseRef-public-domain", "GPL-2.0-or-later", "MIT", "GFDL-1.3-or-later",
                                  "LicenseRef-SPI-FAQ"};
  std::vector<TinyDocument> out;
  for (uint64_t i = 0; i < 160; ++i) {
    TinyDocument d;
    d.text = prose(rng, 10000 * i, 60 + static_cast<int>(rng.bits(10000 * i + 9999) % 500));
    d.source = "doc-" + std::to_string(i);
    d.license = licenses[i % 5];
    d.cls = i % 8 == 7 ? "uncertain" : "manual";
    out.push_back(std::move(d));
  }
  return out;
}

std::vector<std::string> settings(const TinyRun& place) {
  return {"data.inputs=[" + place.path("quickstart.jsonl") + "]",
          "data.cache=" + place.path("prepared"),
          "policy.date=2026-06-01",
          "train.steps=" + std::to_string(steps),
          "optim.warmup_steps=" + std::to_string(std::min(8, steps / 2)),
          "eval.every=0",
          "eval.max_tokens=2048",
          "sample.every=0",
          "save.every=0",
          "log.tensorboard=false"};
}

const std::string quickstart = GOVTRAIN_SOURCE_DIR "/configs/quickstart.yaml";

// The loss of each step, nats per token, as the program has written it.
std::vector<double> run(const TinyRun& place, const std::string& out, std::vector<std::string> more) {
  std::vector<std::string> arguments = {"run", quickstart, "run.out=" + place.path(out)};
  for (std::string& s : settings(place)) arguments.push_back(std::move(s));
  arguments.insert(arguments.end(), more.begin(), more.end());
  const int status = place.program(arguments, out + ".log");
  INFO(place.read(out + ".log"));
  REQUIRE(status == 0);
  std::vector<double> losses;
  std::istringstream lines(place.read(out + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto values = nlohmann::json::parse(line);
    if (values.contains("loss")) losses.push_back(values.at("loss"));
  }
  REQUIRE(losses.size() == steps);
  return losses;
}

// The same on the CPU, from weights of which each was multiplied by 1 + size or 1 - size at the start.
std::vector<double> disturbed(const TinyRun& place, double size) {
  std::vector<std::string> overrides = settings(place);
  overrides.push_back("run.device=cpu");
  overrides.push_back("run.out=" + place.path("disturbed"));
  const auto file = read_run_config(quickstart, overrides);
  file->diagnostics.throw_if_errors();
  Session session(real_file_system(), file->config, policy_date(file->config));
  const Rng rng(5, Stream::test);
  uint64_t at = 0;
  for (size_t i = 0; i < session.model->parameters().size(); ++i) {
    for (float& v : session.model->parameters()[i].value().values())
      v = static_cast<float>(static_cast<double>(v) * (1 + (rng.bits(at++) % 2 == 0 ? size : -size)));
  }
  std::vector<double> losses;
  const Schedule lr = schedule(file->config);
  for (int step = 0; step < steps; ++step) {
    Batch batch = session.sampler->next();
    RouteTable route = session.route(batch);
    arrange(batch, route, session.trainer->skip_plan());
    const StepResult result =
        session.trainer->step(Session::train_batch(batch), route, static_cast<uint64_t>(step), lr.at(step));
    losses.push_back(result.mean_loss());
  }
  return losses;
}

}  // namespace

TEST_CASE("a run on the device names it, and what it has learned can be asked for on both") {
  const TinyRun tiny;
  const std::string config = tiny.path("config.yaml"), data = "data.inputs=[" + tiny.path("corpus.jsonl") + "]";
  const auto program = [&](std::vector<std::string> arguments) {
    const std::string log = arguments.front() + ".log";
    const int status = tiny.program(arguments, log);
    INFO(tiny.read(log));
    CHECK(status == 0);
    return tiny.read(log);
  };
  const std::string devices = program({"env"});
  if (backend_names().back() == "cpu") {
    CHECK(devices.find("no cuda: ") != std::string::npos);
    return;
  }
  const std::string name = cuda_backend().name(), architecture = cuda_backend().instruction_set();
  CHECK(devices.find(name + " (" + architecture + ")") != std::string::npos);
  REQUIRE(tiny.run("corpus", "run", {"run.device=cuda"}) == 0);
  CHECK(tiny.read("run.log").find(name + " " + architecture) != std::string::npos);
  const auto head = nlohmann::json::parse(tiny.log("run").leaves.front());
  CHECK(head.at("device") == name);
  CHECK(head.at("instruction_set") == architecture);
  for (const std::string device : {"cpu", "cuda"}) {
    const std::string out = "run.out=" + tiny.path("run");
    CHECK(program({"eval", config, data, out, "run.device=" + device}).find("loss in nats") != std::string::npos);
    CHECK(!program({"sample", tiny.path("run"), "--tokens", "5", "--device", device}).empty());
  }
  program({"inspect", tiny.path("run")});
}

TEST_CASE("a run that goes on on another device says so, and so does its log") {
  if (backend_names().back() == "cpu") return;
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", {"train.max_minutes=0.000001", "run.device=cpu"}) == 0);
  REQUIRE(tiny.run("corpus", "run", {"run.resume=auto", "run.device=cuda"}) == 0);
  CHECK(tiny.read("run.log").find("the run goes on with " + cuda_backend().name()) != std::string::npos);
  const TinyRun::Log log = tiny.log("run");
  CHECK(log.controls.at("device") == 1);
  CHECK(log.controls.at("step") == 12);
  for (const std::string& leaf : log.leaves) {
    const auto record = nlohmann::json::parse(leaf);
    if (record.at("k") != "device") continue;
    CHECK(record.at("device") == cuda_backend().name());
    CHECK(record.at("before").at("device") == "cpu");
    CHECK(record.at("step") == 2);
  }
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "verify.log") == 0);
  REQUIRE(tiny.run("corpus", "stays", {"train.max_minutes=0.000001", "run.device=cuda"}) == 0);
  REQUIRE(tiny.run("corpus", "stays", {"run.resume=auto", "run.device=cuda"}) == 0);
  CHECK(tiny.log("stays").controls.count("device") == 0);
}

// Most kernels of the device have the bits of the CPU (docs/cuda.md). A step can only differ through sums that run in
// another order: of norms (width 192; one forward, two backward; two norms a layer and the last one, so 9 x 3 x 192
// additions on a path through the model), and of the attention of four layers (forward over at most 256 keys: the
// sum of weights, the weighted values, 8 corrections of the running maximum; backward over 256 keys or queries for dq,
// dk, dv, and 32 columns for delta): 4 x (2 x 256 + 8 + 3 x 256 + 32). Together n = 10,464 roundings of unit u = 2^-24
// at each of the two. A sum of n terms is off by no more than lambda sqrt(n) u, relatively to its magnitudes, with
// probability 1 - 2 exp(-lambda^2 / 2) (Higham and Mary 2019); lambda = 8 leaves nothing to chance for 10^6 sums. So
// each step is that of a model whose weights are disturbed by delta = 8 sqrt(2 n) u = 6.9e-5 of their size.
//
// What such a disturbance grows to is measured: D(t) is the largest difference up to step t between the losses of two
// runs on the CPU, one of them from weights disturbed by 6.9e-5. Each of the t steps disturbs once, and what it
// disturbs has at most t steps to grow: |loss - loss'| <= t D(t).
TEST_CASE("the quickstart's first steps on the device have the losses of the CPU", "[slow]") {
  if (backend_names().back() == "cpu") return;
  const TinyRun place;
  place.write_corpus("quickstart", documents());
  const std::vector<double> cpu = run(place, "cpu", {"run.device=cpu"});
  const auto start = std::chrono::steady_clock::now();
  const std::vector<double> cuda = run(place, "cuda", {"run.device=cuda"});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double delta = 8 * std::sqrt(2 * 10464.0) * 0x1p-24;
  const std::vector<double> other = disturbed(place, delta);
  const std::vector<double> wrong = run(place, "wrong", {"run.device=cpu", "optim.weight_decay=0.2"});
  double grown = 0, worst = 0, worst_wrong = 0;
  std::string table;
  for (size_t t = 0; t < steps; ++t) {
    grown = std::max(grown, std::abs(other[t] - cpu[t]));
    const double bound = static_cast<double>(t + 1) * grown;
    table += fmt::format("step {:2}: cpu {:.6f}, cuda {:+.1e}, bound {:.1e}, disturbed {:+.1e}, wrong {:+.1e}\n", t + 1,
                         cpu[t], cuda[t] - cpu[t], bound, other[t] - cpu[t], wrong[t] - cpu[t]);
    worst = std::max(worst, std::abs(cuda[t] - cpu[t]) / bound);
    worst_wrong = std::max(worst_wrong, std::abs(wrong[t] - cpu[t]) / bound);
  }
  WARN(table << "on the device " << seconds << " s");
  CHECK(worst <= 1);
  if (steps < 20) return;
  CHECK(worst_wrong > 1);                 // twice the decay is seen
  CHECK(cpu.back() < cpu.front() - 0.5);  // something was learned
}
