// The run's numbers: metrics.jsonl, one JSON object per line with sorted keys, and beside it a TensorBoard event file.
// Not durable line by line: a crash may cost the last lines, which resuming writes again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"
#include "core/status.h"
#include "tools/govtrain/io/tfevents.h"

namespace govtrain {

// Removes from the JSON lines of a file (which may be absent) those whose "step" is after `last_step`, and a line torn
// by a crash. Atomic.
Status keep_lines_to_step(FileSystem& fs, const std::string& path, int64_t last_step);

class MetricsWriter {
 public:
  // Opens `folder`/metrics.jsonl. Lines of steps after `last_step`, and a line torn by a crash, are removed
  // (atomically): a run that resumes after step n passes n, a new run passes -1. The event file goes to
  // `folder`/tensorboard.
  static Result<MetricsWriter> open(FileSystem& fs, const std::string& folder, int64_t last_step, bool tensorboard);

  // One line {"loss": .., "step": ..} in ascending order of keys. A number that is not finite becomes null.
  // REQUIRES: names are UTF-8, given once, and not "step".
  Status log(int64_t step, const std::vector<std::pair<std::string, double>>& values);

 private:
  FileSystem* fs_ = nullptr;
  std::string path_;
  std::optional<TfEventsWriter> events_;
};

}  // namespace govtrain
