// What a whole run promises of the gradients that it withholds: keeping them changes nothing, they survive kills, and a
// review applies or destroys a pending update as one logged event, whatever happens in between.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/file.h"
#include "core/hash.h"
#include "lineage/log_format.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/train/review.h"

using namespace govtrain;
using govtrain::testing::TinyRun;

namespace {

const char* const weights = "model.safetensors";
const char* const moments = "optimizer.safetensors";
const char* const withheld = "withheld.safetensors";

std::vector<std::string> in_mode(const std::string& mode, int window, std::vector<std::string> overrides) {
  overrides.push_back("routing.withheld=" + mode);
  if (mode == "shadow") overrides.push_back("routing.shadow.every=" + std::to_string(window));
  return overrides;
}

std::vector<std::string> example_leaves(const TinyRun::Log& log) {
  std::vector<std::string> leaves;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() == "ex") leaves.push_back(leaf);
  }
  return leaves;
}

int review(const TinyRun& tiny, const std::string& verb, const std::string& run,
           const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"review", verb, tiny.path(run)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::filesystem::remove(tiny.path("review.log"));
  return tiny.program(arguments, "review.log");
}

int go_on(const TinyRun& tiny, const std::string& run) {
  return tiny.program({"run", tiny.path(run), "--resume", "auto", "train.max_minutes=0"}, run + ".again.log");
}

// A run of 8 steps that was stopped after its first; each step is a pending update of its own.
const std::vector<std::string> stopped = {"routing.withheld=shadow", "routing.shadow.every=1", "train.steps=8",
                                          "train.max_minutes=0.000001", "run.threads=1"};

void copy_run(const TinyRun& tiny, const std::string& from, const std::string& to) {
  std::filesystem::copy(tiny.path(from), tiny.path(to), std::filesystem::copy_options::recursive);
}

// The disk fails for good from call number `fail_at` on: what a process leaves that ends there.
class Ending final : public FileSystem {
 public:
  explicit Ending(int64_t fail_at) : fail_at_(fail_at) {}
  int64_t calls = 0;
  Result<std::string> read(const std::string& p) override { return real_.read(p); }
  Status write(const std::string& p, std::string_view b) override { return over() ? gone() : real_.write(p, b); }
  Status append(const std::string& p, std::string_view b) override { return over() ? gone() : real_.append(p, b); }
  Status sync_file(const std::string& p) override { return over() ? gone() : real_.sync_file(p); }
  Status sync_dir(const std::string& p) override { return over() ? gone() : real_.sync_dir(p); }
  Status rename(const std::string& a, const std::string& b) override { return over() ? gone() : real_.rename(a, b); }
  Status remove(const std::string& p) override { return over() ? gone() : real_.remove(p); }
  Status remove_all(const std::string& p) override { return over() ? gone() : real_.remove_all(p); }
  Status make_dirs(const std::string& p) override { return over() ? gone() : real_.make_dirs(p); }
  bool exists(const std::string& p) override { return real_.exists(p); }
  Result<std::vector<std::string>> list(const std::string& p) override { return real_.list(p); }
  bool is_dir(const std::string& p) override { return real_.is_dir(p); }
  Result<std::shared_ptr<void>> lock(const std::string& p) override { return real_.lock(p); }

 private:
  bool over() { return ++calls > fail_at_; }
  static Status gone() { return {StatusCode::io, "the process has ended"}; }
  FileSystem& real_ = real_file_system();
  int64_t fail_at_;
};

// Decides on the only pending update; true when it came to its end.
bool decide(FileSystem& fs, const std::string& run, bool approve) {
  try {
    Review r(fs, run, true);
    const PendingUpdate update = r.read("");
    if (approve) {
      const Probe probe(r.session(), "");
      const UpdateEffect effect = r.apply(update, probe, update.lr);
      r.approve(update, effect, probe, {"test", ""});
    } else {
      r.reject(update, {"test", ""});
    }
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

TEST_CASE("the live model, its optimizer and every example's record have the same bits in every withheld mode") {
  const TinyRun tiny;
  for (const std::string mode : {"discard", "quarantine", "shadow"}) {
    INFO(mode);
    REQUIRE(tiny.run("corpus", mode, in_mode(mode, 5, {"optim.clip=0.2"})) == 0);
    CHECK(tiny.final_sha256(mode, weights) == tiny.final_sha256("discard", weights));
    CHECK(tiny.final_sha256(mode, moments) == tiny.final_sha256("discard", moments));
    CHECK(example_leaves(tiny.log(mode)) == example_leaves(tiny.log("discard")));
    CHECK(tiny.program({"lineage", "verify", tiny.path(mode)}, mode + ".verify.log") == 0);
  }
  CHECK(tiny.final_sha256("quarantine", withheld).size() == 64);
  CHECK(tiny.log("shadow").controls.at("review") == 3);  // steps 1-5, 6-10, 11-12
}

TEST_CASE("law 3 in every withheld mode: excluded documents are absent from what is withheld, too", "[slow]") {
  const TinyRun tiny;
  const std::vector<testing::TinyDocument> all = TinyRun::default_documents(3);
  std::vector<testing::TinyDocument> without;
  for (const auto& d : all) {
    if (d.cls != "uncertain") without.push_back(d);
  }
  tiny.write_corpus("all", all);
  tiny.write_corpus("without", without);
  for (const std::string mode : {"quarantine", "shadow"}) {
    const std::vector<std::string> settings = in_mode(mode, 5, {"run.threads=1"});
    REQUIRE(tiny.run("all", mode + "-all", settings) == 0);
    REQUIRE(tiny.run("without", mode + "-without", settings) == 0);
    for (const char* file : {weights, moments, withheld}) {
      CHECK(tiny.final_sha256(mode + "-all", file) == tiny.final_sha256(mode + "-without", file));
    }
  }
  for (const char* name : {"steps-000001-000005", "steps-000011-000012"}) {
    const std::string file = std::string("/pending/") + name + ".safetensors";
    CHECK(tiny.read("shadow-all" + file).size() > 1000);
    CHECK(tiny.read("shadow-all" + file) == tiny.read("shadow-without" + file));
  }
}

TEST_CASE("what is withheld survives a kill and a resume, bit for bit, with any threads and micro-batches", "[slow]") {
  const TinyRun tiny;
  for (const std::string mode : {"quarantine", "shadow"}) {
    INFO(mode);
    const std::vector<std::string> settings = in_mode(mode, 7, {"train.steps=120", "save.every=3", "run.resume=auto"});
    std::vector<std::string> one = settings;
    one.push_back("run.threads=1");
    const auto whole = tiny.timed_run("corpus", mode + "-whole", one);
    tiny.run_killed("corpus", mode, settings, 8, whole, [&] {
      for (const char* file : {weights, moments, withheld}) {
        CHECK(tiny.final_sha256(mode, file) == tiny.final_sha256(mode + "-whole", file));
      }
      CHECK(tiny.program({"lineage", "verify", tiny.path(mode)}, mode + ".verify.log") == 0);
    });
  }
  const auto files = [&](const std::string& run) {
    std::map<std::string, std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(tiny.path(run + "/pending"))) {
      out[entry.path().filename()] = tiny.read(run + "/pending/" + entry.path().filename().string());
    }
    return out;
  };
  CHECK(files("shadow").size() >= 17);  // of 18 windows the last, of one step, may hold nothing
  CHECK(files("shadow") == files("shadow-whole"));
}

TEST_CASE("an approved update is one logged step that the resumed run goes on from; a rejected one is gone") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", stopped) == 0);
  REQUIRE(review(tiny, "list", "run") == 0);
  CHECK(tiny.read("review.log").find("steps-000001-000001") != std::string::npos);
  const std::string before = tiny.final_sha256("run", weights);
  const std::string pending = tiny.path("run/pending/steps-000001-000001.safetensors");
  REQUIRE(review(tiny, "show", "run") == 0);
  INFO(tiny.read("review.log"));
  CHECK(tiny.read("review.log").find("rule copyleft") != std::string::npos);
  CHECK(tiny.final_sha256("run", weights) == before);
  copy_run(tiny, "run", "plain");
  SECTION("approve") {
    CHECK(review(tiny, "approve", "run") == 2);  // no reason
    CHECK(review(tiny, "approve", "run", {"--reason", "useful", "--reviewer", "R"}) == 0);
    CHECK(tiny.final_sha256("run", weights) != before);
    CHECK_FALSE(std::filesystem::exists(pending));
    CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "v.log") == 0);
    CHECK(tiny.log("run").controls.at("review") == 2);
    CHECK(go_on(tiny, "run") == 0);
    CHECK(go_on(tiny, "plain") == 0);
    CHECK(tiny.final_sha256("run", weights) != tiny.final_sha256("plain", weights));
    const TinyRun::Log log = tiny.log("run");
    CHECK(log.controls.at("step") == 8);
    bool reviewed = false;  // the record comes before the checkpoint that shows its effect
    for (const std::string& leaf : log.leaves) {
      const auto record = nlohmann::json::parse(leaf);
      if (record.value("event", "") == "approve") {
        reviewed = true;
        CHECK(record.at("reason") == "useful");
        CHECK(record.at("reviewer") == "R");
        CHECK(record.at("probe").at("measured").get<double>() != 0);
      }
      if (record.at("k") == "step" && record.at("step") == 2) CHECK(reviewed);
    }
  }
  SECTION("reject") {
    CHECK(review(tiny, "reject", "run", {"--reason", "no licence"}) == 0);
    CHECK(tiny.final_sha256("run", weights) == before);
    CHECK_FALSE(std::filesystem::exists(pending));
    CHECK(review(tiny, "approve", "run", {"--reason", "changed my mind"}) == 2);
    CHECK(go_on(tiny, "run") == 0);
    CHECK(go_on(tiny, "plain") == 0);
    CHECK(tiny.final_sha256("run", weights) == tiny.final_sha256("plain", weights));
    CHECK_FALSE(std::filesystem::exists(pending));
  }
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "v.log") == 0);
}

TEST_CASE("an approved update moves the model by exactly one step of its mean, once") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run",
                   in_mode("shadow", 3, {"train.steps=6", "optim.kind=sgd", "optim.clip=0", "optim.weight_decay=0"})) ==
          0);
  const std::string name = "steps-000001-000003", file = "run/pending/" + name + ".safetensors";
  const auto model = [&] {
    const CheckpointStore store(real_file_system(), tiny.path("run/ckpt"));
    return std::move(load_model(real_file_system(), store.path(store.steps().value().back()))).value();
  };
  const auto before = model();
  const PendingUpdate update = read_pending(tiny.path("run"), {name, hex(sha256(tiny.read(file)))});
  CHECK(update.steps == 3);
  REQUIRE(review(tiny, "approve", "run", {name, "--reason", "useful"}) == 0);
  const auto after = model();
  int64_t moved = 0, wrong = 0;
  for (const NamedTensor& t : update.sum) {
    const Parameter &was = *before->parameters().find(t.name), &is = *after->parameters().find(t.name);
    for (int64_t j = 0; j < t.value.size(); ++j) {
      const auto w = static_cast<double>(was.value().data()[j]);
      const double step = update.lr * static_cast<double>(t.value.data()[j]) / 3;
      const double bound = 0x1p-22 * (std::abs(w) + std::abs(step));  // three roundings
      wrong += std::abs(static_cast<double>(is.value().data()[j]) - (w - step)) <= bound ? 0 : 1;
      moved += std::abs(step) > 4 * bound ? 1 : 0;  // a step too many or too few would be noticed
    }
  }
  CHECK(wrong == 0);
  CHECK(moved > 1000);
  const std::string once = tiny.final_sha256("run", weights);
  CHECK(review(tiny, "approve", "run", {name, "--reason", "again"}) == 2);
  CHECK(tiny.read("review.log").find("is no pending update") != std::string::npos);
  CHECK(tiny.final_sha256("run", weights) == once);
  int approved = 0;
  for (const std::string& leaf : tiny.log("run").leaves) {
    approved += nlohmann::json::parse(leaf).value("event", "") == "approve" ? 1 : 0;
  }
  CHECK(approved == 1);
}

TEST_CASE("the effect of an update on the probe is predicted to first order: half the step, a quarter of the error") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", in_mode("shadow", 6, {"train.steps=6", "optim.kind=sgd", "optim.clip=0"})) == 0);
  const auto effect = [&](double lr) {
    Review r(real_file_system(), tiny.path("run"), false);
    const Probe probe(r.session(), "");
    return r.apply(r.read(""), probe, lr);
  };
  const UpdateEffect whole = effect(2), half = effect(1);
  const auto error = [](const UpdateEffect& e) { return std::abs(e.measured() - e.predicted); };
  INFO(whole.predicted << " " << whole.measured() << " " << half.predicted << " " << half.measured());
  CHECK(whole.predicted < 0);  // down the gradient of texts that are like the probe's
  CHECK(half.predicted == Approx(whole.predicted / 2).epsilon(1e-4));
  CHECK(error(half) < 0.35 * error(whole));
  CHECK(error(half) < 0.2 * std::abs(half.predicted));
}

TEST_CASE("norms and cosine of an update are those of what was withheld and what was admitted") {
  const TinyRun tiny;
  std::vector<govtrain::testing::TinyDocument> copyleft;
  for (const auto& d : TinyRun::default_documents(1)) {
    if (d.license == "GPL-3.0-only" && d.cls != "uncertain") copyleft.push_back(d);
  }
  tiny.write_corpus("copyleft", copyleft);
  // All teach layer.0 at weight 0.5, so that as much is withheld there as is admitted; the upper blocks get nothing.
  REQUIRE(tiny.run("copyleft", "run", in_mode("shadow", 3, {"train.steps=3", "optim.clip=0"})) == 0);
  const std::string name = "steps-000001-000003";
  const PendingUpdate u =
      read_pending(tiny.path("run"), {name, hex(sha256(tiny.read("run/pending/" + name + ".safetensors")))});
  Review r(real_file_system(), tiny.path("run"), false);
  const ParameterSet& set = r.session().model->parameters();
  std::vector<double> squares(static_cast<size_t>(set.blocks()), 0.0);
  for (const NamedTensor& t : u.sum) {
    const Parameter& p = *set.find(t.name);
    for (int64_t j = 0; j < t.value.size(); ++j) {  // blocks by layer: a parameter is in one block
      const auto v = static_cast<double>(t.value.data()[j]);
      squares[static_cast<size_t>(p.slices().front().block)] += v * v;
    }
  }
  for (size_t b = 0; b < squares.size(); ++b) CHECK(u.withheld[b] == Approx(std::sqrt(squares[b])).epsilon(1e-12));
  CHECK(u.withheld[0] == 0);
  CHECK(u.admitted[0] > 0);
  CHECK(u.withheld[1] > 0);
  CHECK(u.withheld[1] == u.admitted[1]);
  CHECK(u.cosine(1) == Approx(1).epsilon(1e-12));
  for (const size_t b : {size_t{2}, size_t{3}}) {
    CHECK(u.withheld[b] > 0);
    CHECK(u.admitted[b] == 0);
    CHECK(u.cosine(b) == 0);
  }
}

TEST_CASE("a rejected update leaves nothing in older checkpoints, which can then be read but not resumed from") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run",
                   {"routing.withheld=shadow", "routing.shadow.every=6", "save.every=4", "save.keep_last=9",
                    "run.threads=1"}) == 0);
  REQUIRE(review(tiny, "reject", "run", {"steps-000001-000006", "--reason", "no"}) == 0);
  CHECK_FALSE(std::filesystem::exists(tiny.path("run/ckpt/step-000004/withheld.safetensors")));
  CHECK(std::filesystem::exists(tiny.path("run/ckpt/step-000008/withheld.safetensors")));
  CHECK(tiny.program({"sample", tiny.path("run/ckpt/step-000004"), "--tokens", "2"}, "s.log") == 0);
  CHECK(tiny.program({"run", tiny.path("run"), "--resume", tiny.path("run/ckpt/step-000004")}, "r.log") == 3);
  CHECK(tiny.read("r.log").find("was destroyed with it") != std::string::npos);
}

TEST_CASE("an update that holds gradients of documents that were revoked since is not applied") {
  const TinyRun tiny;
  const std::string list = tiny.path("revoked.txt");
  std::ofstream(list) << "# nothing\n";
  std::vector<std::string> settings = stopped;
  settings.push_back("policy.revocations=" + list);
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  const std::string before = tiny.final_sha256("run", weights);
  REQUIRE(review(tiny, "show", "run") == 0);
  CHECK(tiny.read("review.log").find("are kept out by now") == std::string::npos);
  std::ofstream(list) << "source:doc-*\n";
  CHECK(review(tiny, "show", "run") == 3);  // nothing is left to look at
  CHECK(tiny.read("review.log").find("no document of the probe set (validation split) is left") != std::string::npos);
  const std::string probe = tiny.path("probe.txt");
  std::ofstream(probe) << "the block of a licence\n";
  REQUIRE(review(tiny, "show", "run", {"--probe", probe}) == 0);
  CHECK(tiny.read("review.log").find("are kept out by now: the update can only be rejected") != std::string::npos);
  CHECK(review(tiny, "approve", "run", {"--reason", "useful", "--probe", probe}) == 2);
  CHECK(tiny.read("review.log").find("documents that are kept out by now") != std::string::npos);
  CHECK(tiny.final_sha256("run", weights) == before);
  CHECK(tiny.log("run").controls.at("review") == 1);
  CHECK(review(tiny, "reject", "run", {"--reason", "revoked"}) == 0);
}

TEST_CASE("updates are not decided on while the run is in progress") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", stopped) == 0);
  const auto lock = real_file_system().lock(tiny.path("run/lineage/") + lock_file);
  REQUIRE(lock.ok());
  CHECK(review(tiny, "approve", "run", {"--reason", "now"}) == 1);
  CHECK(tiny.read("review.log").find("is in progress") != std::string::npos);
  CHECK(review(tiny, "list", "run") == 0);
}

TEST_CASE("a killed run is resumed before its updates are decided on: the log's later steps are not dropped",
          "[slow]") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", {"routing.withheld=shadow", "routing.shadow.every=2", "save.every=4"}) == 0);
  std::filesystem::remove_all(tiny.path("run/ckpt/step-000012"));  // as if killed before its last checkpoint
  CHECK(review(tiny, "show", "run", {"steps-000003-000004"}) == 0);
  CHECK(review(tiny, "approve", "run", {"steps-000003-000004", "--reason", "now"}) == 2);
  CHECK(tiny.read("review.log").find("resume it first") != std::string::npos);
  CHECK(go_on(tiny, "run") == 0);
  CHECK(review(tiny, "approve", "run", {"steps-000003-000004", "--reason", "now"}) == 0);
}

TEST_CASE("a review that ends anywhere leaves the former state or the new one, and the run goes on", "[slow]") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", stopped) == 0);
  for (const bool approve : {true, false}) {
    copy_run(tiny, "run", "whole");
    Ending counting(INT64_MAX);
    REQUIRE(decide(counting, tiny.path("whole"), approve));
    const std::string former = tiny.final_sha256("run", weights), next = tiny.final_sha256("whole", weights);
    CHECK((former == next) == !approve);
    REQUIRE(counting.calls > 20);
    int first = 0, second = 0;
    for (int64_t at = 0; at < counting.calls; at += 5) {
      INFO((approve ? "approve" : "reject") << ", ends before call " << at << " of " << counting.calls);
      copy_run(tiny, "run", "cut");
      Ending ending(at);
      decide(ending, tiny.path("cut"), approve);
      // Whoever comes next finds it in order: the same decision again, unless it had been made already.
      const bool again = decide(real_file_system(), tiny.path("cut"), approve);
      (again ? first : second) += 1;
      CHECK(tiny.final_sha256("cut", weights) == next);
      CHECK_FALSE(std::filesystem::exists(tiny.path("cut/pending/steps-000001-000001.safetensors")));
      if (at % 15 == 0) {
        CHECK(go_on(tiny, "cut") == 0);
        INFO(tiny.read("cut.again.log"));
        CHECK(tiny.program({"lineage", "verify", tiny.path("cut")}, "v.log") == 0);
      }
      std::filesystem::remove_all(tiny.path("cut"));
    }
    CHECK(first > 0);
    CHECK(second > 0);
    std::filesystem::remove_all(tiny.path("whole"));
  }
}
