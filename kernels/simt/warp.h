// Warp operations on registers: shuffles, votes, reductions, and atomics and arithmetic that CUDA has as functions. As
// in the CUDA programming guide: a shuffle from a lane outside the mask gives an undefined value there; here it is a
// fault.
#pragma once

#include <bit>
#include <cmath>
#include <type_traits>

#include "kernels/simt/block.h"
#include "kernels/simt/observe.h"

namespace govtrain::simt {

template <class T>
struct ShuffleSlot {
  T value;
  int source;  // lane
  T result;
};

// Every lane names the lane from which it takes its value.
template <class T>
T shuffle(uint32_t mask, const char* name, T value, int source, Where where) {
  static_assert(std::is_trivially_copyable_v<T>);
  ShuffleSlot<T> mine{value, source, value};
  warp_operation(mask, name, where, &mine, [](void* const* slots, uint32_t all) {
    for (int l = 0; l < 32; ++l) {
      if (((all >> l) & 1u) == 0) continue;
      auto& s = *static_cast<ShuffleSlot<T>*>(slots[l]);
      if (((all >> s.source) & 1u) == 0) {
        fail(FaultKind::divergent_warp,
             "a shuffle reads lane " + std::to_string(s.source) + ", which its mask leaves out");
      }
      s.result = static_cast<const ShuffleSlot<T>*>(slots[s.source])->value;
    }
  });
  return mine.result;
}

// All lanes get fold(fold(v0, v1), v2) ..., in lane order.
template <class T, class Fold>
T reduce(uint32_t mask, const char* name, T value, Where where) {
  ShuffleSlot<T> mine{value, 0, value};
  warp_operation(mask, name, where, &mine, [](void* const* slots, uint32_t all) {
    const int first = std::countr_zero(all);
    T sum = static_cast<const ShuffleSlot<T>*>(slots[first])->value;
    for (int l = first + 1; l < 32; ++l) {
      if (((all >> l) & 1u) != 0) sum = Fold()(sum, static_cast<const ShuffleSlot<T>*>(slots[l])->value);
    }
    for (int l = 0; l < 32; ++l) {
      if (((all >> l) & 1u) != 0) static_cast<ShuffleSlot<T>*>(slots[l])->result = sum;
    }
  });
  return mine.result;
}

struct Ballot {
  unsigned operator()(unsigned a, unsigned b) const { return a | b; }
};
struct And {
  unsigned operator()(unsigned a, unsigned b) const { return a & b; }
};
struct Plus {
  unsigned operator()(unsigned a, unsigned b) const { return a + b; }
};
struct Least {
  unsigned operator()(unsigned a, unsigned b) const { return a < b ? a : b; }
};
struct Most {
  unsigned operator()(unsigned a, unsigned b) const { return a > b ? a : b; }
};

template <class T, class F>
__attribute__((always_inline)) inline T atomic(T* p, const F& change) {
  if (observing) observe(p, sizeof(T), alignof(T), Access::atomic);
  T old;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  for (;;) {
    T next = change(old);
    if (__atomic_compare_exchange(p, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
  }
}

}  // namespace govtrain::simt

#define GOVTRAIN_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, GOVTRAIN_SITE) {
  govtrain::simt::warp_barrier(mask, GOVTRAIN_HERE);
}

template <class T>
T __shfl_sync(unsigned mask, T v, int lane, int width = 32, GOVTRAIN_SITE) {
  const int base = govtrain::simt::lane_number() & ~(width - 1);
  return govtrain::simt::shuffle(mask, "__shfl_sync", v, base + (lane & (width - 1)), GOVTRAIN_HERE);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, GOVTRAIN_SITE) {
  const int me = govtrain::simt::lane_number();
  const int from = me ^ bits;
  return govtrain::simt::shuffle(mask, "__shfl_xor_sync", v, from / width <= me / width ? from : me, GOVTRAIN_HERE);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, GOVTRAIN_SITE) {
  const int me = govtrain::simt::lane_number();
  const int from = me - static_cast<int>(by);
  return govtrain::simt::shuffle(mask, "__shfl_up_sync", v, from >= (me & ~(width - 1)) ? from : me, GOVTRAIN_HERE);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, GOVTRAIN_SITE) {
  const int me = govtrain::simt::lane_number();
  const int from = me + static_cast<int>(by);
  return govtrain::simt::shuffle(mask, "__shfl_down_sync", v, from <= (me | (width - 1)) ? from : me, GOVTRAIN_HERE);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, GOVTRAIN_SITE) {
  const unsigned bit = predicate != 0 ? 1u << govtrain::simt::lane_number() : 0u;
  return govtrain::simt::reduce<unsigned, govtrain::simt::Ballot>(mask, "__ballot_sync", bit, GOVTRAIN_HERE);
}
inline int __all_sync(unsigned mask, int predicate, GOVTRAIN_SITE) {
  return govtrain::simt::reduce<unsigned, govtrain::simt::And>(mask, "__all_sync", predicate != 0, GOVTRAIN_HERE) != 0;
}
inline int __any_sync(unsigned mask, int predicate, GOVTRAIN_SITE) {
  return govtrain::simt::reduce<unsigned, govtrain::simt::Ballot>(mask, "__any_sync", predicate != 0, GOVTRAIN_HERE) !=
         0;
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned v, GOVTRAIN_SITE) {
  return govtrain::simt::reduce<unsigned, govtrain::simt::Plus>(mask, "__reduce_add_sync", v, GOVTRAIN_HERE);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v, GOVTRAIN_SITE) {
  return govtrain::simt::reduce<unsigned, govtrain::simt::Least>(mask, "__reduce_min_sync", v, GOVTRAIN_HERE);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned v, GOVTRAIN_SITE) {
  return govtrain::simt::reduce<unsigned, govtrain::simt::Most>(mask, "__reduce_max_sync", v, GOVTRAIN_HERE);
}

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return govtrain::simt::atomic(p, [v](T old) { return static_cast<T>(old + v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return govtrain::simt::atomic(p, [v](T old) { return old < v ? v : old; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return govtrain::simt::atomic(p, [v](T old) { return v < old ? v : old; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return govtrain::simt::atomic(p, [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return govtrain::simt::atomic(p, [expected, v](T old) { return old == expected ? v : old; });
}

inline float __fmaf_rn(float a, float b, float c) {
  if (govtrain::simt::observing) ++govtrain::simt::fma_count;
  return std::fma(a, b, c);
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
