// What one launch did, counted while it was observed. Global traffic is counted per warp and instruction in sectors of
// 32 bytes, as the memory system moves it before any cache: lanes that touch the same sector at the same time count
// once.
#pragma once

#include <cstdint>
#include <string>

namespace govtrain::simt {

struct Counts {
  std::string kernel;
  int64_t global_read = 0;      // bytes, whole sectors
  int64_t global_written = 0;   // bytes, whole sectors
  int64_t shared_accesses = 0;  // warp instructions
  int64_t bank_conflicts = 0;   // passes beyond the first; matrix loads of unknown lane layout are left out
  int64_t mma = 0;              // multiply-adds on the tensor cores
  int64_t fma = 0;              // multiply-adds written as __fmaf_rn or fmaf_counted
  int64_t barriers = 0;         // block barriers, once per block

  Counts& operator+=(const Counts& o) {
    global_read += o.global_read;
    global_written += o.global_written;
    shared_accesses += o.shared_accesses;
    bank_conflicts += o.bank_conflicts;
    mma += o.mma;
    fma += o.fma;
    barriers += o.barriers;
    return *this;
  }
};

}  // namespace govtrain::simt
