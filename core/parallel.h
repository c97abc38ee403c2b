// A fixed team of threads. Work is cut by index, results may not depend on which thread ran which index: every caller
// writes disjoint outputs and never splits a floating-point sum.
#pragma once

#include <cstdint>
#include <functional>

namespace govtrain {

// Number of threads used by parallel_for, >= 1. Default: the CPUs this process may run on.
int thread_count();
void set_thread_count(int threads);

// Calls body(i) once for every i in [0, n), on up to thread_count() threads; returns when all are done. Indices are
// handed out in ascending order, one at a time. The first exception is rethrown. Not reentrant: a nested call runs
// serially.
void parallel_for(int64_t n, const std::function<void(int64_t)>& body);

// As above; also tells the worker number in [0, thread_count()), for scratch memory.
void parallel_for_worker(int64_t n, const std::function<void(int64_t i, int worker)>& body);

}  // namespace govtrain
