// Content of a privacy class is confined to the blocks and weights of its profile. Refuses policies that say so and
// then widen that profile while training. Not about rules: their profiles may widen.
#pragma once

#include "core/config/diagnostics.h"
#include "routing/resolve.h"

namespace govtrain {

// Reports every end that gives a block more (in magnitude) than a profile that `privacy` names states for it: content
// of a privacy class is confined to its profile, so nothing may widen that.
void check_confinement(const BoundPolicy& bound, Diagnostics& diagnostics);

}  // namespace govtrain
