// Vector types and the few helpers that every kernel file shares, once per instruction set.
// Tails: a vector of the same width, read and written through a zero-padded buffer, so that an element's bits never
// depend on where in the row it stands.
#if defined(GOVTRAIN_KERNELS_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef GOVTRAIN_KERNELS_CPU_SIMD_INL_H
#undef GOVTRAIN_KERNELS_CPU_SIMD_INL_H
#else
#define GOVTRAIN_KERNELS_CPU_SIMD_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr D kD;
constexpr int64_t kLanes = HWY_LANES(float);

HWY_INLINE V load_n(const float* p, int64_t n) {
  if (n >= kLanes) return hn::LoadU(kD, p);
  HWY_ALIGN float buffer[kLanes] = {};
  std::memcpy(buffer, p, static_cast<size_t>(n) * sizeof(float));
  return hn::Load(kD, buffer);
}

HWY_INLINE void store_n(V v, float* p, int64_t n) {
  if (n >= kLanes) {
    hn::StoreU(v, kD, p);
    return;
  }
  HWY_ALIGN float buffer[kLanes];
  hn::Store(v, kD, buffer);
  std::memcpy(p, buffer, static_cast<size_t>(n) * sizeof(float));
}

// step(j, n) for vectors that start at j and hold n valid elements (n >= kLanes: a whole one).
template <class F>
HWY_INLINE void for_vectors(int64_t size, const F& step) {
  for (int64_t j = 0; j < size; j += kLanes) step(j, size - j);
}

HWY_INLINE float sum_lanes(V v) { return hn::GetLane(hn::SumOfLanes(kD, v)); }

// Lanes at or beyond n become 0.
HWY_INLINE V keep_n(V v, int64_t n) {
  return n >= kLanes ? v : hn::IfThenElseZero(hn::FirstN(kD, static_cast<size_t>(n)), v);
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
