// Why a document gets its weights, and what each block owns, as text for people. Not parsed by anything.
#pragma once

#include <string>
#include <vector>

#include "routing/resolve.h"

namespace govtrain {

// Every rule with each of its conditions against each provenance and licence term; then the weight and the deciding
// entry of each block when a run begins, and where adaptation, controller and schedule can lead them. 'excluded' is
// only what the run keeps out throughout.
std::string explain_document(const BoundPolicy& bound, const DocumentFacts& facts, const Date& today);

// The parameters of each block with their slices and element counts, and the totals.
std::string explain_blocks(const BlockMap& map, const std::vector<ParameterInfo>& parameters);

}  // namespace govtrain
