// Arithmetic that several kernel files share: exp with the bits of the CPU backend, and sums over a warp or a block in
// a fixed order. Kernel files are compiled without contraction: a product and a sum are two roundings unless
// __fmaf_rn says otherwise. Not here: anything that touches memory but the scratch of a block's sum.
#pragma once

#include "kernels/cuda/device.h"

namespace govtrain::cuda {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// e^x as Highway computes it (contrib/math, at most 1 ulp): the bits of the CPU backend. 0 below -104 and for NaN; the
// caller bounds x above by 88 and puts a NaN back where it may be lost.
__device__ inline float exp_bits(float x) {
  if (!(x >= -104.0f)) return 0.0f;
  const int q = static_cast<int>(__fmaf_rn(x, 1.442695040888963407f, x < 0.0f ? -0.5f : 0.5f));
  const auto qf = static_cast<float>(q);
  float r = __fmaf_rn(qf, -0.693145751953125f, x);
  r = __fmaf_rn(qf, -1.428606765330187045e-6f, r);
  const float r2 = r * r;
  const float high = __fmaf_rn(0.000198527617612853646278381f, r, 0.00139304355252534151077271f);
  const float middle = __fmaf_rn(0.00833336077630519866943359f, r, 0.0416664853692054748535156f);
  const float low = __fmaf_rn(0.166666671633720397949219f, r, 0.5f);
  const float poly = __fmaf_rn(r2 * r2, high, __fmaf_rn(r2, middle, low));
  const float y = __fmaf_rn(poly, r2, r) + 1.0f;
  const int half = q >> 1;
  const float a = __uint_as_float(static_cast<unsigned>(half + 127) << 23);
  const float b = __uint_as_float(static_cast<unsigned>(q - half + 127) << 23);
  return y * a * b;
}

// 1 / (1 + e^-z); the bound keeps e finite.
__device__ inline float sigmoid_bits(float z) { return 1.0f / (1.0f + exp_bits(-z < 88.0f ? -z : 88.0f)); }

// The sum over the lanes of a warp by a tree; every lane gets it.
template <class T>
__device__ inline T warp_sum(T v) {
  for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(kAllLanes, v, bits);
  return v;
}

// Numbers only: a NaN is lost.
__device__ inline float warp_max(float v) {
  for (int bits = 16; bits > 0; bits /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, v, bits);
    v = other > v ? other : v;
  }
  return v;
}

// The sum over a block of `warps` warps: lanes by a tree, then warps in order; every thread gets it. part: [warps] of
// shared memory, free again when it returns.
template <class T>
__device__ inline T sum_over_block(T v, SharedSpan<T> part, int warps) {
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) part[static_cast<int>(threadIdx.x / 32)] = v;
  __syncthreads();
  T sum = part[0];
  for (int w = 1; w < warps; ++w) sum += static_cast<T>(part[w]);
  __syncthreads();
  return sum;
}

__device__ inline float max_over_block(float v, SharedSpan<float> part, int warps) {
  v = warp_max(v);
  if (threadIdx.x % 32 == 0) part[static_cast<int>(threadIdx.x / 32)] = v;
  __syncthreads();
  float top = part[0];
  for (int w = 1; w < warps; ++w) {
    const float other = part[w];
    top = other > top ? other : top;
  }
  __syncthreads();
  return top;
}

}  // namespace govtrain::cuda
