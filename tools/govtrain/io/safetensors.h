// Reading and writing tensors in the safetensors format (github.com/huggingface/safetensors): u64 little-endian header
// length, JSON header, data. Writes F32 only; reads the header of any valid file and the data of F32 tensors. Not for
// sharded checkpoints with an index file.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/status.h"
#include "core/tensor.h"

namespace govtrain {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // "F32", "BF16", ...
  std::vector<int64_t> shape;  // row-major; empty: a scalar
  uint64_t begin = 0;          // byte range in the data, which starts after the header
  uint64_t end = 0;

  int64_t elements() const;
};

// A read-only file, mapped. Everything is checked when it is opened, so that what a hostile file claims is never
// believed: header length (at most 100,000,000 bytes), duplicate names, unknown dtypes, shapes that overflow or do not
// match their byte range, overlaps, holes, and bytes that are missing or left over. Each is `corrupt`.
class Safetensors {
 public:
  static Result<Safetensors> open(const std::string& path);
  // The same over bytes that outlive the object; `name` appears in messages.
  static Result<Safetensors> parse(std::string_view bytes, const std::string& name);

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in order of their data
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const SafetensorsEntry* find(std::string_view name) const;  // nullptr when absent
  // Copies the tensor `name` to `out`; `shape` is what the caller expects. not_found, or invalid when dtype or shape
  // differ. REQUIRES: out.size() is the product of `shape`.
  Status read(std::string_view name, std::span<const int64_t> shape, std::span<float> out) const;

 private:
  std::string name_;
  MappedFile file_;
  std::string_view data_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

struct SafetensorsInput {
  std::string name;
  std::vector<int64_t> shape;
  std::span<const float> data;
  Tensor keep = {};  // what holds `data`, where the caller does not
};

// Writes `tensors` in the given order, durably and atomically (see write_atomic). The bytes depend on the arguments
// alone. `invalid` when a name is given twice, is reserved, or a size does not match its shape.
Status write_safetensors(FileSystem& fs, const std::string& path, const std::vector<SafetensorsInput>& tensors,
                         const std::map<std::string, std::string>& metadata);

}  // namespace govtrain
