// Keys of runs that share a name: each log finds its own, however many start at the same time.
#include "tools/govtrain/train/run_key.h"

#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "lineage/reader.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/train/run_log.h"

using namespace govtrain;
using govtrain::testing::TinyRun;

namespace {

RunLogOptions options(const TinyRun& tiny, const std::string& out) {
  return {tiny.path(out + "/lineage"), tiny.path("tiny.key"), "govtrain.local/tiny"};
}

Status begin(const RunLogOptions& options) {
  FileSystem& fs = real_file_system();
  Result<KeyMaker> maker = KeyMaker::at(fs, options.key_path);
  if (!maker.ok()) return maker.status();
  std::string notice;
  Result<std::unique_ptr<RunLog>> log = RunLog::create(fs, options, maker.value(), notice);
  if (!log.ok()) return log.status();
  return log.value()->flush();
}

}  // namespace

TEST_CASE("runs of one name that start at the same time: every log has its own key, and none is lost", "[run_key]") {
  const TinyRun tiny;
  FileSystem& fs = real_file_system();
  std::vector<RunLogOptions> all;
  for (int round = 0; round < 4; ++round) {
    const size_t first = all.size();
    for (int i = 0; i < 6; ++i) all.push_back(options(tiny, "run" + std::to_string(all.size())));
    std::vector<Status> status(all.size());
    std::vector<std::thread> threads;
    for (size_t i = first; i < all.size(); ++i) {
      threads.emplace_back([&, i] { status[i] = begin(all[i]); });
    }
    for (std::thread& t : threads) t.join();
    for (const Status& s : status) {
      INFO(s.message());
      CHECK(s.ok());
    }
  }
  std::set<std::string> keys;
  for (const RunLogOptions& o : all) {
    const Result<NoteKey> log = read_log_key(fs, o.folder);
    const Result<NoteSigner> key = find_log_key(fs, o.key_path, o.folder);
    REQUIRE(log.ok());
    REQUIRE(key.ok());
    CHECK(key.value().public_key().text() == log.value().text());
    CHECK(RunLog::open(fs, o).ok());
    keys.insert(log.value().text());
  }
  CHECK(keys.size() == all.size());
}

TEST_CASE("while a key is being made for one run, another of the same name says so and leaves nothing behind",
          "[run_key]") {
  const TinyRun tiny;
  FileSystem& fs = real_file_system();
  REQUIRE(tiny.program({"data", "prepare", tiny.path("config.yaml"), "run.out=" + tiny.path("run"),
                        "data.inputs=[" + tiny.path("corpus.jsonl") + "]"},
                       "prepare.log") == 0);
  {
    const Result<KeyMaker> other = KeyMaker::at(fs, tiny.path("tiny.key"));
    REQUIRE(other.ok());
    CHECK(tiny.run("corpus", "run", {}) == 1);
    CHECK(tiny.read("run.log").find("tiny.key is being made for another run of this name: ") != std::string::npos);
    CHECK_FALSE(fs.exists(tiny.path("run")));
    CHECK_FALSE(fs.exists(tiny.path("tiny.key")));
  }
  CHECK(tiny.run("corpus", "run", {"train.max_minutes=0.000001"}) == 0);
}

TEST_CASE("a folder that holds a log already gets no second key", "[run_key]") {
  const TinyRun tiny;
  FileSystem& fs = real_file_system();
  const RunLogOptions o = options(tiny, "run");
  REQUIRE(begin(o).ok());
  const Result<NoteSigner> before = find_log_key(fs, o.key_path, o.folder);
  REQUIRE(before.ok());
  CHECK(begin(o).code() == StatusCode::exists);
  const Result<NoteSigner> after = find_log_key(fs, o.key_path, o.folder);
  REQUIRE(after.ok());
  CHECK(after.value().private_text() == before.value().private_text());
  CHECK(RunLog::open(fs, o).ok());
}
