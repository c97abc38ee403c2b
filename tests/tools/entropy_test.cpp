// Surprisal bands in whole runs: laws 2, 3 and 8 with bands and slopes on, what the log says, and its replay. Zero
// bits.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "core/file.h"
#include "lineage/note.h"
#include "lineage/reader.h"
#include "lineage/writer.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/train/band_replay.h"

using namespace govtrain;
using govtrain::testing::TinyDocument;
using govtrain::testing::TinyRun;

namespace {

const char* const weights = "model.safetensors";
const char* const moments = "optimizer.safetensors";

const std::string quantiles = "profiles: [shallow, low, full], warmup: 12, error: 0.02, update_every: 2, window: 30";
const std::string slopes =
    "warmup: 12, window: 30, slope: {by: license, edges: [-0.01], min_points: 2}, profiles: [[shallow, low], [low, "
    "full], full]";

// The tiny run's policy with this section 'entropy'. Copyleft documents stay in the shallow half.
void write_policy(const TinyRun& tiny, const std::string& entropy) {
  std::ofstream(tiny.path("policy.yaml")) << "policy: tiny\nversion: 1\ndefault: none\n"
                                             "profiles:\n"
                                             "  full: {all: 1}\n"
                                             "  low: {embedding: 1, layer.0: 1, layer.1: 0.5, rest: 0.25}\n"
                                             "  shallow: {embedding: 1, layer.0: 0.5, rest: 0}\n"
                                             "  deep: {layer.1: 1, rest: 0}\n"
                                             "rules:\n"
                                             "  - {name: free, when: {license: MIT}, profile: full}\n"
                                             "  - {name: copyleft, when: {license: GPL-3.0-only}, profile: shallow}\n"
                                             "  - {name: unclear, when: {class: uncertain}, profile: none}\n"
                                          << "entropy: {" << entropy << "}\n";
}

std::vector<std::string> kind(const TinyRun::Log& log, const std::string& wanted) {
  std::vector<std::string> out;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() == wanted) out.push_back(leaf);
  }
  return out;
}

std::vector<std::string> trained(const TinyRun::Log& log) {
  std::vector<std::string> out = kind(log, "ex");
  std::erase_if(out, [](const std::string& leaf) { return !parse_example(leaf).value().place; });
  return out;
}

BandReplay replay(const TinyRun& tiny, const std::string& out) {
  FileSystem& fs = real_file_system();
  const std::string folder = tiny.path(out + "/lineage");
  LogReader log = std::move(LogReader::open(fs, folder, read_log_key(fs, folder).value())).value();
  return replay_bands(fs, folder, log);
}

void run(const TinyRun& tiny, const std::string& corpus, const std::string& out, std::vector<std::string> settings) {
  settings.insert(settings.begin(), "train.steps=20");
  const int status = tiny.run(corpus, out, settings);
  INFO(tiny.read(out + ".log"));
  REQUIRE(status == 0);
}

}  // namespace

TEST_CASE("bands are decided, logged, named by the rules, and come out the same when the log is replayed") {
  const TinyRun tiny;
  write_policy(tiny, GENERATE(as<std::string>{}, quantiles, slopes, "reference: {ema: 0.9}, " + quantiles));
  run(tiny, "corpus", "run", {});
  const TinyRun::Log log = tiny.log("run");
  std::set<int32_t> bands;
  size_t lowered = 0, without = 0;
  for (const ExampleRecord& r : log.examples) {
    if (!r.place) continue;
    CHECK(r.ent.has_value());
    if (!r.band) ++without;
    if (r.band) bands.insert(*r.band);
    for (const int32_t rule : r.r) lowered += rule >= 4 ? 1 : 0;  // default, three rules, then the bands
    if (r.prof == "shallow") CHECK((r.w[2] == 0 && r.w[3] == 0));
  }
  CHECK(bands.size() > 1);
  CHECK(lowered > 0);
  CHECK(without >= 12);  // the warm-up
  const std::string policy = kind(log, "policy").at(0);
  CHECK(policy.find("\"name\":\"entropy band 0") != std::string::npos);
  CHECK(tiny.read("run/metrics.jsonl").find("\"band/0/examples\":") != std::string::npos);
  CHECK(tiny.read("run.log").find("entropy band 0") != std::string::npos);
  const BandReplay report = replay(tiny, "run");
  CHECK(report.problems.empty());
  CHECK(report.steps == 20);
  CHECK(report.banded > 0);
  CHECK(report.edges == kind(log, "bands").size());
  CHECK(report.edges > 2);
  CHECK(tiny.program({"policy", "replay", tiny.path("run")}, "replay.log") == 0);
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "verify.log") == 0);
}

TEST_CASE("a record that was changed is found by the replay, although the log that holds it is whole", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, slopes);
  run(tiny, "corpus", "run", {});
  const std::vector<std::string> leaves = tiny.log("run").leaves;
  // Writes the log again, one leaf changed, under a key of its own.
  const auto forged = [&](const std::string& name, const std::function<bool(std::string&)>& change) {
    FileSystem& fs = real_file_system();
    const std::string folder = tiny.path(name + "/lineage");
    REQUIRE(fs.make_dirs(tiny.path(name)).ok());
    LogWriter log =
        std::move(LogWriter::create(fs, folder, create_note_key(fs, tiny.path(name + ".key"), name).value(), "forged"))
            .value();
    const auto stored = fs.list(tiny.path("run/lineage/prov"));
    for (const std::string& file : stored.value()) {
      REQUIRE(log.put_provenance(tiny.read("run/lineage/prov/" + file)).ok());
    }
    bool changed = false;
    for (size_t i = 0; i < leaves.size(); ++i) {
      std::string leaf = leaves[i];
      if (!changed) changed = change(leaf);
      REQUIRE(log.append(leaf).ok());
    }
    REQUIRE(log.flush().ok());
    return changed;
  };
  const auto example = [](const std::function<bool(ExampleRecord&)>& change) {
    return [change](std::string& leaf) {
      if (leaf_kind(leaf).value() != "ex") return false;
      ExampleRecord r = parse_example(leaf).value();
      if (!r.place || r.place->step < 12 || !change(r)) return false;
      REQUIRE(write_leaf(leaf, r).ok());
      return true;
    };
  };
  const auto found = [&](const std::string& name, const std::function<bool(std::string&)>& change, bool expected) {
    INFO(name);
    CHECK(forged(name, change) == expected);
    CHECK(replay(tiny, name).problems.empty() == !expected);
  };
  found(
      "nothing", [](std::string&) { return false; }, false);
  found("ent", example([](ExampleRecord& r) { return r.prof == "full" && (*r.ent += 2, true); }), true);
  found("band", example([](ExampleRecord& r) { return r.band && (*r.band = (*r.band + 1) % 3, true); }), true);
  found("slope", example([](ExampleRecord& r) { return r.slope && (*r.slope += 0.125F, true); }), true);
  found("weight", example([](ExampleRecord& r) { return r.w[0] == 1 && (r.w[0] = 0.75F, true); }), true);
  found("rule", example([](ExampleRecord& r) { return r.r[3] > 3 && (r.r[3] = 1, true); }), true);
  found(
      "edges",
      [](std::string& leaf) {
        if (leaf_kind(leaf).value() != "bands") return false;
        ControlRecord r = parse_control(leaf).value();
        if (r.payload["step"] == 0) return false;
        r.payload["surprisal"]["edges"][0] = 0.5;
        REQUIRE(write_leaf(leaf, r).ok());
        return true;
      },
      true);
  found(
      "restart",
      [](std::string& leaf) {
        if (leaf_kind(leaf).value() != "bands") return false;
        ControlRecord r = parse_control(leaf).value();
        r.payload["restart"] = true;  // where nothing was observed yet: only the reason is missing
        REQUIRE(write_leaf(leaf, r).ok());
        return true;
      },
      true);
}

TEST_CASE("micro-batches, threads and what is skipped change no bit of a run with bands and slopes", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, GENERATE(as<std::string>{}, slopes, "reference: {ema: 0.9}, " + quantiles));
  run(tiny, "corpus", "a", {"run.threads=1"});
  run(tiny, "corpus", "b", {"run.threads=3", "train.micro_batch_tokens=70", "routing.skip=false"});
  CHECK(tiny.final_sha256("a", weights) == tiny.final_sha256("b", weights));
  CHECK(tiny.final_sha256("a", moments) == tiny.final_sha256("b", moments));
  const auto unplaced = [](const TinyRun::Log& log) {
    std::multiset<std::string> out;
    for (const std::string& leaf : trained(log)) {
      ExampleRecord r = parse_example(leaf).value();
      r.place->i = r.place->mb = 0;
      std::string text;
      REQUIRE(write_leaf(text, r).ok());
      out.insert(text);
    }
    return out;
  };
  CHECK(unplaced(tiny.log("a")) == unplaced(tiny.log("b")));
}

TEST_CASE("law 2: confined documents are measured, but none is observed by the edges", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, quantiles);
  run(tiny, "corpus", "reference", {});  // any weights will do
  write_policy(tiny, "reference: frozen, " + GENERATE(as<std::string>{}, quantiles, slopes));
  const std::string frozen = "policy.reference=" + tiny.path("reference/ckpt/step-000020");
  // Words in another order: as many tokens, so that the batches stay the same, but another surprisal.
  std::vector<TinyDocument> other = TinyRun::default_documents(1);
  for (TinyDocument& d : other) {
    if (d.license == "GPL-3.0-only") std::reverse(d.text.begin(), d.text.end() - 1);
  }
  tiny.write_corpus("other", other);
  run(tiny, "corpus", "a", {frozen});
  run(tiny, "other", "b", {frozen});
  const auto raw = [&](const std::string& out) {
    std::map<std::string, float> by;
    std::set<std::string> confined;
    for (const ExampleRecord& r : tiny.log(out).examples) {
      if (!r.place) continue;
      if (r.prof == "shallow") confined.insert(r.ex);
      const auto [at, fresh] = by.emplace(r.ex + std::to_string(r.span_begin), *r.ent);
      CHECK(at->second == *r.ent);  // frozen: an example's surprisal never changes
    }
    CHECK(confined.size() > 5);
    return by;
  };
  CHECK(raw("a") != raw("b"));
  CHECK(replay(tiny, "a").problems.empty());
  CHECK(replay(tiny, "b").problems.empty());
  // Only the free ones were observed.
  for (const std::string out : {"a", "b"}) {
    uint64_t may = 0;
    for (const ExampleRecord& r : tiny.log(out).examples) may += r.place && r.prof == "full" ? 1 : 0;
    CHECK(replay(tiny, out).observed == may);
  }
}

TEST_CASE("law 3: documents that the policy excludes are absent, bands and slopes on", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, GENERATE(as<std::string>{}, slopes, "reference: {ema: 0.9}, " + quantiles));
  std::vector<TinyDocument> all = TinyRun::default_documents(3), without;
  for (const TinyDocument& d : all) {
    if (d.cls != "uncertain") without.push_back(d);
  }
  tiny.write_corpus("all", all);
  tiny.write_corpus("without", without);
  run(tiny, "all", "a", {});
  run(tiny, "without", "b", {});
  CHECK(tiny.final_sha256("a", weights) == tiny.final_sha256("b", weights));
  CHECK(trained(tiny.log("a")) == trained(tiny.log("b")));
  CHECK(kind(tiny.log("a"), "bands") == kind(tiny.log("b"), "bands"));
}

TEST_CASE("a batch is in order by what the bands of a reference model leave to each example", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, "reference: {ema: 0.9}, warmup: 12, error: 0.02, window: 30, profiles: [deep, low, full]");
  run(tiny, "corpus", "run", {});
  std::map<int64_t, std::vector<std::ptrdiff_t>> lowest;  // admitted block, by step, in the order of the records
  for (const ExampleRecord& r : tiny.log("run").examples) {
    if (!r.place) continue;
    const auto first = std::find_if(r.w.begin(), r.w.end(), [](float w) { return w != 0; });
    lowest[r.place->step].push_back(first - r.w.begin());
  }
  int mixed = 0;
  for (const auto& [step, blocks] : lowest) {
    INFO("step " << step);
    CHECK(std::is_sorted(blocks.begin(), blocks.end()));
    mixed += blocks.front() != blocks.back() ? 1 : 0;
  }
  CHECK(mixed > 5);
  CHECK(replay(tiny, "run").problems.empty());
}

TEST_CASE("killed and resumed with bands, slopes or an averaged reference: the same bits, and the replay agrees",
          "[slow]") {
  const TinyRun tiny;
  const std::string policy = GENERATE(as<std::string>{}, slopes, "reference: {ema: 0.9}, " + quantiles);
  write_policy(tiny, policy);
  const std::vector<std::string> settings = {"train.steps=60", "save.every=2", "run.resume=auto",
                                             "lineage.flush_records=16"};
  const auto whole = tiny.timed_run("corpus", "straight", settings);
  tiny.run_killed("corpus", "run", settings, 6, whole, [&] {
    CHECK(tiny.final_sha256("run", weights) == tiny.final_sha256("straight", weights));
    CHECK(tiny.final_sha256("run", moments) == tiny.final_sha256("straight", moments));
    const std::string file = "entropy_reference.safetensors", digest = tiny.final_sha256("straight", file);
    if (digest.size() == 64) CHECK(tiny.final_sha256("run", file) == digest);
    CHECK((digest.size() == 64) == (policy.find("ema") != std::string::npos));
    CHECK(trained(tiny.log("run")) == trained(tiny.log("straight")));
    CHECK(kind(tiny.log("run"), "bands") == kind(tiny.log("straight"), "bands"));
    CHECK(replay(tiny, "run").problems.empty());
  });
}

TEST_CASE("a frozen reference must be named, have the same tokenizer, and stay the same") {
  const TinyRun tiny;
  const std::string what = "reference: frozen, " + quantiles;
  run(tiny, "corpus", "reference", {});
  const std::string folder = tiny.path("reference/ckpt/step-000020");
  const auto refused = [&](const std::vector<std::string>& settings, int status, const std::string& text) {
    std::filesystem::remove(tiny.path("bad.log"));
    CHECK(tiny.run("corpus", "bad", settings) == status);
    INFO(tiny.read("bad.log"));
    CHECK(tiny.read("bad.log").find(text) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(tiny.path("bad")));
  };
  refused({"policy.reference=" + folder}, 2, "has no use for it");
  write_policy(tiny, what);
  refused({}, 2, "needs a model, but policy.reference is empty");
  refused({"policy.reference=" + folder, "data.tokenizer.kind=sentencepiece", "data.tokenizer.vocab_size=320"}, 3,
          "with the same tokenizer");
  run(tiny, "corpus", "good", {"policy.reference=" + folder, "save.every=10"});
  CHECK(replay(tiny, "good").problems.empty());
  CHECK(kind(tiny.log("good"), "bands").at(0).find("\"reference\":{\"model\":\"sha256:") != std::string::npos);
}
