// What the environment says of the emulated device's launches (Settings in runtime.h).
#pragma once

#include "kernels/simt/runtime.h"

namespace govtrain::simt {

// `observe`: 0 or 1; `seed`: a whole number from 0 to 2^64 - 1; null takes the default. Throws Error for anything else:
// a test that was to run in another order must not run in the usual one unnoticed.
Settings read_settings(const char* observe, const char* seed);

}  // namespace govtrain::simt
