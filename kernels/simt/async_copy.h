// cp.async as cuda_pipeline.h names it: copies from global to shared memory in groups. The data arrives at the wait for
// its group and not before: until then the destination holds poison, and touching it is a fault. After the wait the
// data is visible to the thread that waited; the others need a barrier, as on a device. While nothing is observed it
// arrives at once, which a device may do, too.
#pragma once

#include <cstddef>
#include <cstring>

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
  if (!govtrain::simt::observing && (bytes == 4 || bytes == 8 || bytes == 16) && zero_fill <= bytes) {
    std::memcpy(shared, global, bytes - zero_fill);
    if (zero_fill > 0) std::memset(static_cast<char*>(shared) + bytes - zero_fill, 0, zero_fill);
    return;
  }
  if (govtrain::simt::observing) {
    govtrain::simt::observe(shared, bytes, bytes, govtrain::simt::Access::write);
    if (zero_fill < bytes) govtrain::simt::observe(global, bytes - zero_fill, bytes, govtrain::simt::Access::read);
  }
  govtrain::simt::copy_async(shared, global, bytes, zero_fill);
}
inline void __pipeline_commit() {
  if (govtrain::simt::observing) govtrain::simt::commit_copies();
}
inline void __pipeline_wait_prior(size_t left) {
  if (govtrain::simt::observing) govtrain::simt::wait_copies(left);
}
