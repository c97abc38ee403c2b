// The safetensors reader and writer: a byte vector made by hand, hostile files, and what a writer must not accept.
// That the Python reference implementation agrees is checked by tests/tools/check_safetensors.py (development only).
#include "tools/govtrain/io/safetensors.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

using namespace govtrain;

namespace {

std::string with_length(uint64_t length, const std::string& rest) {
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(length >> (8 * i) & 0xff);
  return out + rest;
}

std::string file_of(const std::string& header, size_t data_bytes) {
  return with_length(header.size(), header + std::string(data_bytes, '\0'));
}

std::string error_of(const std::string& bytes) {
  const auto parsed = Safetensors::parse(bytes, "x.safetensors");
  if (parsed.ok()) return "";
  CHECK(parsed.status().code() == StatusCode::corrupt);
  return parsed.status().message();
}

std::string temporary_folder() {
  const auto path = std::filesystem::temp_directory_path() / ("govtrain_safetensors_" + std::to_string(::getpid()));
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path.string();
}

}  // namespace

TEST_CASE("the writer's bytes are the ones made by hand", "[safetensors]") {
  const std::string path = temporary_folder() + "/a.safetensors";
  const std::vector<float> w = {1.0f, -2.0f};
  const std::vector<float> s = {0.5f};
  REQUIRE(write_safetensors(real_file_system(), path, {{"w", {2, 1}, w}, {"s", {}, s}}, {{"format", "pt"}}).ok());
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("s":{"dtype":"F32","shape":[],"data_offsets":[8,12]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x00\x00\x00\x3f", 12);
  CHECK(real_file_system().read(path).value() == with_length(padded.size(), padded + data));
  CHECK_FALSE(std::filesystem::exists(path + ".tmp"));

  const auto file = Safetensors::open(path);
  REQUIRE(file.ok());
  CHECK(file.value().metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  REQUIRE(file.value().entries().size() == 2);
  CHECK(file.value().entries()[0].name == "w");
  CHECK(file.value().entries()[0].elements() == 2);
  CHECK(file.value().entries()[1].elements() == 1);
  std::vector<float> out(2);
  const std::vector<int64_t> shape = {2, 1};
  REQUIRE(file.value().read("w", shape, out).ok());
  CHECK(out == w);
}

TEST_CASE("every bit pattern survives", "[safetensors]") {
  const std::string path = temporary_folder() + "/bits.safetensors";
  const std::vector<float> values = {-0.0f, std::numeric_limits<float>::denorm_min(), NAN, -INFINITY};
  REQUIRE(write_safetensors(real_file_system(), path, {{"v", {4}, values}, {"empty", {0, 3}, {}}}, {}).ok());
  const auto file = Safetensors::open(path);
  REQUIRE(file.ok());
  std::vector<float> out(4), none;
  const std::vector<int64_t> shape = {4}, empty = {0, 3};
  REQUIRE(file.value().read("v", shape, out).ok());
  CHECK(std::memcmp(out.data(), values.data(), 16) == 0);
  CHECK(file.value().read("empty", empty, none).ok());
}

TEST_CASE("reading says what it expected", "[safetensors]") {
  const std::string bytes = file_of(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"h":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]}})",
      10);
  const auto file = Safetensors::parse(bytes, "m.safetensors");
  REQUIRE(file.ok());
  std::vector<float> two(2), one(1), three(3);
  const std::vector<int64_t> s1 = {1}, s2 = {2}, s3 = {3};
  CHECK(file.value().read("a", s2, two).ok());
  CHECK(file.value().read("b", s2, two).message() == "m.safetensors: no tensor 'b'");
  CHECK(file.value().read("a", s3, three).message() == "m.safetensors: tensor 'a' has shape [2], expected [3]");
  CHECK(file.value().read("h", s1, one).message() == "m.safetensors: tensor 'h' is stored as BF16, expected F32");
}

TEST_CASE("hostile files are refused with the reason", "[safetensors]") {
  using Catch::Contains;
  const auto one = [](const std::string& entry, size_t data) {
    return error_of(file_of("{\"a\":" + entry + "}", data));
  };
  CHECK_THAT(error_of(""), Contains("0 bytes, expected at least 8"));
  CHECK_THAT(error_of("1234567"), Contains("7 bytes"));
  CHECK_THAT(error_of(with_length(100, "{}")), Contains("claims 100 bytes, the file has 2"));
  CHECK_THAT(error_of(with_length(~uint64_t{0}, "{}")), Contains("expected at most 100000000"));
  CHECK_THAT(error_of(with_length(0, "")), Contains("does not start with '{'"));
  CHECK_THAT(error_of(file_of(" {}", 0)), Contains("does not start with '{'"));
  CHECK_THAT(error_of(file_of("{\"a\":", 0)), Contains("not JSON"));
  CHECK_THAT(error_of(file_of("{}x", 0)), Contains("not JSON"));
  CHECK_THAT(error_of(file_of("{\"\xff\":{}}", 0)), Contains("not JSON"));
  CHECK_THAT(error_of(file_of("{" + std::string(100000, '['), 0)), Contains("not JSON"));
  CHECK_THAT(one(std::string(50000, '[') + std::string(50000, ']'), 0), Contains("expected an object"));
  CHECK_THAT(one("3", 0), Contains("expected an object of dtype, shape and data_offsets"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", 4), Contains("expected an object"));
  CHECK_THAT(one(R"({"dtype":"F99","shape":[1],"data_offsets":[0,4]})", 4), Contains("unknown dtype \"F99\""));
  CHECK_THAT(one(R"({"dtype":32,"shape":[1],"data_offsets":[0,4]})", 4), Contains("unknown dtype 32"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})", 4), Contains("shape is not a list"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4), Contains("not a size"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})", 4), Contains("not a size"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]})", 4), Contains("not a size"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]})", 0),
             Contains("too large"));
  CHECK_THAT(one(R"({"dtype":"U8","shape":[9223372036854775807,2],"data_offsets":[0,0]})", 0), Contains("too large"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4), Contains("needs 4 bytes"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4), Contains("needs 8 bytes"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", 4), Contains("pair of non-negative"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})", 4), Contains("pair of non-negative"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8), Contains("expected 0 (hole)"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 4), Contains("(truncated)"));
  CHECK_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", 5), Contains("(left over)"));
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  CHECK_THAT(error_of(file_of("{\"a\":" + entry + ",\"a\":" + entry + "}", 4)), Contains("'a' stands twice"));
  CHECK_THAT(error_of(file_of("{\"a\":" + entry + ",\"b\":" + entry + "}", 4)), Contains("(overlap)"));
  CHECK_THAT(error_of(file_of(R"({"__metadata__":{"k":1}})", 0)), Contains("'k' is not a string"));
  CHECK_THAT(error_of(file_of(R"({"__metadata__":3})", 0)), Contains("__metadata__ is not an object"));
  CHECK(error_of(file_of("{}", 0)).empty());
  CHECK(error_of(file_of("{\"a\":" + entry + "}   ", 4)).empty());
}

TEST_CASE("no prefix of a file and no changed byte crashes the reader", "[safetensors]") {
  const std::string bytes =
      file_of(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  REQUIRE(error_of(bytes).empty());
  for (size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(error_of(bytes.substr(0, n)).empty());
  for (size_t i = 0; i < bytes.size() - 8; ++i) {
    for (const int bit : {0, 3, 7}) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      (void)error_of(changed);
    }
  }
}

TEST_CASE("the writer refuses what no reader would take", "[safetensors]") {
  const std::string path = temporary_folder() + "/bad.safetensors";
  const std::vector<float> v = {1, 2};
  FileSystem& fs = real_file_system();
  CHECK(write_safetensors(fs, path, {{"a", {2}, v}, {"a", {2}, v}}, {}).code() == StatusCode::invalid);
  CHECK(write_safetensors(fs, path, {{"__metadata__", {2}, v}}, {}).code() == StatusCode::invalid);
  CHECK(write_safetensors(fs, path, {{"a", {3}, v}}, {}).code() == StatusCode::invalid);
  CHECK(write_safetensors(fs, path, {{"a", {-2}, v}}, {}).code() == StatusCode::invalid);
  CHECK(write_safetensors(fs, path, {{"\xff", {2}, v}}, {}).code() == StatusCode::invalid);
  CHECK_FALSE(fs.exists(path));
  CHECK_FALSE(write_safetensors(fs, path + "/no/folder", {{"a", {2}, v}}, {}).ok());
}
