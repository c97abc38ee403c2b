// Scratch memory of one job and the loop over jobs. The host allocator keeps freed blocks, so neither asks the system
// for memory in the steady state, and its counters include the scratch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <type_traits>

#include "core/allocator.h"
#include "core/parallel.h"

namespace govtrain::cpu {

// 64-byte aligned, contents undefined.
template <class T>
class Scratch {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Scratch(int64_t n)
      : bytes_(static_cast<size_t>(n) * sizeof(T)), data_(static_cast<T*>(host_allocator().allocate(bytes_))) {}
  ~Scratch() { host_allocator().release(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  size_t bytes_;
  T* data_;
};

// job(i) for i in [0, n), in parallel. Passes the closure by reference, so that it is never copied to the heap.
template <class F>
void for_each(int64_t n, const F& job) {
  parallel_for(n, std::cref(job));
}

// job(begin, end) over [0, n) cut into pieces of `grain`; the cut depends on n and grain alone.
template <class F>
void for_ranges(int64_t n, int64_t grain, const F& job) {
  for_each((n + grain - 1) / grain, [&](int64_t i) { job(i * grain, std::min(n, (i + 1) * grain)); });
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Rows per job so that one job touches about 16 K elements.
inline int64_t row_grain(int64_t cols) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, cols)); }

}  // namespace govtrain::cpu
