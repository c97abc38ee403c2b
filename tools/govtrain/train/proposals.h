// What reviewers decided on the meta-controller's proposals: one small file each in the run folder, written by
// `govtrain proposals`, taken in by the run when it saves its next checkpoint. The proposals themselves are in the log.
// A run that is complete takes nothing in: there a rejection goes into the log at once, and nothing can be approved.
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

// Whether the newest checkpoint of the run is that of its last step. Throws Failure when it cannot be read.
bool run_is_complete(FileSystem& fs, const std::string& run);
// write_verdict(), or, when the run is complete and nobody writes to it, a `review` record in its log, beside the file.
// True when it is in the log now. Throws Failure for an approval when the run is complete, and changes nothing.
bool decide_proposal(FileSystem& fs, const std::string& run, const nlohmann::json& proposal, const Verdict& verdict);
// The `review` record of a verdict that counts from `step` on.
nlohmann::json verdict_record(const nlohmann::json& proposal, const Verdict& verdict, int64_t step);

}  // namespace govtrain
