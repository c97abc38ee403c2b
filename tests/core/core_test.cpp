#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/number.h"
#include "core/parallel.h"
#include "core/rows.h"
#include "core/tensor.h"

using namespace govtrain;

TEST_CASE("rows refuse offsets that are not a ragged batch") {
  CHECK(Rows({0, 3, 4}).length(1) == 1);
  CHECK(Rows::of_lengths({2, 5}).total() == 7);
  CHECK_THROWS_AS(Rows({1, 2}), Error);
  CHECK_THROWS_AS(Rows({0, 3, 3}), Error);
  CHECK_THROWS_AS(Rows(std::vector<int32_t>{}), Error);
  CHECK_THROWS_AS(Rows::of_lengths({std::numeric_limits<int32_t>::max(), 1}), Error);
}

TEST_CASE("sha256 gives the published value of 'abc' and reads back its hex form") {
  const Digest d = sha256("abc");
  CHECK(hex(d) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest_from_hex(hex(d)) == d);
  CHECK(Sha256().update("a").update("bc").finish() == d);
  CHECK_THROWS_AS(digest_from_hex("BA78"), Error);
}

TEST_CASE("numbers are written in their shortest form") {
  const auto text = [](auto v) {
    std::string s;
    append_number(s, v);
    return s;
  };
  CHECK(text(0.1f) == "0.1");
  CHECK(text(1e-7) == "1e-7");
  CHECK(text(1e30) == "1e30");
  CHECK(text(1.0f) == "1");
  CHECK(text(0.912087059f) == "0.9120871");
}

TEST_CASE("tensors give their memory back and share it when copied") {
  Allocator& memory = host_allocator();
  const size_t before = memory.live_bytes();
  {
    const Tensor a = Tensor::zeros(3, 5);
    const Tensor b = a;
    a.view().at(2, 4) = 7;
    CHECK(b.view().at(2, 4) == 7);
    const Tensor c = a.clone();
    a.view().at(2, 4) = 8;
    CHECK(c.view().at(2, 4) == 7);
    CHECK(memory.live_bytes() > before);
    CHECK_THROWS_AS(Tensor(-1, 2), Error);
  }
  CHECK(memory.live_bytes() == before);
}

TEST_CASE("parallel_for visits every index once, for any number of threads, and passes exceptions on") {
  for (const int threads : {1, 2, 5}) {
    set_thread_count(threads);
    std::vector<int> seen(1000, 0);
    for (int repeat = 0; repeat < 50; ++repeat) parallel_for(1000, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
    CHECK(seen == std::vector<int>(1000, 50));
    CHECK_THROWS_AS(parallel_for(10,
                                 [](int64_t i) {
                                   if (i == 7) throw Error("x", "seven");
                                 }),
                    Error);
  }
  set_thread_count(2);
}

TEST_CASE("files: write_atomic replaces, read reports what is missing, locks exclude") {
  const std::string dir = std::filesystem::temp_directory_path() / ("govtrain_core_" + std::to_string(::getpid()));
  FileSystem& fs = real_file_system();
  REQUIRE(fs.make_dirs(dir + "/a/b").ok());
  const std::string path = dir + "/a/b/file";
  REQUIRE(write_atomic(fs, path, "one").ok());
  REQUIRE(write_atomic(fs, path, "two").ok());
  CHECK(fs.read(path).value() == "two");
  CHECK(MappedFile::open(path).value().bytes() == "two");
  CHECK(fs.list(dir + "/a/b").value() == std::vector<std::string>{"file"});
  CHECK(fs.read(dir + "/none").status().code() == StatusCode::not_found);
  CHECK(fs.read(dir).status().code() == StatusCode::invalid);
  const auto lock = FileLock::acquire(dir + "/lock");
  REQUIRE(lock.ok());
  const auto second = FileLock::acquire(dir + "/lock");
  CHECK(second.status().code() == StatusCode::locked);
  CHECK(second.status().message().find(std::to_string(::getpid())) != std::string::npos);
  REQUIRE(fs.remove_all(dir).ok());
}
