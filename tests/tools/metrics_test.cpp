// metrics.jsonl and the TensorBoard event file. The event file is read back by a parser written from the description of
// the format (TFRecord, protobuf wire format), not from the writer; PyPI tensorboard 2.21 read one once and agreed
// (tests/tools/check_tfevents.py, development only).
#include "tools/govtrain/io/metrics.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace govtrain;

namespace {

std::string fresh_folder(const std::string& name) {
  const auto path =
      std::filesystem::temp_directory_path() / ("govtrain_metrics_" + name + "_" + std::to_string(::getpid()));
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path.string();
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

// CRC-32C bit by bit, from the polynomial 0x1EDC6F41 in reflected order.
uint32_t slow_crc(const std::string& bytes) {
  uint32_t crc = ~0U;
  for (const char c : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const bool out = ((crc ^ (static_cast<uint32_t>(static_cast<unsigned char>(c)) >> bit)) & 1U) != 0;
      crc = (crc >> 1) ^ (out ? 0x82F63B78U : 0U);
    }
  return ~crc;
}

template <class T>
T take(std::string& bytes) {
  REQUIRE(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.erase(0, sizeof(T));
  return value;
}

std::vector<std::string> records(std::string bytes) {
  std::vector<std::string> out;
  while (!bytes.empty()) {
    const uint32_t head = slow_crc(bytes.substr(0, 8));
    const auto length = take<uint64_t>(bytes);
    REQUIRE(take<uint32_t>(bytes) == ((head >> 15) | (head << 17)) + 0xa282ead8U);
    REQUIRE(length <= bytes.size());
    out.push_back(bytes.substr(0, length));
    bytes.erase(0, length);
    const uint32_t crc = slow_crc(out.back());
    REQUIRE(take<uint32_t>(bytes) == ((crc >> 15) | (crc << 17)) + 0xa282ead8U);
  }
  return out;
}

struct Field {
  int number;
  uint64_t integer = 0;  // varint and fixed
  std::string bytes;
};

uint64_t varint(std::string& bytes) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto b = take<unsigned char>(bytes);
    value |= static_cast<uint64_t>(b & 0x7f) << shift;
    if ((b & 0x80) == 0) return value;
  }
}

std::vector<Field> message(std::string bytes) {
  std::vector<Field> out;
  while (!bytes.empty()) {
    const uint64_t key = varint(bytes);
    Field f{static_cast<int>(key >> 3), 0, ""};
    switch (key & 7) {
      case 0:
        f.integer = varint(bytes);
        break;
      case 1:
        f.integer = take<uint64_t>(bytes);
        break;
      case 5:
        f.integer = take<uint32_t>(bytes);
        break;
      case 2: {
        const uint64_t n = varint(bytes);
        REQUIRE(n <= bytes.size());
        f.bytes = bytes.substr(0, n);
        bytes.erase(0, n);
        break;
      }
      default:
        FAIL("wire type");
    }
    out.push_back(f);
  }
  return out;
}

float as_float(uint64_t bits) {
  const auto low = static_cast<uint32_t>(bits);
  float value;
  std::memcpy(&value, &low, 4);
  return value;
}

std::vector<std::string> event_files(const std::string& folder) {
  return real_file_system().list(folder + "/tensorboard").value();
}

}  // namespace

TEST_CASE("CRC-32C of known strings", "[tfevents]") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283U);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aaU);  // RFC 3720, B.4
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43U);
  CHECK(masked_crc32c(std::string(32, '\0')) == ((0x8a9136aaU >> 15) | (0x8a9136aaU << 17)) + 0xa282ead8U);
}

TEST_CASE("an event file reads back", "[tfevents]") {
  const std::string folder = fresh_folder("events");
  auto writer = TfEventsWriter::create(real_file_system(), folder, 0, 1700000000.5);
  REQUIRE(writer.ok());
  CHECK(writer.value().path() == folder + "/events.out.tfevents.1700000000.govtrain");
  REQUIRE(writer.value().add(300, 1700000001.0, {{"loss", 3.5}, {"bad", NAN}, {"eval/loss", -0.25}}).ok());
  const auto all = records(slurp(writer.value().path()));
  REQUIRE(all.size() == 2);
  const auto first = message(all[0]);
  REQUIRE(first.size() == 2);
  CHECK(first[0].number == 1);
  CHECK(first[1].number == 3);
  CHECK(first[1].bytes == "brain.Event:2");
  const auto second = message(all[1]);
  REQUIRE(second.size() == 3);
  double wall = 0;
  std::memcpy(&wall, &second[0].integer, 8);
  CHECK(wall == 1700000001.0);
  CHECK(second[1].number == 2);
  CHECK(second[1].integer == 300);
  CHECK(second[2].number == 5);
  const auto values = message(second[2].bytes);
  REQUIRE(values.size() == 2);  // NaN left out
  const auto loss = message(values[0].bytes), eval = message(values[1].bytes);
  CHECK(loss[0].bytes == "loss");
  CHECK(as_float(loss[1].integer) == 3.5f);
  CHECK(eval[0].bytes == "eval/loss");
  CHECK(as_float(eval[1].integer) == -0.25f);
}

TEST_CASE("a second writer takes a later name and restarts the session", "[tfevents]") {
  const std::string folder = fresh_folder("session");
  REQUIRE(TfEventsWriter::create(real_file_system(), folder, 0, 1700000000).ok());
  auto second = TfEventsWriter::create(real_file_system(), folder, 42, 1700000000);
  REQUIRE(second.ok());
  CHECK(second.value().path() == folder + "/events.out.tfevents.1700000001.govtrain");
  const auto all = records(slurp(second.value().path()));
  REQUIRE(all.size() == 2);
  const auto session = message(all[1]);
  REQUIRE(session.size() == 3);
  CHECK(session[1].integer == 42);
  CHECK(session[2].number == 7);
  CHECK(session[2].bytes == std::string("\x08\x01"));
}

TEST_CASE("metrics lines are sorted JSON without NaN", "[metrics]") {
  const std::string folder = fresh_folder("lines");
  auto m = MetricsWriter::open(real_file_system(), folder, -1, true);
  REQUIRE(m.ok());
  REQUIRE(m.value().log(1, {{"loss", 0.1f}, {"a\"b", 2}, {"z", INFINITY}, {"tiny", 1e-7}}).ok());
  CHECK(slurp(folder + "/metrics.jsonl") ==
        "{\"a\\\"b\":2,\"loss\":0.10000000149011612,\"step\":1,\"tiny\":1e-7,\"z\":null}\n");
  CHECK(event_files(folder).size() == 1);
}

TEST_CASE("resuming removes later and torn lines and keeps the rest byte for byte", "[metrics]") {
  const std::string folder = fresh_folder("resume");
  const std::string path = folder + "/metrics.jsonl";
  const std::string kept = "{\"loss\": 4.0, \"step\":1}\n{\"loss\":3,\"step\":2}\n";
  for (const std::string& tail : {std::string("{\"loss\":2,\"step\":3}\n"), std::string("{\"loss\":2,\"st"),
                                  std::string("garbage\n"), std::string("[1]\n"), std::string("{\"loss\":2}\n")}) {
    std::ofstream(path, std::ios::binary) << kept << tail;
    auto m = MetricsWriter::open(real_file_system(), folder, 2, false);
    REQUIRE(m.ok());
    CHECK(slurp(path) == kept);
    REQUIRE(m.value().log(3, {{"loss", 2.5}}).ok());
    CHECK(slurp(path) == kept + "{\"loss\":2.5,\"step\":3}\n");
  }
  REQUIRE(MetricsWriter::open(real_file_system(), folder, -1, false).ok());
  CHECK(slurp(path).empty());
  CHECK_FALSE(std::filesystem::exists(folder + "/tensorboard"));
}
