// Numbers as the tensor cores take them.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cuda/precision.h"

namespace govtrain::test {

// To 11 bits, ties away from zero, or to 8 bits, ties to even. Finite values only.
inline float rounded(float v, cuda::Precision precision) {
  auto bits = std::bit_cast<uint32_t>(v);
  if (precision == cuda::Precision::tf32) bits = (bits + 0x1000u) & ~0x1FFFu;
  if (precision == cuda::Precision::bf16) bits = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & ~0xFFFFu;
  return std::bit_cast<float>(bits);
}

// The largest relative error of rounding an operand.
inline double operand_unit(cuda::Precision precision) {
  if (precision == cuda::Precision::tf32) return 0x1p-11;
  if (precision == cuda::Precision::bf16) return 0x1p-8;
  return 0.0;
}
// The same where a library may cut an operand off instead.
inline double library_unit(cuda::Precision precision) { return 2.0 * operand_unit(precision); }

inline const char* name_of(cuda::Precision precision) {
  if (precision == cuda::Precision::tf32) return "tf32";
  return precision == cuda::Precision::bf16 ? "bf16" : "fp32";
}

}  // namespace govtrain::test
