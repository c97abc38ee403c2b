// Writing, reopening and reading whole logs on a real disk.
#include <catch2/catch.hpp>
#include <filesystem>

#include "lineage/async_log.h"
#include "lineage/reader.h"
#include "lineage/record.h"
#include "lineage/verify.h"
#include "lineage/writer.h"
#include "tests/lineage/support.h"

using namespace govtrain;

TEST_CASE("an empty log is signed and can be opened again") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  const NoteSigner signer = test_signer();
  {
    Result<LogWriter> log = LogWriter::create(fs, dir.path("log"), signer, "run-1");
    REQUIRE(log.ok());
    CHECK(log.value().size() == 0);
    CHECK(log.value().root() == empty_root());
    CHECK(LogWriter::create(fs, dir.path("log"), signer, "run-1").status().code() == StatusCode::locked);
  }
  CHECK(LogWriter::create(fs, dir.path("log"), signer, "run-1").status().code() == StatusCode::exists);
  CHECK(LogWriter::open(fs, dir.path("other"), signer).status().code() == StatusCode::not_found);
  Result<LogWriter> log = LogWriter::open(fs, dir.path("log"), signer);
  REQUIRE(log.ok());
  CHECK(log.value().run() == "run-1");
  const Result<LogReader> reader = LogReader::open(fs, dir.path("log"), signer.public_key());
  REQUIRE(reader.ok());
  CHECK(reader.value().size() == 0);
}

TEST_CASE("entries come back in order, whatever the flushes and reopenings") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  const NoteSigner signer = test_signer();
  Model model;
  REQUIRE(LogWriter::create(fs, dir.path("log"), signer, "run-1").ok());
  Random random(20261123);
  INFO("seed 20261123");
  while (model.entries.size() < 1500) {
    Result<LogWriter> log = LogWriter::open(fs, dir.path("log"), signer);
    INFO(log.status().message());
    REQUIRE(log.ok());
    REQUIRE(log.value().size() == model.entries.size());
    REQUIRE(log.value().root() == model.root());
    for (int flushes = 1 + static_cast<int>(random.below(3)); flushes > 0; --flushes) {
      for (uint64_t n = random.below(300); n > 0; --n) {
        const std::string leaf = random.bytes(1 + random.below(60));
        const Result<uint64_t> index = log.value().append(leaf);
        REQUIRE(index.ok());
        REQUIRE(index.value() == model.entries.size());
        model.entries.push_back(leaf);
      }
      REQUIRE(log.value().flush().ok());
      REQUIRE(log.value().root() == model.root());
    }
    Result<LogReader> reader = LogReader::open(fs, dir.path("log"), signer.public_key());
    REQUIRE(reader.ok());
    REQUIRE(reader.value().size() == model.entries.size());
    REQUIRE(read_all(reader.value()) == model.entries);
    REQUIRE(reader.value().covers(log.value().checkpoint_note()).ok());
  }
}

TEST_CASE("the background log writes the same entries in the same order") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  const NoteSigner signer = test_signer();
  Result<LogWriter> writer = LogWriter::create(fs, dir.path("log"), signer, "run-1");
  REQUIRE(writer.ok());
  Model model;
  {
    AsyncLog log(std::move(writer).value(), {1 << 12, 500, 0.01});
    for (int i = 0; i < 5000; ++i) {
      model.entries.push_back("entry " + std::to_string(i));
      const Result<uint64_t> index = log.append(model.entries.back());
      REQUIRE(index.ok());
      REQUIRE(index.value() == static_cast<uint64_t>(i));
      if (i == 2500) {
        REQUIRE(log.flush().ok());
        REQUIRE(log.durable_size() == 2501);
        REQUIRE(log.lag() == 0);
      }
    }
    REQUIRE(log.put_provenance("{}").value() == "44136fa355b3678a");
    REQUIRE(log.flush().ok());
    CHECK(log.lag() == 0);
    model.entries.push_back("written by the destructor");
    REQUIRE(log.append(model.entries.back()).ok());
  }
  Result<LogReader> reader = LogReader::open(fs, dir.path("log"), signer.public_key());
  REQUIRE(reader.ok());
  CHECK(reader.value().checkpoint().root == model.root());
  CHECK(read_all(reader.value()) == model.entries);
  CHECK(std::filesystem::exists(
      dir.path("log/prov/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.json")));
}

TEST_CASE("rewinds hide what they supersede") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  const NoteSigner signer = test_signer();
  Result<LogWriter> log = LogWriter::create(fs, dir.path("log"), signer, "run-1");
  REQUIRE(log.ok());
  const auto rewind = [](uint64_t from) {
    std::string leaf;
    REQUIRE(write_leaf(leaf, ControlRecord{"rewind", {{"from", from}, {"to_step", 0}}}).ok());
    return leaf;
  };
  std::vector<std::string> effective;
  // 0 1 2 3 | rewind(2) at 4 | 5 6 | rewind(6) at 7 | 8 | rewind(1) at 9 | 10
  for (const uint64_t i : {0, 1, 2, 3}) REQUIRE(log.value().append("e" + std::to_string(i)).ok());
  REQUIRE(log.value().append(rewind(2)).ok());
  for (const uint64_t i : {5, 6}) REQUIRE(log.value().append("e" + std::to_string(i)).ok());
  REQUIRE(log.value().append(rewind(6)).ok());
  REQUIRE(log.value().append("e8").ok());
  REQUIRE(log.value().flush().ok());
  using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;
  const auto open = [&] { return LogReader::open(fs, dir.path("log"), signer.public_key()).value(); };
  {
    LogReader reader = open();
    CHECK(reader.superseded().value() == Ranges{{2, 4}, {6, 7}});
    std::vector<uint64_t> seen;
    REQUIRE(reader.visit_effective(0, UINT64_MAX, [&](uint64_t i, std::string_view) { return seen.push_back(i), true; })
                .ok());
    CHECK(seen == std::vector<uint64_t>{0, 1, 4, 5, 7, 8});
    seen.clear();
    REQUIRE(reader.visit_effective(1, 5, [&](uint64_t i, std::string_view) { return seen.push_back(i), i < 4; }).ok());
    CHECK(seen == std::vector<uint64_t>{1, 4});
  }
  REQUIRE(log.value().append(rewind(1)).ok());
  REQUIRE(log.value().append("e10").ok());
  REQUIRE(log.value().flush().ok());
  CHECK(open().superseded().value() == Ranges{{1, 9}});
}

TEST_CASE("files of absurd size are refused before they are read") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  const NoteSigner signer = test_signer();
  {
    Result<LogWriter> log = LogWriter::create(fs, dir.path("log"), signer, "run-1");
    REQUIRE(log.ok());
    for (int i = 0; i < 300; ++i) REQUIRE(log.value().append("x").ok());
    REQUIRE(log.value().flush().ok());
  }
  for (const char* file : {"checkpoint", "log.vkey", ".state/treeState", "tile/0/001.p/44", "tile/entries/001.p/44"}) {
    INFO(file);
    const std::string path = dir.path("log/") + file;
    const std::string before = fs.read(path).value();
    std::filesystem::resize_file(path, uintmax_t{1} << 40);  // sparse
    CHECK_FALSE(verify_log(fs, dir.path("log"), signer.public_key(), {false, 10}).ok());
    if (std::string(file) == "log.vkey") {
      CHECK(read_log_key(fs, dir.path("log")).status().code() == StatusCode::corrupt);
    } else {
      CHECK(LogWriter::open(fs, dir.path("log"), signer).status().code() == StatusCode::corrupt);
    }
    REQUIRE(fs.write(path, before).ok());
  }
  CHECK(LogWriter::open(fs, dir.path("log"), signer).ok());
}

TEST_CASE("a folder that cannot be written gives an error and no log") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  REQUIRE(fs.write(dir.path("file"), "").ok());
  CHECK_FALSE(LogWriter::create(fs, dir.path("file/log"), test_signer(), "run").ok());
  CHECK_FALSE(LogWriter::create(fs, "/proc/log", test_signer(), "run").ok());
  CHECK(LogReader::open(fs, dir.path("none"), test_signer().public_key()).status().code() == StatusCode::not_found);
}
