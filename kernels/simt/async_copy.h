// cp.async as cuda_pipeline.h names it: copies from global to shared memory in groups. The data arrives at the wait for
// its group and not before: until then the destination holds poison, and touching it is a fault. After the wait the
// data is visible to the thread that waited; the others need a barrier, as on a device.
#pragma once

#include <cstddef>

#include "kernels/simt/observe.h"

namespace govtrain::simt {

void copy_async(void* shared, const void* global, size_t bytes, size_t zero_fill);
void commit_copies();
// Waits for all but the last `left` groups of this thread.
void wait_copies(size_t left);
void drop_copies(int threads);

}  // namespace govtrain::simt

// bytes: 4, 8 or 16, both addresses multiples of it; the last zero_fill bytes become 0 and are not read.
__attribute__((always_inline)) inline void __pipeline_memcpy_async(void* shared, const void* global, size_t bytes,
                                                                   size_t zero_fill = 0) {
  if (govtrain::simt::observing) {
    govtrain::simt::observe(shared, bytes, bytes, govtrain::simt::Access::write);
    if (zero_fill < bytes) govtrain::simt::observe(global, bytes - zero_fill, bytes, govtrain::simt::Access::read);
  }
  govtrain::simt::copy_async(shared, global, bytes, zero_fill);
}
inline void __pipeline_commit() { govtrain::simt::commit_copies(); }
inline void __pipeline_wait_prior(size_t left) { govtrain::simt::wait_copies(left); }
