// Whether what a run writes of its blocks fits into the entries of its log, whatever schedule, adaptation, bands and
// controller make of the policy's profiles. Asked before a run starts, and before a newer policy takes effect.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "routing/resolve.h"
#include "tools/govtrain/train/run_log.h"

namespace govtrain {

class Session;

// The first kind of record that can come to need more bytes than an entry has, in words for people; nothing when all
// fit. Counted are the blocks that profile_ends() of the policy open, and the longest numbers. `facts`, `labels`: of
// the documents. Not counted: `proposal` records, whose evidence is larger than any weights.
std::optional<std::string> too_large_record(const BoundPolicy& policy, const Date& date,
                                            const std::vector<DocumentFacts>& facts,
                                            const std::vector<DocumentLabel>& labels);

// Throws Failure when a record of the run can become too large. From here on a newer policy of which that holds is
// refused.
void check_record_size(Session& session);

}  // namespace govtrain
