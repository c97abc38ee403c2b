// The oracle of law 3b: a run's schedule with the slots of some documents empty from a step on, by sampler, trainer and
// the starting policy alone. Knows nothing of revocations, expiries, days or the log.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/tools/tiny_run.h"

namespace govtrain::testing {

// Digests of the last checkpoint of such a run by file: model, optimizer, and withheld where it keeps them; and of its
// pending updates. `out` is a finished run of the same configuration; `gone` is asked with a document's first
// provenance. For runs with bands, but not for those with adaptation, a controller or a schedule.
std::map<std::string, std::string> empty_slots(const TinyRun& tiny, const std::string& out, int64_t first,
                                               const std::function<bool(const nlohmann::json& meta)>& gone);

// The same files of the finished run itself.
std::map<std::string, std::string> files_of(const TinyRun& tiny, const std::string& out);

}  // namespace govtrain::testing
