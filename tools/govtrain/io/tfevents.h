// TensorBoard event files with scalars: TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) around
// hand-emitted protobuf messages Event and Summary (tensorflow/core/util/event.proto, framework/summary.proto). Only
// what scalars need; no reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"
#include "core/status.h"

namespace govtrain {

uint32_t crc32c(std::string_view bytes);         // Castagnoli, RFC 3720 appendix B.4
uint32_t masked_crc32c(std::string_view bytes);  // rotated and offset, as in LevelDB's and TensorFlow's records
std::string tfrecord(std::string_view data);     // one framed record

class TfEventsWriter {
 public:
  // Starts a new file events.out.tfevents.<seconds>.govtrain in `folder`, which exists. With `first_step` > 0 the file
  // first tells TensorBoard to forget what earlier files of the folder say from that step on (SessionLog.START).
  static Result<TfEventsWriter> create(FileSystem& fs, const std::string& folder, int64_t first_step, double wall_time);
  // Appends one event; not durable. `wall_time` in seconds since 1970. Non-finite values are left out.
  Status add(int64_t step, double wall_time, const std::vector<std::pair<std::string, double>>& scalars);
  const std::string& path() const { return path_; }

 private:
  FileSystem* fs_ = nullptr;
  std::string path_;
};

}  // namespace govtrain
