// The threads of one block: one fibre each, taken in an order that a seed shuffles anew at every turn, so that nothing
// may depend on it. A fibre runs until its thread waits at a barrier or for the other lanes of a warp operation. When
// nobody can go on, the block is stuck, and the report says who waits where. Not here: memory (memory.h), the meaning
// of warp operations (warp.h, matrix.h).
#pragma once

#include <cstdint>

#include "kernels/simt/counts.h"
#include "kernels/simt/types.h"

namespace govtrain::simt {

// A launch as its blocks see it.
struct Grid {
  const char* kernel = "";
  const void* function = nullptr;
  dim3 grid, block;
  size_t dynamic_shared = 0;
  bool observed = false;
  uint64_t seed = 0;
  uint32_t operation = 0;  // in the order of the host's calls; memory.h
};

struct Where {
  const char* file;
  int line;
};

// Calls `body(argument)` once per thread of the block `index`. Throws the first Fault; every other thread is unwound.
void run_block(const Grid& grid, uint3 index, void (*body)(void*), void* argument, Counts& counts);

// ---- for the running thread ----

// Number of the thread in its block, of its lane in its warp; only inside a kernel.
int thread_number();
inline int lane_number() { return thread_number() & 31; }
bool in_kernel();
Counts& counts();

enum class Barrier { plain, count, all, any };
// Waits for every thread of the block; returns the sum, the and, or the or of `predicate`.
int block_barrier(Barrier kind, int predicate, Where where);

// A warp operation: waits until every lane of `mask` has come with the same `operation` and mask; then the last one
// calls combine(slots, mask), where slots[lane] is what that lane passed as `mine` (null for lanes outside). Lanes that
// the block does not have are left out of the mask.
void warp_operation(uint32_t mask, const char* operation, Where where, void* mine,
                    void (*combine)(void* const* slots, uint32_t mask));

// __syncwarp: with a full mask it also orders the accesses of the warp's lanes.
void warp_barrier(uint32_t mask, Where where);

// The block's dynamic shared memory.
unsigned char* dynamic_shared();
size_t dynamic_shared_size();

}  // namespace govtrain::simt

#define GOVTRAIN_HERE \
  govtrain::simt::Where { file, line }

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  govtrain::simt::block_barrier(govtrain::simt::Barrier::plain, 0, GOVTRAIN_HERE);
}
inline int __syncthreads_count(int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return govtrain::simt::block_barrier(govtrain::simt::Barrier::count, predicate != 0, GOVTRAIN_HERE);
}
inline int __syncthreads_and(int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return govtrain::simt::block_barrier(govtrain::simt::Barrier::all, predicate != 0, GOVTRAIN_HERE);
}
inline int __syncthreads_or(int predicate, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return govtrain::simt::block_barrier(govtrain::simt::Barrier::any, predicate != 0, GOVTRAIN_HERE);
}
