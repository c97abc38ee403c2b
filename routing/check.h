// Looks for what is allowed in a policy but surely not meant. Findings are warnings: a policy with them still runs.
#pragma once

#include <map>
#include <set>
#include <string>

#include "core/config/diagnostics.h"
#include "routing/resolve.h"

namespace govtrain {

// Every value that some document has, by metadata key; licences as written (expressions are taken apart here).
using CorpusSummary = std::map<std::string, std::set<std::string>>;

// Warns of: profiles that nothing uses, rules that say the same, rules that can never decide a block, windows that are
// over or not yet open on `today`; and, with a summary, of patterns that match no value in the corpus.
void check_policy(const BoundPolicy& bound, const Date& today, const CorpusSummary* corpus, Diagnostics& diagnostics);

}  // namespace govtrain
