// The accesses of one barrier interval, put together to what the hardware moves: for each warp, the n-th execution of
// one instruction by its lanes is one request. Private to kernels/simt.
#pragma once

#include <cstdint>

#include "kernels/simt/counts.h"
#include "kernels/simt/observe.h"

namespace govtrain::simt {

enum class Space : uint8_t { global, shared };

// One access of the running thread by the instruction at `site`.
void note_traffic(const void* site, const void* p, size_t bytes, Space space, Access access, bool matrix);
// Counts what the threads [0, threads) noted, and forgets it.
void flush_traffic(int threads, Counts& counts);

// async_copy.cpp: a fault when the running thread still has copies in flight.
void check_all_waited();
// Forgets the notes and the copies of the threads [0, threads).
void drop_thread_state(int threads);

}  // namespace govtrain::simt
