// Every disk operation of a run fails in turn, and every moment is a power cut. Whatever happens, what is found again
// is the log as of one of its flushes, and no signed checkpoint lacks its tiles.
#include <catch2/catch.hpp>

#include "lineage/async_log.h"
#include "lineage/verify.h"
#include "lineage/writer.h"
#include "tests/lineage/fault_fs.h"

using namespace govtrain;

namespace {

const VerifyOptions tree_only{false, 100};
// Sizes after each flush: within a bundle, to its very end, over several bundles, one more entry.
const std::vector<uint64_t> flush_sizes = {0, 100, 256, 700, 701};

std::string entry(uint64_t i) { return "entry " + std::to_string(i); }

Digest root_at(uint64_t size) {
  static std::map<uint64_t, Digest> known;
  if (const auto it = known.find(size); it != known.end()) return it->second;
  Model model;
  for (uint64_t i = 0; i < size; ++i) model.entries.push_back(entry(i));
  return known[size] = model.root();
}

struct Outcome {
  bool created = false;
  uint64_t confirmed = 0;  // size of the last flush that returned ok
  uint64_t attempted = 0;  // size of the last flush that was begun
  Status status;
};

// Creates or continues the log up to the last of flush_sizes; stops at the first error.
Outcome drive(FaultFs& fs) {
  Outcome out;
  const NoteSigner signer = test_signer();
  Result<LogWriter> log = LogWriter::open(fs, "log", signer);
  if (!log.ok() && log.status().code() == StatusCode::not_found) log = LogWriter::create(fs, "log", signer, "run");
  if (!log.ok()) {
    out.status = log.status();
    return out;
  }
  out.created = true;
  out.confirmed = out.attempted = log.value().size();
  for (const uint64_t size : flush_sizes) {
    if (size <= log.value().size()) continue;
    while (log.value().size() < size) REQUIRE(log.value().append(entry(log.value().size())).ok());
    REQUIRE(log.value().put_provenance("{\"n\":" + std::to_string(size) + "}").ok());
    out.attempted = size;
    out.status = log.value().flush();
    if (!out.status.ok()) {
      // Poisoned: the same error again, and the disk is left alone.
      const uint64_t before = fs.operations;
      CHECK(log.value().flush().message() == out.status.message());
      CHECK(log.value().append("x").status().message() == out.status.message());
      CHECK(fs.operations == before);
      return out;
    }
    out.confirmed = size;
    CHECK(log.value().durable_size() == size);
  }
  return out;
}

// What a new process may find, given what the dead one knew.
void check_recovery(FaultFs fs, const Outcome& before, bool fault_recovery) {
  const NoteSigner signer = test_signer();
  if (fs.exists("log/checkpoint")) {
    const VerifyReport report = verify_log(fs, "log", signer.public_key(), tree_only);
    INFO((report.problems.empty() ? "" : report.problems[0]));
    REQUIRE(report.ok());
    REQUIRE(report.checkpoint.size >= before.confirmed);
  } else {
    REQUIRE_FALSE(before.created);
  }
  if (fault_recovery) {
    for (uint64_t i = 0;; ++i) {
      FaultFs copy = fs.after_exit();
      copy.fail_at = i;
      const Result<LogWriter> log = LogWriter::open(copy, "log", signer);
      if (!copy.faulted) break;
      if (!log.ok()) CHECK(log.status().code() != StatusCode::corrupt);
      Random random(i);
      check_recovery(copy.after_exit(), before, false);
      check_recovery(copy.after_crash(random), before, false);
    }
  }
  {
    const Result<LogWriter> log = LogWriter::open(fs, "log", signer);
    if (log.status().code() == StatusCode::not_found) {
      REQUIRE_FALSE(before.created);
    } else {
      INFO(log.status().message());
      REQUIRE(log.ok());
      REQUIRE((log.value().size() == before.confirmed || log.value().size() == before.attempted));
      REQUIRE(log.value().root() == root_at(log.value().size()));
      const VerifyReport report = verify_log(fs, "log", signer.public_key(), tree_only);
      REQUIRE(report.ok());
      REQUIRE(report.warning_count == 0);
      REQUIRE(report.checkpoint.size == log.value().size());
    }
  }
  const Outcome rest = drive(fs);
  INFO(rest.status.message());
  REQUIRE(rest.status.ok());
  const VerifyReport report = verify_log(fs, "log", signer.public_key(), tree_only);
  REQUIRE(report.ok());
  REQUIRE(report.warning_count == 0);
  REQUIRE(report.checkpoint.root == root_at(flush_sizes.back()));
}

void fault_loop(bool persistent, StatusCode code) {
  Random random(7 + (persistent ? 1 : 0));
  for (uint64_t i = 0;; ++i) {
    INFO("operation " << i << (persistent ? ", persistent" : ", once"));
    FaultFs fs;
    fs.fail_at = i;
    fs.persistent = persistent;
    fs.code = code;
    const Outcome outcome = drive(fs);
    if (!fs.faulted) {
      REQUIRE(outcome.status.ok());
      REQUIRE(i > 100);
      return;
    }
    REQUIRE(outcome.status.code() == code);
    check_recovery(fs.after_exit(), outcome, false);
    for (int crash = 0; crash < 4; ++crash) check_recovery(fs.after_crash(random), outcome, false);
  }
}

}  // namespace

TEST_CASE("every operation fails once with EIO") { fault_loop(false, StatusCode::io); }
TEST_CASE("every operation fails once with ENOSPC", "[slow]") { fault_loop(false, StatusCode::no_space); }
TEST_CASE("every operation fails for good with EIO", "[slow]") { fault_loop(true, StatusCode::io); }
TEST_CASE("every operation fails for good with ENOSPC") { fault_loop(true, StatusCode::no_space); }

TEST_CASE("recovery survives its own faults", "[slow]") {
  for (uint64_t i = 0;; ++i) {
    INFO("operation " << i);
    FaultFs fs;
    fs.fail_at = i;
    fs.persistent = true;
    const Outcome outcome = drive(fs);
    if (!fs.faulted) break;
    Random random(i);
    check_recovery(fs.after_crash(random), outcome, true);
  }
}

TEST_CASE("the fault double loses what was not synced") {
  int lost = 0;
  int kept = 0;
  int torn = 0;
  Random random(3);
  for (int n = 0; n < 200; ++n) {
    FaultFs fs;
    REQUIRE(fs.make_dirs("d").ok());
    REQUIRE(fs.write("d/a", "old").ok());
    REQUIRE(fs.sync_file("d/a").ok());
    REQUIRE(fs.sync_dir("d").ok());
    REQUIRE(fs.write("d/a", "newer").ok());
    const std::string found = fs.after_crash(random).read("d/a").value();
    lost += found == "old" ? 1 : 0;
    kept += found == "newer" ? 1 : 0;
    torn += found != "old" && found != "newer" ? 1 : 0;
  }
  CHECK(lost > 10);
  CHECK(kept > 10);
  CHECK(torn > 10);
}

TEST_CASE("the background log reports the first disk error") {
  FaultFs fs;
  Result<LogWriter> log = LogWriter::create(fs, "log", test_signer(), "run");
  REQUIRE(log.ok());
  fs.fail_at = fs.operations + 3;
  fs.persistent = true;
  fs.code = StatusCode::no_space;
  AsyncLog async(std::move(log).value(), {1 << 20, 1000000, 1000});
  for (uint64_t i = 0; i < 300; ++i) REQUIRE(async.append(entry(i)).ok());
  CHECK(async.flush().code() == StatusCode::no_space);
  CHECK(async.append("x").status().code() == StatusCode::no_space);
  CHECK(async.flush().code() == StatusCode::no_space);
  CHECK(async.durable_size() == 0);
}
