// What a policy asks of the configuration that names it: a probe set, validations, norms, a reference model. Known
// before anything is prepared. Deliberately not about blocks, which BoundPolicy::bind() checks, nor about the corpus.
#pragma once

#include <vector>

#include "core/config/diagnostics.h"
#include "routing/policy.h"
#include "tools/govtrain/config/run_config.h"

namespace govtrain {

// Reports what the configuration lacks for the policy's sections, at their places in the policy. Nothing is asked of a
// run without routing.
void check_needs(const Policy& policy, const RunConfig& config, Diagnostics& diagnostics);

// Reports a policy.reference that the policy has no use for, or in which there is no model; `at` is the key's place.
void check_reference(const Policy& policy, const RunConfig& config, const Position& at, Diagnostics& diagnostics);

// Reports an adaptation.replay under a policy whose profiles never change; `at` is the key's place.
void check_replay(const Policy& policy, const RunConfig& config, const Position& at, Diagnostics& diagnostics);

// The exclusion that policy.revocations becomes; no list of the policy may have its name.
inline constexpr const char* revocations_name = "revocations";

// The list that policy.revocations names, empty without one. Reports what is wrong with it, at its lines.
std::vector<Revocation> listed_revocations(const Policy& policy, const RunConfig& config, const Position& at,
                                           Diagnostics& diagnostics);

}  // namespace govtrain
