// What reviewers decided on the meta-controller's proposals: one small file each in the run folder, written by
// `govtrain proposals`, taken in by the run when it saves its next checkpoint. The proposals themselves are in the log.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/file.h"

namespace govtrain {

struct Verdict {
  bool approved = false;
  std::string reason;
};

// <run>/proposals/<id>.json, on a proposal as its record has it. read_verdict() gives nothing when there is none and
// throws Failure when it is malformed or was given on another proposal of that number.
std::optional<Verdict> read_verdict(FileSystem& fs, const std::string& run, const nlohmann::json& proposal);
// `exists` when there is a verdict already.
Status write_verdict(FileSystem& fs, const std::string& run, const nlohmann::json& proposal, const Verdict& verdict);

}  // namespace govtrain
