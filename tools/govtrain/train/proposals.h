// What reviewers decided on the meta-controller's proposals: one small file each in the run folder, written by
// `govtrain proposals`, taken in by the run when it saves its next checkpoint. The proposals themselves are in the log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/file.h"

namespace govtrain {

struct Verdict {
  bool approved = false;
  std::string reason;
};

// <run>/proposals/<id>.json. read_verdict() gives nothing when there is none and throws Failure when it is malformed.
std::optional<Verdict> read_verdict(FileSystem& fs, const std::string& run, int64_t id);
// `exists` when there is a verdict already.
Status write_verdict(FileSystem& fs, const std::string& run, int64_t id, const Verdict& verdict);

}  // namespace govtrain
