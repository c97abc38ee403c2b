// bfloat16 and tf32 as CUDA has them: conversions round to nearest (bfloat16 ties to even, tf32 ties away from zero),
// NaN stays NaN. A bfloat16 is the upper half of a float32; a tf32 is a float32 whose 13 lowest bits are 0. Not here:
// arithmetic in these types.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace govtrain::simt {

// cvt.rna.tf32.f32: to nearest, ties away from zero, the only rounding that sm_80 has for tf32.
inline float to_tf32(float x) {
  if (std::isnan(x)) return std::bit_cast<float>(0x7FFFE000u);
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7F800000u) == 0x7F800000u) return x;
  return std::bit_cast<float>((bits + 0x1000u) & 0xFFFFE000u);
}

inline bool is_tf32(float x) { return (std::bit_cast<uint32_t>(x) & 0x1FFFu) == 0; }

}  // namespace govtrain::simt

struct alignas(2) __nv_bfloat16 {
  uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  if (std::isnan(x)) return {0x7FFF};
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return {static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};
}
inline __nv_bfloat16 __float2bfloat16(float x) { return __float2bfloat16_rn(x); }
inline float __bfloat162float(__nv_bfloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
