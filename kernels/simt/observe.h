// How accesses to memory are seen. Kernels reach global memory through load() and store() and shared memory through
// SharedArray and SharedSpan (kernels/cuda/device.h gives the same names under nvcc, where they are plain accesses).
// Each of them, and each instruction that takes an address, reports here while the launch is observed. What is checked
// then: bounds, alignment, reads of unwritten memory, races, copies in flight, order between streams. A raw dereference
// is not seen; it still meets the redzones, the poison and, where it is built in, the address sanitizer.
#pragma once

#include <cstdint>
#include <type_traits>

#ifdef __FMA__
#include <immintrin.h>
#endif

#include "kernels/simt/fault.h"
#include "kernels/simt/types.h"

namespace govtrain::simt {

enum class Access : uint8_t { read, write, atomic };

// True while the running launch is observed. Thread-local, since each host thread runs blocks of its own.
inline constinit thread_local bool observing = false;
// Multiply-adds since the last flush.
inline constinit thread_local int64_t fma_count = 0;

// One access by the running thread. `aligned` is what the address must be a multiple of. Out of line, so that the
// return address tells one instruction of the kernel from another. `matrix`: an access whose lanes the hardware is free
// to arrange; it counts as one instruction without bank conflicts.
__attribute__((noinline)) void observe(const void* p, size_t bytes, size_t aligned, Access access, bool matrix = false);

__attribute__((always_inline)) inline void count_fma(int n) {
  if (observing) fma_count += n;
}
__attribute__((always_inline)) inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
__attribute__((always_inline)) inline float4 fused(float a, float4 b, float4 c) {
#ifdef __FMA__
  const __m128 sum = _mm_fmadd_ps(_mm_set1_ps(a), _mm_load_ps(&b.x), _mm_load_ps(&c.x));
  float4 out;
  _mm_store_ps(&out.x, sum);
  return out;
#else
  return {fused(a, b.x, c.x), fused(a, b.y, c.y), fused(a, b.z, c.z), fused(a, b.w, c.w)};
#endif
}

template <class T>
__attribute__((always_inline)) inline T load(const T* p) {
  if (observing) observe(p, sizeof(T), alignof(T), Access::read);
  return *p;
}

template <class T>
__attribute__((always_inline)) inline void store(T* p, std::type_identity_t<T> value) {
  if (observing) observe(p, sizeof(T), alignof(T), Access::write);
  *p = value;
}

// Element of shared memory: reads as a value, writes on assignment. Only as a temporary.
template <class T>
class SharedRef {
 public:
  explicit SharedRef(T* p) : p_(p) {}
  SharedRef(const SharedRef&) = delete;
  __attribute__((always_inline)) operator T() const&& { return load(p_); }  // NOLINT: reads like T&
  __attribute__((always_inline)) void operator=(T value) && { store(p_, value); }
  __attribute__((always_inline)) void operator=(SharedRef&& o) && { store(p_, load(o.p_)); }
  __attribute__((always_inline)) void operator+=(T value) && { store(p_, static_cast<T>(load(p_) + value)); }

 private:
  T* p_;
};

// A range of shared memory with known bounds.
template <class T>
class SharedSpan {
 public:
  SharedSpan(T* data, int size) : data_(data), size_(size) {}
  __attribute__((always_inline)) SharedRef<T> operator[](int i) const {
    check(i, 1);
    return SharedRef<T>(data_ + i);
  }
  // The address of element i, for instructions that take one. i == size is allowed: one past the end.
  T* at(int i) const {
    check(i, 0);
    return data_ + i;
  }
  SharedSpan sub(int begin, int size) const {
    check(begin, size);
    return {data_ + begin, size};
  }
  int size() const { return size_; }

 private:
  void check(int i, int n) const {
    if (observing && (i < 0 || i + n > size_)) {
      fail(FaultKind::out_of_bounds,
           "shared memory: index " + std::to_string(i) + " of an array of " + std::to_string(size_));
    }
  }
  T* data_;
  int size_;
};

// Makes a block's static memory known, so that its addresses can be checked; returns `p`.
void know_shared(void* p, size_t bytes);

// __shared__ SharedArray<float, 64> tile;
template <class T, int N>
class SharedArray {
 public:
  SharedArray() { know_shared(data_, sizeof(data_)); }
  __attribute__((always_inline)) SharedRef<T> operator[](int i) { return span()[i]; }
  T* at(int i) { return span().at(i); }
  SharedSpan<T> span() { return {data_, N}; }

 private:
  alignas(128) T data_[N];
};

}  // namespace govtrain::simt

template <class T>
inline T __ldg(const T* p) {
  return govtrain::simt::load(p);
}
