// Whole runs under every technique and enforcement point: laws 2, 3 and 8 by digests of files, zero bits; and the
// points against each other. Gradients of random models: tests/models/techniques_test.cpp and enforcement_test.cpp.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/tools/tiny_run.h"
#include "tools/govtrain/io/safetensors.h"

using namespace govtrain;
using govtrain::testing::TinyDocument;
using govtrain::testing::TinyRun;

namespace {

const char* const weights = "model.safetensors";
const char* const moments = "optimizer.safetensors";

using Settings = std::vector<std::string>;

const std::vector<Settings> all_ways = {{"routing.technique=[boundary]"},
                                        {"routing.technique=[residual_gate]"},
                                        {"routing.technique=[attention_gate]"},
                                        {"routing.technique=[scale, boundary]"},
                                        {"routing.enforcement=optimizer"},
                                        {"routing.enforcement=optimizer", "routing.withheld=quarantine"},
                                        {"routing.enforcement=loss"}};

Settings operator+(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Five profiles, by licence: full, graded, amplifying, with negative weights, kept out.
void write_policy(const TinyRun& tiny, const std::string& bands = "") {
  std::ofstream(tiny.path("policy.yaml"))
      << "policy: five\nversion: 1\ndefault: none\nprofiles:\n"
         "  full: {all: 1}\n"
         "  graded: {embedding: 1, layer.0: 0.7, layer.1: 0.3, rest: 0}\n"
         "  loud: {layer.1: 2.5, rest: 1}\n"
         "  against: {allow_negative: {bound: 0.5}, embedding: 0, layer.0: 1, layer.1: -0.3, rest: -0.1}\n"
         "rules:\n"
         "  - {name: a, when: {license: MIT}, profile: full}\n"
         "  - {name: b, when: {license: GPL-3.0-only}, profile: graded}\n"
         "  - {name: c, when: {license: Zlib}, profile: loud}\n"
         "  - {name: d, when: {license: ISC}, profile: against}\n"
         "  - {name: e, when: {license: X11}, profile: none}\n"
      << bands;
}

std::vector<TinyDocument> documents() {
  std::vector<TinyDocument> out = TinyRun::default_documents(4);
  const char* const licences[] = {"MIT", "GPL-3.0-only", "Zlib", "ISC", "X11"};
  for (size_t i = 0; i < out.size(); ++i) out[i].license = licences[i % 5];
  return out;
}

std::vector<TinyDocument> with_other_text(std::vector<TinyDocument> all, const std::string& licence) {
  for (TinyDocument& d : all) {
    if (d.license == licence) d.text = "zebra " + d.source + " quartz jackdaws vex, nothing like the text before";
  }
  return all;
}

void run(const TinyRun& tiny, const std::string& corpus, const std::string& out, const Settings& settings) {
  const int status = tiny.run(corpus, out, settings);
  INFO(tiny.read(out + ".log"));
  REQUIRE(status == 0);
  CHECK(tiny.program({"lineage", "verify", tiny.path(out)}, out + ".verify.log") == 0);
}

std::vector<std::string> trained_leaves(const TinyRun::Log& log) {
  std::vector<std::string> leaves;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() == "ex" && parse_example(leaf).value().place) leaves.push_back(leaf);
  }
  return leaves;
}

// By step, document and place in it: what does not depend on the order within a step.
std::map<std::string, ExampleRecord> records(const TinyRun& tiny, const std::string& out) {
  std::map<std::string, ExampleRecord> all;
  for (const ExampleRecord& r : tiny.log(out).examples) {
    if (r.place) all[std::to_string(r.place->step) + " " + r.ex + " " + std::to_string(r.span_begin)] = r;
  }
  return all;
}

std::map<std::string, std::vector<float>> tensors(const TinyRun& tiny, const std::string& out,
                                                  const std::string& step) {
  const auto file = Safetensors::open(tiny.path(out + "/ckpt/" + step + "/" + weights));
  REQUIRE(file.ok());
  std::map<std::string, std::vector<float>> all;
  for (const SafetensorsEntry& e : file.value().entries()) {
    std::vector<float>& values = all[e.name];
    values.resize(static_cast<size_t>(e.elements()));
    REQUIRE(file.value().read(e.name, e.shape, values).ok());
  }
  return all;
}

std::vector<double> losses(const TinyRun& tiny, const std::string& out) {
  std::vector<double> all;
  std::ifstream lines(tiny.path(out + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json.contains("loss")) all.push_back(json.at("loss"));
  }
  return all;
}

}  // namespace

TEST_CASE("law 3 under every technique and enforcement point: excluded documents are absent from a run", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny);
  const std::vector<TinyDocument> all = documents();
  std::vector<TinyDocument> without, less;
  for (const TinyDocument& d : all) {
    if (d.license != "X11") without.push_back(d);
  }
  less.assign(without.begin() + 12, without.end());
  tiny.write_corpus("all", all);
  tiny.write_corpus("without", without);
  tiny.write_corpus("replaced", with_other_text(all, "X11"));
  tiny.write_corpus("less", less);
  int number = 0;
  for (const Settings& way : all_ways) {
    INFO(way.front());
    const std::string at = std::to_string(number++);
    run(tiny, "all", "all" + at, way + Settings{"run.threads=1"});
    run(tiny, "without", "without" + at, way + Settings{"run.threads=2"});
    run(tiny, "replaced", "replaced" + at, way + Settings{"run.threads=2", "train.micro_batch_tokens=70"});
    for (const std::string& other : {"without" + at, "replaced" + at}) {
      CHECK(tiny.final_sha256(other, weights) == tiny.final_sha256("all" + at, weights));
      CHECK(tiny.final_sha256(other, moments) == tiny.final_sha256("all" + at, moments));
      CHECK(trained_leaves(tiny.log(other)) == trained_leaves(tiny.log("all" + at)));
    }
    run(tiny, "less", "less" + at, way);  // the test can fail
    CHECK(tiny.final_sha256("less" + at, weights) != tiny.final_sha256("all" + at, weights));
  }
}

// One step over the whole corpus. 'deep' keeps out of the embedding and the first layer, whatever the text is.
TEST_CASE("law 2 under every technique and enforcement point: a run's step leaves kept out blocks as they are",
          "[slow]") {
  const TinyRun tiny;
  std::ofstream(tiny.path("policy.yaml")) << "policy: deep\nversion: 1\ndefault: none\nprofiles:\n"
                                             "  full: {all: 1}\n  deep: {embedding: 0, layer.0: 0, rest: 0.3}\n"
                                             "rules:\n"
                                             "  - {name: a, when: {license: MIT}, profile: full}\n"
                                             "  - {name: b, when: {license: GPL-3.0-only}, profile: deep}\n";
  const std::vector<TinyDocument> all = TinyRun::default_documents(4);
  tiny.write_corpus("all", all);
  tiny.write_corpus("replaced", with_other_text(all, "GPL-3.0-only"));
  int number = 0;
  for (const Settings& way : all_ways) {
    INFO(way.front());
    const Settings one =
        way + Settings{"train.steps=1",        "train.tokens_per_step=40000", "data.validation_fraction=0",
                       "optim.warmup_steps=0", "optim.schedule=constant",     "optim.kind=sgd",
                       "model.tied_head=false"};
    const std::string at = std::to_string(number++);
    run(tiny, "all", "all" + at, one);
    run(tiny, "replaced", "replaced" + at, one);
    const auto a = tensors(tiny, "all" + at, "step-000001"), b = tensors(tiny, "replaced" + at, "step-000001");
    int kept_out = 0, reached = 0;
    for (const auto& [name, values] : a) {
      INFO(name);
      const std::vector<float>& other = b.at(name);
      REQUIRE(values.size() == other.size());
      const bool same = std::memcmp(values.data(), other.data(), values.size() * sizeof(float)) == 0;
      const bool low = name.find("embed") != std::string::npos || name.find("layers.0.") != std::string::npos;
      if (low) ++kept_out;
      if (low) CHECK(same);
      if (!low && !same) ++reached;
    }
    CHECK(kept_out > 5);
    CHECK(reached > 5);
  }
}

// Forward values of the first step have the same bits, and so do its records, but for norms at the point `loss`, which
// come out of as many passes. Later steps start from weights that differ by roundings of the gradient
// (docs/enforcement.md); sgd passes them on as they are, where Adam would divide noise by noise. 1e-6 is far above them
// and far below the difference that a wrong weight makes.
TEST_CASE("runs at every enforcement point say and learn the same", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny);
  tiny.write_corpus("corpus", documents());
  const Settings sgd = {"optim.kind=sgd", "optim.lr=0.05", "optim.weight_decay=0"};
  for (const std::string point : {"backward", "optimizer", "loss"}) {
    run(tiny, "corpus", point, sgd + Settings{"routing.enforcement=" + point});
  }
  const auto want = records(tiny, "backward");
  const std::vector<double> want_losses = losses(tiny, "backward");
  const auto want_model = tensors(tiny, "backward", "step-000012");
  std::map<std::string, int> profiles;
  for (const auto& [key, r] : want) ++profiles[r.prof];
  CHECK(profiles.size() == 4);  // the fifth is kept out from the start
  for (const std::string point : {"optimizer", "loss"}) {
    INFO(point);
    const auto got = records(tiny, point);
    REQUIRE(got.size() == want.size());
    for (const auto& [key, r] : want) {
      INFO(key);
      const ExampleRecord& other = got.at(key);
      CHECK(other.w == r.w);
      CHECK(other.r == r.r);
      CHECK(other.prof == r.prof);
      CHECK(other.prov == r.prov);
      if (point == "optimizer" && r.place->step == 1) CHECK(other.g == r.g);
      for (size_t b = 0; b < r.g.size(); ++b) CHECK(std::abs(other.g[b] - r.g[b]) <= 1e-5f * r.g[b]);
    }
    const std::vector<double> mine = losses(tiny, point);
    REQUIRE(mine.size() == want_losses.size());
    CHECK(mine.front() == Approx(want_losses.front()).epsilon(1e-14));  // the same losses in another order
    for (size_t i = 0; i < mine.size(); ++i) CHECK(std::abs(mine[i] - want_losses[i]) <= 1e-6);
    for (const auto& [name, values] : tensors(tiny, point, "step-000012")) {
      double worst = 0;
      for (size_t j = 0; j < values.size(); ++j) {
        worst = std::max(worst, std::abs(static_cast<double>(values[j]) - static_cast<double>(want_model.at(name)[j])));
      }
      CHECK(worst <= 1e-6);
    }
  }
}

TEST_CASE("at every enforcement point a run that is killed and resumed has the bits of one that was not", "[slow]") {
  const TinyRun tiny;
  const std::string bands = GENERATE(std::string(), std::string("entropy: {profiles: [graded, full], warmup: 12, "
                                                                "error: 0.02, update_every: 2, window: 30}\n"));
  write_policy(tiny, bands);
  tiny.write_corpus("corpus", documents());
  for (const Settings& way : {Settings{"routing.enforcement=optimizer"}, Settings{"routing.enforcement=loss"},
                              Settings{"routing.enforcement=optimizer", "routing.withheld=quarantine"}}) {
    INFO(way.front() << " " << bands);
    std::filesystem::remove_all(tiny.path("whole"));
    std::filesystem::remove_all(tiny.path("cut"));
    const auto whole = tiny.timed_run("corpus", "whole", way + Settings{"run.threads=1"});
    const Settings cut = way + Settings{"run.threads=3", "train.micro_batch_tokens=70", "save.every=1",
                                        "run.resume=auto", "lineage.flush_records=16"};
    tiny.run_killed("corpus", "cut", cut, 10, whole, [&] {
      CHECK(tiny.final_sha256("cut", weights) == tiny.final_sha256("whole", weights));
      CHECK(tiny.final_sha256("cut", moments) == tiny.final_sha256("whole", moments));
      CHECK(trained_leaves(tiny.log("cut")) == trained_leaves(tiny.log("whole")));
      CHECK(tiny.program({"lineage", "verify", tiny.path("cut")}, "cut.verify.log") == 0);
    });
  }
}

TEST_CASE("a run does not go on at another enforcement point") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", {"train.max_minutes=0.000001"}) == 0);
  CHECK(tiny.run("corpus", "run", {"run.resume=auto", "routing.enforcement=loss"}) == 2);
  CHECK(tiny.read("run.log").find("routing.enforcement: \"backward\" against \"loss\"") != std::string::npos);
}
