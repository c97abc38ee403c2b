// Whole runs whose decisions change while they train: files that are replaced meanwhile, and going on from an older
// checkpoint. The functions fail the running test where a run does not do what they need.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/tiny_run.h"

namespace govtrain::testing {

// Writes a file as an editor should: under another name first.
void put(const std::string& path, const std::string& text);

// The control records of one kind.
std::vector<nlohmann::json> controls(const TinyRun::Log& log, const std::string& kind);

std::vector<std::string> with(std::vector<std::string> settings, const std::vector<std::string>& more);

// Goes on from the checkpoint of `step` after run `out` has come to its end: it must come to the same end, with the
// same model and, but for the rewind, the same log, which must verify.
void check_again(const TinyRun& tiny, const std::string& out, const std::vector<std::string>& settings, int64_t step);

// True when a file of the run holds the text, false when the run was over before that.
using WaitFor = std::function<bool(const std::string& file, const std::string& text)>;

// Trains `steps` steps while the script changes files and waits for what the run says of them. Where the run is over
// before the script has seen it all (then the script gives false), it was too short for this machine: again with more
// steps, after `reset` has put the files back. Returns the settings that were used.
std::vector<std::string> train_beside(const TinyRun& tiny, const std::vector<std::string>& settings, int64_t steps,
                                      const std::function<void()>& reset,
                                      const std::function<bool(const WaitFor& wait_for)>& script);

}  // namespace govtrain::testing
