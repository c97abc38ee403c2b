// What a whole run promises, through the real program: excluded is absent, threads do not matter, a run that is killed
// and resumed is the run that was not. Digests of files; zero tolerance.
#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/file.h"
#include "core/hash.h"
#include "tests/backends.h"
#include "tests/lineage/xmod.h"
#include "tests/tools/tiny_run.h"

using namespace govtrain;
using govtrain::test::backend_names;
using govtrain::testing::TinyDocument;
using govtrain::testing::TinyRun;

namespace {

const char* const weights = "model.safetensors";
const char* const moments = "optimizer.safetensors";

std::vector<std::string> trained_leaves(const TinyRun::Log& log) {
  std::vector<std::string> leaves;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() == "ex" && parse_example(leaf).value().place) leaves.push_back(leaf);
  }
  return leaves;
}

void check_verifies(const TinyRun& tiny, const std::string& out) {
  CHECK(tiny.program({"lineage", "verify", tiny.path(out)}, out + ".verify.log") == 0);
}

}  // namespace

TEST_CASE("excluded documents are absent: same model file as without them, or with any other text in them", "[slow]") {
  const std::string kind = GENERATE(std::string("bytes"), std::string("sentencepiece"));
  const std::string device = GENERATE(from_range(backend_names()));
  const TinyRun tiny;
  const std::vector<TinyDocument> all = TinyRun::default_documents(3);
  std::vector<TinyDocument> without, replaced = all;
  for (const TinyDocument& d : all) {
    if (d.cls != "uncertain") without.push_back(d);
  }
  for (TinyDocument& d : replaced) {
    if (d.cls == "uncertain") d.text = "zebra " + d.source + " quartz jackdaws, nothing like the text before";
  }
  REQUIRE(without.size() < all.size());
  // A copy of an admitted text among the excluded must not make the admitted one a duplicate.
  replaced.push_back({without.front().text, "copy", "MIT", "uncertain"});
  tiny.write_corpus("all", all);
  tiny.write_corpus("without", without);
  tiny.write_corpus("replaced", replaced);

  const std::vector<std::string> tokenizer = {"data.tokenizer.kind=" + kind, "data.tokenizer.vocab_size=320",
                                              "run.device=" + device};
  const auto run = [&](const std::string& corpus, const std::string& out, int threads) {
    std::vector<std::string> overrides = tokenizer;
    overrides.push_back("run.threads=" + std::to_string(threads));
    INFO(tiny.read(out + ".log"));
    REQUIRE(tiny.run(corpus, out, overrides) == 0);
    check_verifies(tiny, out);
  };
  run("all", "a1", 1);
  const std::string model = tiny.final_sha256("a1", weights), state = tiny.final_sha256("a1", moments);
  REQUIRE(model.size() == 64);
  const std::vector<std::string> records = trained_leaves(tiny.log("a1"));
  for (const auto& [corpus, out, threads] : {std::tuple("all", "a2", 2), std::tuple("without", "w1", 1),
                                             std::tuple("without", "w2", 2), std::tuple("replaced", "r2", 2)}) {
    INFO(kind << " " << corpus << " " << threads << " threads, " << device);
    run(corpus, out, threads);
    CHECK(tiny.final_sha256(out, weights) == model);
    CHECK(tiny.final_sha256(out, moments) == state);
    CHECK(trained_leaves(tiny.log(out)) == records);
  }
  // The test can fail: an admitted document does matter.
  without.pop_back();
  tiny.write_corpus("less", without);
  run("less", "l1", 1);
  CHECK(tiny.final_sha256("l1", weights) != model);
}

TEST_CASE("every excluded document is logged, and nothing that is kept out ever contributes") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", {}) == 0);
  const TinyRun::Log log = tiny.log("run");
  size_t excluded = 0;
  std::set<std::string> expected_out;
  for (const TinyDocument& d : TinyRun::default_documents(1)) excluded += d.cls == "uncertain" ? 1 : 0;
  size_t seen = 0;
  std::map<int64_t, int64_t> per_step;
  for (const ExampleRecord& r : log.examples) {
    if (!r.place) {
      ++seen;
      for (const float w : r.w) CHECK(w == 0);
      continue;
    }
    CHECK(r.place->i == per_step[r.place->step]++);
    for (size_t b = 0; b < r.w.size(); ++b) CHECK((r.w[b] == 0) == (r.g[b] == 0));
    CHECK(r.pol.rfind("tiny@", 0) == 0);
    CHECK((r.prof == "full" || r.prof == "shallow"));
    if (r.prof == "shallow") CHECK(r.w == std::vector<float>{1, 0.5f, 0, 0});
  }
  CHECK(seen == excluded);
  CHECK(per_step.size() == 12);
  CHECK(log.controls.at("step") == 12);
  CHECK(log.controls.at("end") == 1);
  check_verifies(tiny, "run");
}

TEST_CASE("the log of a real run is accepted by golang.org/x/mod, and not after one changed byte", "[slow]") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", {"train.steps=40", "lineage.flush_records=50"}) == 0);
  std::filesystem::create_directory(tiny.path("xmod"));
  const govtrain::testing::Xmod xmod(tiny.path("xmod"));
  if (!xmod.available()) return;
  const std::string log = tiny.path("run/lineage"), vkey = log + "/log.vkey";
  CHECK(xmod.accepts(log, vkey));
  const std::string bundle = log + "/tile/entries/000";
  REQUIRE(std::filesystem::exists(bundle));
  std::string bytes = tiny.read("run/lineage/tile/entries/000");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  REQUIRE(real_file_system().write(bundle, bytes).ok());
  CHECK_FALSE(xmod.accepts(log, vkey));
}

TEST_CASE("the size of a micro-batch and the number of threads do not change a bit", "[slow]") {
  const TinyRun tiny;
  const std::string device = "run.device=" + GENERATE(from_range(backend_names()));
  INFO(device);
  REQUIRE(tiny.run("corpus", "a", {"run.threads=1", device}) == 0);
  REQUIRE(tiny.run("corpus", "b", {"run.threads=3", "train.micro_batch_tokens=70", device}) == 0);
  CHECK(tiny.final_sha256("a", weights) == tiny.final_sha256("b", weights));
  CHECK(tiny.final_sha256("a", moments) == tiny.final_sha256("b", moments));
  CHECK(trained_leaves(tiny.log("a")) == trained_leaves(tiny.log("b")));
}

TEST_CASE("killed twenty times at random moments and resumed: same weights, no record lost", "[slow]") {
  const TinyRun tiny;
  const std::string device = GENERATE(from_range(backend_names()));
  const std::vector<std::string> settings = {device == "cpu" ? "train.steps=240" : "train.steps=40",
                                             "save.every=3",
                                             "run.resume=auto",
                                             "run.threads=2",
                                             "lineage.flush_records=16",
                                             "run.device=" + device};
  CAPTURE(device);
  const std::chrono::milliseconds whole = tiny.timed_run("corpus", "whole", settings);
  tiny.run_killed("corpus", "killed", settings, device == "cpu" ? 20 : 6, whole, [&] {
    CHECK(tiny.final_sha256("killed", weights) == tiny.final_sha256("whole", weights));
    CHECK(tiny.final_sha256("killed", moments) == tiny.final_sha256("whole", moments));
    CHECK(trained_leaves(tiny.log("killed")) == trained_leaves(tiny.log("whole")));
    check_verifies(tiny, "killed");
  });
}

TEST_CASE("SIGTERM saves, exits with 130, and the resumed run is the same", "[slow]") {
  const TinyRun tiny;
  const std::vector<std::string> settings = {"train.steps=400", "save.every=0", "run.resume=auto"};
  const std::chrono::milliseconds whole = tiny.timed_run("corpus", "whole", settings);
  int interrupted = 0;
  for (int attempt = 0; interrupted < 2; ++attempt) {
    REQUIRE(attempt < 60);
    const auto delay = std::chrono::milliseconds(1 + whole.count() * (1 + attempt % 12) / 16);
    const int status = tiny.run("corpus", "cut", settings, delay, SIGTERM);
    INFO(tiny.read("cut.log"));
    if (status == 0) {
      std::filesystem::remove_all(tiny.path("cut"));
      continue;
    }
    // Before the handlers are installed a signal ends the process in the ordinary way.
    REQUIRE((status == 130 || status == 128 + SIGTERM));
    if (status != 130) continue;
    ++interrupted;
    check_verifies(tiny, "cut");
  }
  REQUIRE(tiny.run("corpus", "cut", settings) == 0);
  CHECK(tiny.final_sha256("cut", weights) == tiny.final_sha256("whole", weights));
}

TEST_CASE("a value that is not finite stops the run before the update and names op, block and example") {
  const TinyRun tiny;
  const int status = tiny.run(
      "corpus", "run", {"optim.kind=sgd", "optim.lr=1e30", "optim.clip=0", "optim.warmup_steps=0", "save.every=1"});
  CHECK(status == 1);
  const std::string out = tiny.read("run.log");
  CHECK(out.find("a value that is not finite, first in op '") != std::string::npos);
  CHECK(out.find(", block ") != std::string::npos);
  CHECK(out.find(", example sha256:") != std::string::npos);
  CHECK(std::filesystem::exists(tiny.path("run/non_finite.json")));
  check_verifies(tiny, "run");
}

TEST_CASE("a validation loss that is not finite stops the run and names step, source and example") {
  const TinyRun tiny;
  const int status = tiny.run("corpus", "run",
                              {"optim.kind=sgd", "optim.lr=1e15", "optim.clip=0", "optim.warmup_steps=0",
                               "save.every=1", "eval.every=1", "data.validation_fraction=0.3"});
  CHECK(status == 1);
  const std::string out = tiny.read("run.log");
  INFO(out);
  CHECK(out.find("step 1: the validation loss of source '") != std::string::npos);
  CHECK(out.find("' is not finite, first for example sha256:") != std::string::npos);
  CHECK(out.find("train with a lower optim.lr") != std::string::npos);
  const auto report = nlohmann::json::parse(tiny.read("run/non_finite.json"));
  CHECK(report.at("step") == 1);
  CHECK(report.at("examples").size() == 1);
  CHECK(report.at("examples")[0].at("provenance")[0].at("license") == report.at("source"));
  CHECK(tiny.final_sha256("run", weights) == "no checkpoint");
  const TinyRun::Log log = tiny.log("run");
  CHECK(log.controls.at("step") == 1);
  CHECK(log.controls.count("eval") == 0);
  check_verifies(tiny, "run");
}

TEST_CASE("weights that an update made infinite are not saved") {
  const TinyRun tiny;
  const int status = tiny.run("corpus", "run",
                              {"optim.kind=sgd", "optim.lr=3e38", "optim.clip=0", "optim.warmup_steps=0",
                               "optim.schedule=constant", "train.steps=1", "save.every=1", "optim.weight_decay=1e5"});
  CHECK(status == 1);
  INFO(tiny.read("run.log"));
  CHECK(tiny.read("run.log").find("the update left a value that is not finite in model.") != std::string::npos);
  CHECK(tiny.final_sha256("run", weights) == "no checkpoint");
}

TEST_CASE("resuming refuses what would not continue the run") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", {"train.steps=8"}) == 0);
  const auto refused = [&](const std::vector<std::string>& overrides, int expected, const std::string& text) {
    std::filesystem::remove(tiny.path("run.log"));
    CHECK(tiny.run("corpus", "run", overrides) == expected);
    const std::string out = tiny.read("run.log");
    INFO(out);
    CHECK(out.find(text) != std::string::npos);
  };
  refused({"train.steps=8"}, 2, "holds a run already");
  refused({"train.steps=12", "run.resume=auto"}, 2, "train.steps: 8 against 12");
  refused({"train.steps=8", "run.resume=auto", "optim.lr=1"}, 2, "optim.lr: 0.003 against 1");
  refused({"train.steps=8", "run.resume=auto", "policy.date=2027-01-01"}, 2, "a run keeps its date");
  const std::string model = tiny.path("run/ckpt/step-000008/model.safetensors");
  std::filesystem::resize_file(model, std::filesystem::file_size(model) - 1);
  refused({"train.steps=8", "run.resume=auto"}, 3, "the file was changed or damaged");
}

TEST_CASE("weights that the log does not cover are not trained further") {
  const TinyRun tiny;
  const std::vector<std::string> settings = {"train.steps=12", "run.resume=auto", "run.threads=1"};
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  std::filesystem::remove_all(tiny.path("run/ckpt/step-000012"));
  std::filesystem::copy(tiny.path("run/lineage"), tiny.path("log"), std::filesystem::copy_options::recursive);
  SECTION("the log is gone") {
    std::filesystem::remove_all(tiny.path("run/lineage"));
    CHECK(tiny.run("corpus", "run", settings) == 4);
    CHECK(tiny.read("run.log").find("has no log") != std::string::npos);
  }
  SECTION("the log is another run's") {
    REQUIRE(tiny.run("corpus", "other", settings) == 0);
    std::filesystem::remove_all(tiny.path("run/lineage"));
    std::filesystem::copy(tiny.path("other/lineage"), tiny.path("run/lineage"),
                          std::filesystem::copy_options::recursive);
    CHECK(tiny.run("corpus", "run", settings) == 4);
  }
  SECTION("the log lost its signed checkpoint: nothing is deleted") {
    std::filesystem::remove_all(tiny.path("run/ckpt"));
    std::filesystem::remove(tiny.path("run/lineage/checkpoint"));
    CHECK(tiny.run("corpus", "run", settings) == 4);
    CHECK(tiny.read("run.log").find("holds records") != std::string::npos);
    CHECK(std::filesystem::exists(tiny.path("run/lineage/tile/0")));
  }
  SECTION("the weights were replaced, and DONE with them") {
    const std::string good = tiny.path("run/ckpt/step-000008"), other = tiny.path("other/ckpt/step-000008");
    std::vector<std::string> changed = settings;
    changed.push_back("optim.lr=0.004");
    changed.push_back("run.resume=never");
    REQUIRE(tiny.run("corpus", "other", changed) == 0);
    REQUIRE(std::filesystem::exists(good));
    std::string done = tiny.read("run/ckpt/step-000008/DONE");
    for (const char* file : {weights, moments}) {
      const auto digest = [&](const std::string& run) {
        return hex(sha256(tiny.read(run + "/ckpt/step-000008/" + file)));
      };
      const size_t at = done.find(digest("run"));
      REQUIRE(at != std::string::npos);
      REQUIRE(digest("run") != digest("other"));
      done.replace(at, 64, digest("other"));
      std::filesystem::copy_file(other + "/" + file, good + "/" + file,
                                 std::filesystem::copy_options::overwrite_existing);
    }
    std::ofstream(good + "/DONE") << done;
    CHECK(tiny.run("corpus", "run", settings) == 4);
    CHECK(tiny.read("run.log").find("they were changed after they were logged") != std::string::npos);
  }
  SECTION("the log covers them: resuming works, and records the rewind") {
    REQUIRE(tiny.run("corpus", "run", settings) == 0);
    CHECK(tiny.log("run").controls.at("rewind") == 1);
    check_verifies(tiny, "run");
  }
}

TEST_CASE("going on from an older checkpoint abandons the later ones for good") {
  const TinyRun tiny;
  const std::vector<std::string> settings = {"train.steps=2000", "save.every=500", "save.keep_last=9", "eval.every=0",
                                             "lineage.flush_records=16"};
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  const std::string model = tiny.final_sha256("run", weights);
  std::vector<std::string> older = settings, newest = settings;
  older.push_back("run.resume=" + tiny.path("run/ckpt/step-001000"));
  newest.push_back("run.resume=auto");
  // Killed after its rewind.
  const auto rewound = [&] {
    for (int wait = 100; wait < 60000; wait += wait / 4) {
      const int status = tiny.run("corpus", "run", older, std::chrono::milliseconds(wait));
      if (status == 0 || tiny.log("run").controls["rewind"] > 0) return status;
    }
    return -1;
  };
  REQUIRE(rewound() == 128 + SIGKILL);
  CHECK_FALSE(std::filesystem::exists(tiny.path("run/ckpt/step-002000")));
  SECTION("auto goes on from the older one") {
    REQUIRE(tiny.run("corpus", "run", newest) == 0);
    CHECK(tiny.final_sha256("run", weights) == model);
    check_verifies(tiny, "run");
    CHECK(tiny.log("run").controls.at("step") == 2000);
  }
  SECTION("an abandoned one is refused by name") {
    newest.back() = "run.resume=" + tiny.path("run/ckpt/step-001500.superseded");
    CHECK(tiny.run("corpus", "run", newest) == 4);
    CHECK(tiny.read("run.log").find("was abandoned") != std::string::npos);
  }
}

TEST_CASE("a run goes on through its folder, however it is spelt, and after another run of the same name") {
  const TinyRun tiny;
  const std::vector<std::string> cut = {"train.max_minutes=0.000001"};
  REQUIRE(tiny.run("corpus", "a", cut) == 0);
  REQUIRE(tiny.run("corpus", "b", cut) == 0);
  const auto go_on = [&](const std::string& folder, const std::string& log) {
    const int status = tiny.program({"run", folder, "--resume", "auto", "train.max_minutes=0"}, log);
    INFO(tiny.read(log));
    CHECK(status == 0);
    CHECK(tiny.read(log).find("resumed at step 1") != std::string::npos);
  };
  go_on(tiny.path("a"), "a.again.log");
  go_on(tiny.path("b/"), "b.again.log");
  CHECK(tiny.final_sha256("a", weights) == tiny.final_sha256("b", weights));
  check_verifies(tiny, "a");
  check_verifies(tiny, "b");
}

TEST_CASE("a run does not write over files that are not a run's") {
  const TinyRun tiny;
  std::filesystem::create_directories(tiny.path("mine"));
  const std::string name = GENERATE(std::string("config.yaml"), std::string("metrics.jsonl"));
  std::ofstream(tiny.path("mine/" + name)) << "precious";
  CHECK(tiny.run("corpus", "mine", {"run.resume=" + GENERATE(std::string("never"), std::string("auto"))}) == 2);
  CHECK(tiny.read("mine.log").find("is not a run's and would be overwritten") != std::string::npos);
  CHECK(tiny.read("mine/" + name) == "precious");
  CHECK_FALSE(std::filesystem::exists(tiny.path("mine/ckpt")));
}
