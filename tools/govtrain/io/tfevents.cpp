#include "tools/govtrain/io/tfevents.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>

namespace govtrain {
namespace {

// Field numbers of the messages.
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;  // Event
constexpr int kValue = 1;                                                                 // Summary
constexpr int kTag = 1, kSimpleValue = 2;                                                 // Summary.Value
constexpr int kStatus = 1, kStart = 1;                                                    // SessionLog
// Wire types.
constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? (c >> 1) ^ 0x82f63b78U : c >> 1;
    table[i] = c;
  }
  return table;
}

template <class T>
void put_fixed(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, int field, int wire) { put_varint(out, static_cast<uint64_t>(field << 3 | wire)); }

void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event(int64_t step, double wall_time) {
  std::string out;
  put_key(out, kWallTime, kFixed64);
  put_fixed(out, std::bit_cast<uint64_t>(wall_time));
  if (step != 0) {
    put_key(out, kStep, kVarint);
    put_varint(out, static_cast<uint64_t>(step));
  }
  return out;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = crc_table();
  uint32_t crc = 0xffffffffU;
  for (const char c : bytes) crc = table[(crc ^ static_cast<uint8_t>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

std::string tfrecord(std::string_view data) {
  std::string out;
  put_fixed(out, static_cast<uint64_t>(data.size()));
  put_fixed(out, masked_crc32c(out));
  out += data;
  put_fixed(out, masked_crc32c(data));
  return out;
}

Result<TfEventsWriter> TfEventsWriter::create(FileSystem& fs, const std::string& folder, int64_t first_step,
                                              double wall_time) {
  TfEventsWriter writer;
  writer.fs_ = &fs;
  // TensorBoard reads the files of a folder in the order of their names: a later file needs a later name.
  auto seconds = static_cast<int64_t>(wall_time);
  do writer.path_ = join_path(folder, fmt::format("events.out.tfevents.{:010d}.govtrain", seconds++));
  while (fs.exists(writer.path_));
  std::string version = event(0, wall_time);
  put_bytes(version, kFileVersion, "brain.Event:2");
  std::string records = tfrecord(version);
  if (first_step > 0) {
    std::string start, session = event(first_step, wall_time);
    put_key(start, kStatus, kVarint);
    put_varint(start, kStart);
    put_bytes(session, kSessionLog, start);
    records += tfrecord(session);
  }
  if (Status s = fs.write(writer.path_, records); !s.ok()) return s;
  return writer;
}

Status TfEventsWriter::add(int64_t step, double wall_time, const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    if (!std::isfinite(number)) continue;
    std::string value;
    put_bytes(value, kTag, tag);
    put_key(value, kSimpleValue, kFixed32);
    put_fixed(value, std::bit_cast<uint32_t>(static_cast<float>(number)));
    put_bytes(summary, kValue, value);
  }
  std::string message = event(step, wall_time);
  put_bytes(message, kSummary, summary);
  return fs_->append(path_, tfrecord(message));
}

}  // namespace govtrain
