// The verifier: a good log passes with the right counts; every kind of change to every kind of file is found; every
// rule of the records is enforced. And proofs as files.
#include "lineage/verify.h"

#include <catch2/catch.hpp>
#include <set>

#include "lineage/encoding.h"
#include "lineage/list_files.h"
#include "lineage/log_format.h"
#include "lineage/proof.h"
#include "lineage/writer.h"
#include "tests/lineage/fault_fs.h"
#include "tests/lineage/records.h"

using namespace govtrain;

namespace {

const VerifyOptions tree_only{false, 100};

std::string all_problems(const VerifyReport& report) {
  std::string out;
  for (const std::string& p : report.problems) out += "problem: " + p + "\n";
  for (const std::string& w : report.warnings) out += "warning: " + w + "\n";
  return out;
}

// A log of the given leaves; provenance object "{}" is stored.
void make_log(FileSystem& fs, const std::vector<std::string>& leaves, uint64_t flush_every = 100) {
  Result<LogWriter> log = LogWriter::create(fs, "log", test_signer(), "run");
  REQUIRE(log.ok());
  REQUIRE(log.value().put_provenance("{}").ok());
  for (const std::string& leaf : leaves) {
    const Result<uint64_t> index = log.value().append(leaf);
    REQUIRE(index.ok());
    if ((index.value() + 1) % flush_every == 0) REQUIRE(log.value().flush().ok());
  }
  REQUIRE(log.value().flush().ok());
}

VerifyReport verify(FileSystem& fs, const VerifyOptions& options = {}) {
  return verify_log(fs, "log", test_signer().public_key(), options);
}

VerifyReport verify_leaves(const std::vector<std::string>& leaves) {
  FaultFs fs;
  make_log(fs, leaves);
  return verify(fs);
}

void expect_problem(const std::vector<std::string>& leaves, const std::string& text) {
  const VerifyReport report = verify_leaves(leaves);
  INFO(all_problems(report));
  REQUIRE(report.problem_count == 1);
  CHECK(report.problems[0].find(text) != std::string::npos);
}

}  // namespace

TEST_CASE("a good log verifies, with its counts") {
  std::vector<std::string> leaves = opening();
  leaves.push_back(excluded_leaf());
  for (int step = 0; step < 150; ++step) {
    for (int i = 0; i < 4; ++i) leaves.push_back(example_leaf(step, i));
  }
  leaves.push_back(control_leaf("end", {{"steps", 150}}));
  const VerifyReport report = verify_leaves(leaves);
  INFO(all_problems(report));
  CHECK(report.ok());
  CHECK(report.warning_count == 0);
  CHECK(report.entries == leaves.size());
  CHECK(report.examples == 601);
  CHECK(report.excluded == 1);
  CHECK(report.provenance == 1);
  CHECK(report.controls == std::map<std::string, uint64_t>{{"run", 1}, {"policy", 1}, {"profile", 1}, {"end", 1}});
  CHECK(report.tiles == 4);  // three of level 0, one of level 1
}

TEST_CASE("the published tree of 70,000 entries") {
  FaultFs fs;
  std::vector<std::string> leaves;
  for (int i = 0; i < 70000; ++i) {
    const std::string n = std::to_string(i);
    leaves.push_back("{\"ex\":\"debian:janeaustenr/1.0.0-1#" + n + "\",\"i\":" + n + ",\"v\":1,\"w\":[1,0.5,0]}");
  }
  const auto note_of = [&] { return fs.read("log/checkpoint").value(); };
  {
    FaultFs small;
    make_log(small, {leaves.begin(), leaves.begin() + 3});
    const std::string note = small.read("log/checkpoint").value();
    CHECK(note.find("\ndmbFZhceKy3wO9IWhG1emOGrZJIj+zsdnjvvXdOMze0=\n") != std::string::npos);
    CHECK(note.ends_with(
        " P/nX1kylur7FWdYOj5wnoTcKlDV3JisNLzyFuRcrCGxlFg407/cTUhtLFK14YlVj4Zs2+PT2T1ABweIOlrg2UXg22ws=\n"));
  }
  make_log(fs, leaves, 7777);
  CHECK(note_of().find("\n70000\nSwrtv85/M96/RpXoUv3ZZ0ZH6R8v7V3jjTpAAMDvJVc=\n") != std::string::npos);
  CHECK(note_of().ends_with(
      " P/nX1mLpHcPoH1qvqr2B2rk4qynGAKzxiJ/lM0OJx+H9iQb8wDaaqWhVRK5/QtRwbmOQU3YogRyOsw2xdCSPULVTqAg=\n"));
  CHECK(fs.read("log/tile/0/272").value().size() == 8192);
  CHECK(fs.read("log/tile/0/273.p/112").value().size() == 112 * 32);
  CHECK(fs.read("log/tile/1/001.p/17").value().size() == 17 * 32);
  CHECK(fs.read("log/tile/2/000.p/1").value().size() == 32);
  const VerifyReport report = verify(fs, tree_only);
  CHECK(report.ok());
  CHECK(report.tiles == 277);

  LogReader log = LogReader::open(fs, "log", test_signer().public_key()).value();
  CHECK(prove_entry(log, 0).value().hashes.size() == 17);
  CHECK(prove_entry(log, 69999).value().hashes.size() == 9);
  CHECK(prove_extension(log, 1).value().size() == 17);
  CHECK(prove_extension(log, 255).value().size() == 18);
  CHECK(prove_extension(log, 256).value().size() == 9);
  CHECK(prove_extension(log, 69999).value().size() == 10);
}

TEST_CASE("every changed byte, every truncation and every missing file is found") {
  FaultFs good;
  std::vector<std::string> leaves = opening();
  for (int step = 0; step < 100; ++step) {
    for (int i = 0; i < 6; ++i) leaves.push_back(example_leaf(step, i));
  }
  make_log(good, leaves, 150);
  REQUIRE(verify(good).ok());
  const std::set<std::string> newest = {"tile/0/002.p/91", "tile/1/000.p/2", "tile/entries/002.p/91"};
  Random random(99);
  int changes = 0;
  const NoteKey key = test_signer().public_key();
  const std::vector<std::string> files = list_files(good, "log").value();
  for (const std::string& path : files) {
    if (path == ".state/lock" || path == ".state/version") continue;
    const std::string bytes = good.read("log/" + path).value();
    for (int n = 0; n < 12; ++n) {
      INFO(path << ", change " << n);
      std::string changed = bytes;
      const size_t at = n == 0 ? 0 : n == 1 ? bytes.size() - 1 : random.below(bytes.size());
      if (n < 8) {
        changed[at] = static_cast<char>(changed[at] ^ (1 << random.below(8)));
      } else if (n < 9) {
        changed.resize(at);
      } else if (n < 10) {
        changed.insert(at, 1, 'x');
      } else {
        changed.erase(at, 1);
      }
      if (changed == bytes) continue;
      // The name of the run is in the private state only.
      if (path == state_file && parse_tree_state(changed).ok() && parse_tree_state(changed).value().size == 603)
        continue;
      ++changes;
      FaultFs fs = good.after_exit();
      REQUIRE(fs.write("log/" + path, changed).ok());
      const VerifyReport report = verify(fs);
      REQUIRE_FALSE(report.ok());
      // The reader refuses the entries as well, unless no entry depends on the file.
      const bool needed = path == "checkpoint" || (path.starts_with("tile/") &&
                                                   (path.find(".p/") == std::string::npos || newest.contains(path)));
      if (!needed) continue;
      Result<LogReader> log = LogReader::open(fs, "log", key);
      const bool read =
          log.ok() && log.value().visit(0, UINT64_MAX, [](uint64_t, std::string_view) { return true; }).ok();
      REQUIRE_FALSE(read);
    }
    FaultFs fs = good.after_exit();
    REQUIRE(fs.remove("log/" + path).ok());
    const VerifyReport report = verify(fs);
    INFO(path << " removed");
    // A convenience copy, the private state and superseded partial files may be absent.
    const bool may_go =
        path == "log.vkey" || path.starts_with(".state/") || (path.find(".p/") != std::string::npos && report.ok());
    CHECK((may_go || !report.ok()));
  }
  CHECK(changes > 150);
}

TEST_CASE("foreign files, rolled back state and left-overs are told apart") {
  FaultFs good;
  make_log(good, opening());
  const auto with = [&](const std::string& path, const std::string& bytes) {
    FaultFs fs = good.after_exit();
    REQUIRE(fs.make_dirs("log/" + parent_path(path)).ok());
    REQUIRE(fs.write("log/" + path, bytes).ok());
    return verify(fs);
  };
  CHECK(with("notes.txt", "x").problems.at(0).find("not part of a log") != std::string::npos);
  CHECK(with("tile/0/x000", "x").problem_count == 1);
  CHECK(with("tile/0/000.tmp", "x").warning_count == 1);
  CHECK(with("tile/0/007", "x").warning_count == 1);
  CHECK(with("tile/0/000.p/2", "x").problems.at(0).find("not the beginning") != std::string::npos);
  CHECK(with("tile/entries/000.p/2", "x").problem_count == 1);
  CHECK(with("prov/" + std::string(64, '0') + ".json", "{}").problem_count == 1);
  CHECK(with(".state/treeState",
             "{\"root\":\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\",\"run\":\"run\",\"size\":0}\n")
            .problems.at(0)
            .find("rolled back") != std::string::npos);
  const std::string more = "{\"root\":\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\",\"run\":\"run\",\"size\":9}\n";
  CHECK(with(".state/treeState", more).problem_count == 1);
  CHECK(with("checkpoint", good.read("log/checkpoint").value() + "x").problem_count == 1);
  const NoteSigner other = test_signer("other.example/log");
  CHECK_FALSE(verify_log(good, "log", other.public_key()).ok());
  CHECK_FALSE(verify_log(good, "nowhere", other.public_key()).ok());
}

TEST_CASE("a writer refuses a log whose files disagree") {
  FaultFs good;
  make_log(good, opening(), 1);
  const NoteSigner signer = test_signer();
  const auto code = [&](const std::string& path, const std::string& bytes) {
    FaultFs fs = good.after_exit();
    REQUIRE(fs.write("log/" + path, bytes).ok());
    return LogWriter::open(fs, "log", signer).status().code();
  };
  FaultFs copy = good.after_exit();
  REQUIRE(LogWriter::open(copy, "log", signer).ok());
  CHECK(code(".state/treeState",
             "{\"root\":\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\",\"run\":\"run\",\"size\":0}\n") ==
        StatusCode::rolled_back);
  CHECK(code(".state/treeState", "{}") == StatusCode::corrupt);
  CHECK(code(".state/version", "govtrain-lineage 2\n") == StatusCode::corrupt);
  CHECK(code("tile/0/000.p/3", std::string(96, 'x')) == StatusCode::corrupt);
  CHECK(code("tile/entries/000.p/3", "x") == StatusCode::corrupt);
  CHECK(code("checkpoint", "x") == StatusCode::corrupt);
  CHECK(code("checkpoint", signer.sign(checkpoint_text({signer.name(), 1, sha256("x"), {}}))) == StatusCode::corrupt);
  FaultFs gone = good.after_exit();
  REQUIRE(gone.remove("log/checkpoint").ok());
  CHECK(LogWriter::open(gone, "log", signer).status().code() == StatusCode::corrupt);
  CHECK(LogWriter::open(copy, "log", test_signer("other.example/log")).status().code() == StatusCode::corrupt);
}

TEST_CASE("every rule of the records is enforced") {
  const auto open_with = [](std::vector<std::string> more) {
    std::vector<std::string> leaves = opening();
    leaves.insert(leaves.end(), more.begin(), more.end());
    return leaves;
  };
  const auto rewind = [](uint64_t from, int to) { return control_leaf("rewind", {{"from", from}, {"to_step", to}}); };
  expect_problem({control_leaf("eval", {{"loss", 1.5}})}, "expected 'run'");
  expect_problem(open_with({"not json"}), "entry 3");
  expect_problem(open_with({"{\"k\":\"ex\",\"v\":1}"}), "missing");
  expect_problem(open_with({example_leaf(0, 0, "other@00000000")}), "no earlier policy record");
  expect_problem(open_with({example_leaf(0, 0, test_policy, 2)}), "rule 2 of policy");
  expect_problem(open_with({example_leaf(0, 0, test_policy, 0, "ffffffffffffffff")}), "provenance object");
  expect_problem(open_with({example_leaf(1, 0), example_leaf(0, 0)}), "does not come after");
  expect_problem(open_with({example_leaf(1, 0), example_leaf(1, 0)}), "does not come after");
  expect_problem(open_with({control_leaf("policy", {{"name", "x"}})}), "without a string");
  expect_problem(open_with({control_leaf("rewind", {{"from", 99}, {"to_step", 0}})}), "a rewind needs");
  // 3: step 0, 4: step 1, 5: step 2.
  const std::vector<std::string> steps = {example_leaf(0, 0), example_leaf(1, 0), example_leaf(2, 0)};
  const auto after = [&](std::vector<std::string> more) {
    more.insert(more.begin(), steps.begin(), steps.end());
    return open_with(more);
  };
  expect_problem(after({rewind(5, 0)}), "step 1 begins at entry 4");
  expect_problem(after({rewind(4, 1)}), "that step ends at entry 4");
  expect_problem(after({rewind(5, 1), example_leaf(1, 1)}), "does not come after");
  // The invariant is checked in the bytes too, not only when they are written.
  std::string forged = example_leaf(0, 0);
  forged.replace(forged.find("\"g\":[0.25,0]"), 12, "\"g\":[0.25,1]");
  expect_problem(open_with({forged}), "block 1 has weight 0");

  const VerifyReport good = verify_leaves(after({rewind(4, 0), example_leaf(1, 0), example_leaf(2, 0)}));
  INFO(all_problems(good));
  CHECK(good.ok());
  CHECK(good.superseded == 2);
  CHECK(good.replayed == 2);
  CHECK(good.warning_count == 0);
  const VerifyReport other =
      verify_leaves(after({rewind(5, 1), example_leaf(2, 0, test_policy, 0, test_provenance, "b")}));
  CHECK(other.ok());
  CHECK(other.replayed == 1);
  CHECK(other.warnings.at(0).find("run again with another") != std::string::npos);
}

TEST_CASE("problems are counted beyond those that are listed") {
  std::vector<std::string> leaves = opening();
  for (int i = 0; i < 300; ++i) leaves.push_back("x" + std::to_string(i));
  FaultFs fs;
  make_log(fs, leaves);
  const VerifyReport report = verify(fs, {true, 10});
  CHECK(report.problem_count == 300);
  CHECK(report.problems.size() == 10);
}

TEST_CASE("proof files convince with the key alone, and only of the truth") {
  const NoteSigner signer = test_signer();
  const NoteKey& key = signer.public_key();
  Random random(5);
  for (const uint64_t size : {1, 2, 3, 255, 256, 257, 700, 1000}) {
    FaultFs fs;
    std::vector<std::string> leaves;
    for (uint64_t i = 0; i < size; ++i) leaves.push_back("leaf " + std::to_string(i));
    make_log(fs, leaves);
    LogReader log = LogReader::open(fs, "log", key).value();
    for (int n = 0; n < 60; ++n) {
      const uint64_t index = random.below(size);
      EntryProof proof = prove_entry(log, index).value();
      if (n % 2 == 0) proof.extra = random.bytes(1 + random.below(20));
      const std::string text = entry_proof_text(proof);
      const EntryProof back = parse_entry_proof(text).value();
      REQUIRE(back == proof);
      REQUIRE(check_entry(back, leaves[index], key).value().size == size);
      REQUIRE_FALSE(check_entry(back, leaves[index] + "x", key).ok());
      EntryProof wrong = proof;
      wrong.index = index + 1;
      REQUIRE_FALSE(check_entry(wrong, leaves[index], key).ok());
      const uint64_t old_size = random.below(size + 1);
      const Proof extension = prove_extension(log, old_size).value();
      REQUIRE(parse_proof(proof_text(extension)).value() == extension);
      Model old_model;
      old_model.entries.assign(leaves.begin(), leaves.begin() + static_cast<ptrdiff_t>(old_size));
      const auto note = [&](const Digest& root) {
        return signer.sign(checkpoint_text({signer.name(), old_size, root, {}}));
      };
      REQUIRE(check_extension(extension, note(old_model.root()), log.checkpoint_note(), key).ok());
      REQUIRE(log.covers(note(old_model.root())).ok());
      if (old_size > 0) {
        REQUIRE_FALSE(check_extension(extension, note(sha256("x")), log.checkpoint_note(), key).ok());
        REQUIRE(log.covers(note(sha256("x"))).status().code() == StatusCode::corrupt);
      }
    }
    CHECK(log.covers(signer.sign(checkpoint_text({signer.name(), size + 1, sha256("x"), {}}))).status().code() ==
          StatusCode::rolled_back);
    CHECK_FALSE(prove_entry(log, size).ok());
    CHECK_FALSE(log.entry(size).ok());
    CHECK(log.entry(size - 1).value() == leaves.back());
  }
}
