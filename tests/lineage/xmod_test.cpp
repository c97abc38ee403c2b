// Logs written here are accepted, and tampered ones refused, by an implementation that shares no code with govtrain:
// xmod/verify.go on golang.org/x/mod, from the packages golang-1.19-go and golang-golang-x-mod-dev.
#include "tests/lineage/xmod.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "lineage/verify.h"
#include "lineage/writer.h"
#include "tests/lineage/support.h"

using namespace govtrain;
namespace stdfs = std::filesystem;

namespace {

void flip_bit(const std::string& path, size_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int old = file.get();
  REQUIRE(old >= 0);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(old ^ 1));
}

}  // namespace

TEST_CASE("golang.org/x/mod accepts our logs and refuses tampered ones", "[slow]") {
  const TempDir dir;
  const testing::Xmod xmod(dir.path(""));
  if (!xmod.available()) return;
  const NoteSigner signer = test_signer();
  const std::string vkey = dir.path("auditor.vkey");
  std::ofstream(vkey) << signer.public_key().text() << "\n";
  const auto accepts = [&](const std::string& log) { return xmod.accepts(log, vkey); };
  const auto we_accept = [&](const std::string& log) {
    return verify_log(real_file_system(), log, signer.public_key(), {false, 10}).ok();
  };

  for (const uint64_t size : {0, 1, 255, 256, 257, 3000}) {
    INFO(size << " entries");
    const std::string log = dir.path("log" + std::to_string(size));
    {
      Result<LogWriter> writer = LogWriter::create(real_file_system(), log, signer, "run");
      REQUIRE(writer.ok());
      for (uint64_t i = 0; i < size; ++i) {
        REQUIRE(writer.value().append("{\"i\":" + std::to_string(i) + "}").ok());
        if (i == size / 3) REQUIRE(writer.value().flush().ok());
      }
      REQUIRE(writer.value().flush().ok());
    }
    CHECK(accepts(log));
    CHECK(we_accept(log));
    if (size == 0) continue;
    const std::string partial = size % 256 == 0 ? "" : ".p/" + std::to_string(size % 256);
    const std::string last = (size / 256 == 11 ? "011" : size > 256 ? "001" : "000") + partial;
    const std::vector<std::pair<std::string, size_t>> tampering = {{"tile/entries/" + last, 4},
                                                                   {"tile/0/" + last, 7},
                                                                   {"checkpoint", signer.name().size() + 1},
                                                                   {"checkpoint", 0}};
    for (const auto& [file, at] : tampering) {
      INFO(file);
      const std::string copy = dir.path("tampered");
      stdfs::remove_all(copy);
      stdfs::copy(log, copy, stdfs::copy_options::recursive);
      flip_bit(copy + "/" + file, at);
      CHECK_FALSE(accepts(copy));
      CHECK_FALSE(we_accept(copy));
    }
  }
}
