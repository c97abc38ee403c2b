// ldmatrix and mma.sync with the lane layouts of the PTX manual ("Matrix multiply-accumulate operation using mma
// instruction", "Warp-level matrix load instruction"). Under nvcc kernels/cuda/ptx.h has the same functions as inline
// assembly. Products of bf16 and of tf32 are exact in float32; they are added to the accumulator one by one in
// ascending k, each sum rounded to nearest. A device adds in another order and with other roundings: it agrees within 2
// k 2^-23 sum|ab|, not to the bit.
#pragma once

#include <cstdint>

#include "kernels/simt/block.h"
#include "kernels/simt/number.h"
#include "kernels/simt/observe.h"

namespace govtrain::cuda {

// ldmatrix.sync.aligned.m8n8.x4.shared.b16: lane l gives the address of row l%8 of matrix l/8; out[i] of lane t holds
// elements (t/4, 2*(t%4)) and (t/4, 2*(t%4)+1) of matrix i, the first in the lower half. Each row is 16 aligned bytes.
void ldmatrix_x4(uint32_t (&out)[4], const void* row, const char* file = __builtin_FILE(), int line = __builtin_LINE());
// .trans: element (r, c) of each matrix is handed out as element (c, r).
void ldmatrix_x4_trans(uint32_t (&out)[4], const void* row, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE());

// d = a b + d. mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: a [16,16], b [16,8]; two bf16 in each register.
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       const char* file = __builtin_FILE(), int line = __builtin_LINE());
// d = a b + d. mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32: a [16,8], b [8,8]; bits of a tf32 in each register.
// An operand whose 13 lowest bits are not 0 is a fault: a device would drop them.
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      const char* file = __builtin_FILE(), int line = __builtin_LINE());

// cvt.rn.bf16x2.f32: two numbers rounded to bf16, `low` in the lower half.
inline uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(__float2bfloat16_rn(high).bits) << 16 | __float2bfloat16_rn(low).bits;
}

}  // namespace govtrain::cuda

namespace govtrain::simt {

// c[m,n] += a[m,k] b[k,n], row-major, ascending k.
template <int m, int n, int k>
inline void multiply(const float* a, const float* b, float* c) {
  for (int i = 0; i < m; ++i) {
    for (int l = 0; l < k; ++l) {
      const float x = a[i * k + l];
      for (int j = 0; j < n; ++j) c[i * n + j] = __builtin_fmaf(x, b[l * n + j], c[i * n + j]);
    }
  }
}

void count_mma(int64_t multiply_adds);
void check_tf32(float value);

}  // namespace govtrain::simt
