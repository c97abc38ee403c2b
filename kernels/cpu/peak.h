// The machine's own limit, for benchmarks: a loop of independent fused multiply-adds and nothing else.
#pragma once

#include <cstdint>

namespace govtrain::cpu {

// Runs `rounds` rounds on the calling thread with the instruction set taken; returns the floating-point operations done
// (two per fused multiply-add and lane). Time it next to the kernel that it is compared with.
int64_t run_fma_chains(int64_t rounds);

}  // namespace govtrain::cpu
