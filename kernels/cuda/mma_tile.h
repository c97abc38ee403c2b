// Tiles of mma.sync: how a block of four warps brings two operands to shared memory, how a warp gets its fragments out
// of there without bank conflicts, and where each element of its sums stands. In products a block makes 64 x 64
// elements, a warp 32 x 32 of them. Lane layouts are those of the PTX manual (kernels/simt/matrix.h). Private to
// kernels/cuda. Not here: what becomes of the sums (contract_mma.cu, gemm_tensor.cu, attention_mma.h).
#pragma once

#include <type_traits>

#include "core/view.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/precision.h"

namespace govtrain::cuda {

constexpr int kTile = 64;
constexpr int kTileThreads = 128;
constexpr int kWarpTile = 32;

// An operand in shared memory. deep: [depth, breadth], a row is one value of k; else [breadth, depth]. The pitch puts
// the rows that one instruction reads on different banks.
template <Precision precision, bool deep, int depth, int breadth = kTile>
struct Staged {
  static constexpr bool half = precision == Precision::bf16;
  using Element = std::conditional_t<half, __nv_bfloat16, float>;
  static constexpr int rows = deep ? depth : breadth;
  static constexpr int cols = deep ? breadth : depth;
  static constexpr int pitch = cols + (deep || half ? 8 : 4);
  static constexpr int size = rows * pitch;
  static constexpr int k = half ? 16 : 8;  // of one mma
};

// Brings one operand from global to shared memory. begin() asks for it and end() puts it there, so that a step can be
// multiplied in between. tf32 goes by cp.async, for which the caller commits and waits; bf16 is rounded on the way and
// waits in registers.
template <Precision precision, bool deep, int depth, int breadth = kTile>
class Stager {
  using S = Staged<precision, deep, depth, breadth>;
  using Span = SharedSpan<typename S::Element>;
  static constexpr int kEach = S::rows * S::cols / kTileThreads;

 public:
  // Rows [row, row+rows) of `v` and S::cols columns from `col` on; what lies beyond them or outside of `v` becomes 0.
  __device__ __forceinline__ void begin(const View& v, int row, int rows, int col, Span to) {
    const bool wide = v.ld % 4 == 0 && v.cols % 4 == 0 && reinterpret_cast<uintptr_t>(v.data) % 16 == 0;
    if (S::half || wide) {
      GOVTRAIN_UNROLL
      for (int n = 0; n < kEach / 4; ++n) {
        int r, j;
        place(n, r, j);
        const int left = r < rows ? static_cast<int>(v.cols) - col - j : 0;  // columns that are inside
        const float* from = left > 0 ? v.data + (row + r) * v.ld + col + j : v.data;
        if constexpr (S::half) {
          float* held = held_ + 4 * n;
          if (wide) {
            const float4 q = left > 0 ? load(reinterpret_cast<const float4*>(from)) : make_float4(0, 0, 0, 0);
            held[0] = q.x, held[1] = q.y, held[2] = q.z, held[3] = q.w;
          } else {
            for (int e = 0; e < 4; ++e) held[e] = e < left ? load(from + e) : 0.0f;
          }
        } else {
          __pipeline_memcpy_async(to.at(r * S::pitch + j), from, 16, left > 0 ? 0u : 16u);
        }
      }
      return;
    }
    if constexpr (!S::half) {
      for (int n = 0; n < kEach; ++n) {
        const int i = static_cast<int>(threadIdx.x) + n * kTileThreads;
        const int r = i / S::cols;
        const int j = i % S::cols;
        const bool inside = r < rows && col + j < v.cols;
        const float* from = inside ? v.data + (row + r) * v.ld + col + j : v.data;
        __pipeline_memcpy_async(to.at(r * S::pitch + j), from, 4, inside ? 0u : 4u);
      }
    }
  }

  __device__ __forceinline__ void end(Span to) {
    if constexpr (S::half) {
      GOVTRAIN_UNROLL
      for (int n = 0; n < kEach / 4; ++n) {
        int r, j;
        place(n, r, j);
        const float* held = held_ + 4 * n;
        const uint2 four = make_uint2(pack_bf16(held[0], held[1]), pack_bf16(held[2], held[3]));
        store(reinterpret_cast<uint2*>(to.at(r * S::pitch + j)), four);
      }
    }
  }

 private:
  // The n-th four elements of this thread.
  __device__ static __forceinline__ void place(int n, int& r, int& j) {
    constexpr int across = S::cols / 4;
    const int i = static_cast<int>(threadIdx.x) + n * kTileThreads;
    r = i / across;
    j = i % across * 4;
    // Two rows of eight lanes each: rows four apart, on the two halves of the banks.
    if (S::half && across == 8) r = r / 8 * 8 + r % 2 * 4 + r % 8 / 2;
  }

  float held_[S::half ? kEach : 1];
};

__device__ __forceinline__ unsigned tf32_bits(float v) { return __float_as_uint(nvcuda::wmma::__float_to_tf32(v)); }

// The fragment of a, rows [m, m+16) and S::k values of k from `k` on.
template <Precision precision, bool deep, int depth>
__device__ __forceinline__ void fragment_a(SharedSpan<typename Staged<precision, deep, depth>::Element> s, int m, int k,
                                           unsigned (&a)[4]) {
  constexpr int pitch = Staged<precision, deep, depth>::pitch;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if constexpr (precision == Precision::bf16) {
    if constexpr (deep) {
      ldmatrix_x4_trans(a, s.at((k + lane / 16 * 8 + lane % 8) * pitch + m + lane / 8 % 2 * 8));
    } else {
      ldmatrix_x4(a, s.at((m + lane % 16) * pitch + k + lane / 16 * 8));
    }
  } else if constexpr (deep) {
    for (int i = 0; i < 4; ++i) a[i] = tf32_bits(s[(k + lane % 4 + i / 2 * 4) * pitch + m + lane / 4 + i % 2 * 8]);
  } else {  // a row of four tf32 is a row of eight b16
    ldmatrix_x4(a, s.at((m + lane % 16) * pitch + k + lane / 16 * 4));
    for (int i = 0; i < 4; ++i) a[i] = tf32_bits(__uint_as_float(a[i]));
  }
}

// The fragments of b for columns [n, n+8) and [n+8, n+16).
template <Precision precision, bool deep, int depth>
__device__ __forceinline__ void fragments_b(SharedSpan<typename Staged<precision, deep, depth>::Element> s, int n,
                                            int k, unsigned (&low)[2], unsigned (&high)[2]) {
  constexpr int pitch = Staged<precision, deep, depth>::pitch;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  unsigned b[4];
  if constexpr (precision == Precision::bf16) {
    if constexpr (deep) {
      ldmatrix_x4_trans(b, s.at((k + lane % 16) * pitch + n + lane / 16 * 8));
    } else {
      ldmatrix_x4(b, s.at((n + lane / 16 * 8 + lane % 8) * pitch + k + lane / 8 % 2 * 8));
    }
  } else if constexpr (deep) {
    for (int i = 0; i < 4; ++i) b[i] = tf32_bits(s[(k + lane % 4 + i % 2 * 4) * pitch + n + lane / 4 + i / 2 * 8]);
  } else {
    ldmatrix_x4(b, s.at((n + lane / 16 * 8 + lane % 8) * pitch + k + lane / 8 % 2 * 4));
    for (int i = 0; i < 4; ++i) b[i] = tf32_bits(__uint_as_float(b[i]));
  }
  low[0] = b[0], low[1] = b[1], high[0] = b[2], high[1] = b[3];
}

// sums += a b, 16 x 8 elements.
template <Precision precision>
__device__ __forceinline__ void multiply_fragments(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  if constexpr (precision == Precision::bf16) {
    mma_m16n8k16_bf16(sums, a, b);
  } else {
    mma_m16n8k8_tf32(sums, a, b);
  }
}

// A warp's sums: [2] of 16 rows, [4] of 8 columns, [4] as mma.sync has them.
using Sums = float[2][4][4];

// sums += a b over the staged depth, ascending; (row, col): where the warp stands in the block's tile.
template <Precision precision, bool a_deep, bool b_deep, int depth>
__device__ __forceinline__ void multiply(SharedSpan<typename Staged<precision, a_deep, depth>::Element> a,
                                         SharedSpan<typename Staged<precision, b_deep, depth>::Element> b, int row,
                                         int col, Sums& sums) {
  for (int k = 0; k < depth; k += Staged<precision, a_deep, depth>::k) {
    unsigned fa[2][4];
    unsigned fb[4][2];
    for (int i = 0; i < 2; ++i) fragment_a<precision, a_deep, depth>(a, row + 16 * i, k, fa[i]);
    for (int j = 0; j < 4; j += 2) fragments_b<precision, b_deep, depth>(b, col + 8 * j, k, fb[j], fb[j + 1]);
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 4; ++j) multiply_fragments<precision>(sums[i][j], fa[i], fb[j]);
    }
  }
}

// Calls f(row, column, pair) for the sums of this lane, two neighbours at a time; pair[0], pair[1] are the sums at
// (row, column) and (row, column + 1).
template <class F>
__device__ __forceinline__ void for_pairs(Sums& sums, int row, int col, const F& f) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  GOVTRAIN_UNROLL
  for (int i = 0; i < 2; ++i) {
    GOVTRAIN_UNROLL
    for (int h = 0; h < 2; ++h) {
      GOVTRAIN_UNROLL
      for (int j = 0; j < 4; ++j) {
        f(row + 16 * i + 8 * h + lane / 4, col + 8 * j + lane % 4 * 2, &sums[i][j][2 * h]);
      }
    }
  }
}

// Whether two neighbours of `m` can be read as one where the first stands at an even column.
__device__ inline bool paired(const MutView& m) {
  return m.ld % 2 == 0 && reinterpret_cast<uintptr_t>(m.data) % 8 == 0;
}

// Two neighbours of `m` into `to`, 0 outside; and back.
__device__ __forceinline__ void read_pair(const MutView& m, bool pairs, int row, int col, float* to) {
  to[0] = to[1] = 0.0f;
  if (row >= m.rows) return;
  const float* from = m.data + row * m.ld + col;
  if (pairs && col + 1 < m.cols) {
    const float2 q = load(reinterpret_cast<const float2*>(from));
    to[0] = q.x, to[1] = q.y;
  } else {
    if (col < m.cols) to[0] = load(from);
    if (col + 1 < m.cols) to[1] = load(from + 1);
  }
}
__device__ __forceinline__ void write_pair(const MutView& m, bool pairs, int row, int col, const float* v) {
  if (row >= m.rows) return;
  float* to = m.data + row * m.ld + col;
  if (pairs && col + 1 < m.cols) {
    store(reinterpret_cast<float2*>(to), make_float2(v[0], v[1]));
  } else {
    if (col < m.cols) store(to, v[0]);
    if (col + 1 < m.cols) store(to + 1, v[1]);
  }
}

}  // namespace govtrain::cuda
