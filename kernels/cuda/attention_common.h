// What the attention kernels share, and the layout of a block and its tiles in float32. Four warps; a thread has two
// rows of a tile of 32 x 32 scores (2 ty, 2 ty + 1) and every eighth column from tx on, and of a tile of 32 x width
// results the same rows and four columns out of every 32. Rows of a tile that lie outside the example are 0. Private to
// kernels/cuda.
#pragma once

#include "kernels/cuda/math.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {

struct Attention {
  View q, k, v;
  AttentionShape shape;
  MutView out, lse;
};

// attention_mma.cu
void attention_mma(const Attention& a, Precision precision, Stream stream);

constexpr int kAttentionThreads = 128;
constexpr int kAttentionTile = attention_tile(Precision::fp32);
constexpr int kScorePitch = kAttentionTile + 4;
constexpr int kHigh = 2;    // rows of one thread
constexpr int kScores = 4;  // columns of one thread's scores

template <int width>
constexpr int kHeadPitch = width + 4;  // 16-byte aligned rows; eight rows on eight groups of banks
template <int width>
constexpr int kHeadTile = kAttentionTile* kHeadPitch<width>;

__device__ inline int tile_ty() { return static_cast<int>(threadIdx.x) / 8; }
__device__ inline int tile_tx() { return static_cast<int>(threadIdx.x) % 8; }

// Rows [row, min(row + 32, end)) and columns [col, col + head_dim) of `v` into `to` [32, kHeadPitch], 0 elsewhere.
template <int width>
__device__ inline void stage_head(const View& v, int row, int end, int col, int head_dim, SharedSpan<float> to) {
  for (int i = static_cast<int>(threadIdx.x); i < kAttentionTile * width; i += kAttentionThreads) {
    const int r = i / width;
    const int c = i % width;
    const bool inside = row + r < end && c < head_dim;
    to[r * kHeadPitch<width> + c] = inside ? load(v.data + (row + r) * v.ld + col + c) : 0.0f;
  }
}

// s[i][j] = row 2 ty + i of a times row tx + 8 j of b, one chain in ascending order.
template <int width>
__device__ inline void multiply_scores(SharedSpan<float> a, SharedSpan<float> b, float (&s)[kHigh][kScores]) {
  count_fma(width * kHigh * kScores);
  float4 sum[kHigh];
  for (int i = 0; i < kHigh; ++i) sum[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  for (int k = 0; k < width; k += 4) {
    float4 y[kScores];
    for (int j = 0; j < kScores; ++j) {
      y[j] = load(reinterpret_cast<const float4*>(b.at((tile_tx() + 8 * j) * kHeadPitch<width> + k)));
    }
    const float4 y0 = make_float4(y[0].x, y[1].x, y[2].x, y[3].x);
    const float4 y1 = make_float4(y[0].y, y[1].y, y[2].y, y[3].y);
    const float4 y2 = make_float4(y[0].z, y[1].z, y[2].z, y[3].z);
    const float4 y3 = make_float4(y[0].w, y[1].w, y[2].w, y[3].w);
    for (int i = 0; i < kHigh; ++i) {
      const float4 x = load(reinterpret_cast<const float4*>(a.at((kHigh * tile_ty() + i) * kHeadPitch<width> + k)));
      sum[i] = fused(x.w, y3, fused(x.z, y2, fused(x.y, y1, fused(x.x, y0, sum[i]))));
    }
  }
  for (int i = 0; i < kHigh; ++i) unpack(sum[i], s[i]);
}

// o[i][4 j + c] += sum over `count` columns k of p[2 ty + i][k] * b[k][32 j + 4 tx + c], ascending. p: [32,
// kScorePitch].
template <int width>
__device__ inline void multiply_add(SharedSpan<float> p, SharedSpan<float> b, int count, float (&o)[kHigh][width / 8]) {
  count_fma(count * kHigh * width / 8);
  float4 sum[kHigh][width / 32];
  for (int i = 0; i < kHigh; ++i) {
    for (int j = 0; j < width / 32; ++j) sum[i][j] = pack(o[i] + 4 * j);
  }
  for (int k = 0; k < count; ++k) {
    float w[kHigh];
    for (int i = 0; i < kHigh; ++i) w[i] = p[(kHigh * tile_ty() + i) * kScorePitch + k];
    for (int j = 0; j < width / 32; ++j) {
      const float4 v = load(reinterpret_cast<const float4*>(b.at(k * kHeadPitch<width> + 32 * j + 4 * tile_tx())));
      for (int i = 0; i < kHigh; ++i) sum[i][j] = fused(w[i], v, sum[i][j]);
    }
  }
  for (int i = 0; i < kHigh; ++i) {
    for (int j = 0; j < width / 32; ++j) unpack(sum[i][j], o[i] + 4 * j);
  }
}

// The thread's part of a tile of results, times factor[i], to rows [row, end) and columns from `col` on.
template <int width>
__device__ inline void write_head(const MutView& m, int row, int end, int col, int head_dim,
                                  const float (&o)[kHigh][width / 8], const float (&factor)[kHigh]) {
  for (int i = 0; i < kHigh; ++i) {
    const int r = row + kHigh * tile_ty() + i;
    for (int j = 0; j < width / 8; ++j) {
      const int c = j / 4 * 32 + 4 * tile_tx() + j % 4;
      if (r < end && c < head_dim) store(m.data + r * m.ld + col + c, o[i][j] * factor[i]);
    }
  }
}

// The sum and the largest over the `lanes` threads that have the same rows.
template <int lanes>
__device__ inline float row_sum(float v) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) v += __shfl_xor_sync(kAllLanes, v, bits);
  return v;
}
template <int lanes>
__device__ inline float row_max(float v) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, v, bits);
    v = other > v ? other : v;
  }
  return v;
}

// What a block owns: rows [first, ...) of one head of the example [begin, end).
struct OwnTile {
  int head, begin, end, first;
};
__device__ inline OwnTile tile_at(const AttentionShape& s, unsigned number) {
  const AttentionTile* tile = s.tiles + number;
  return {static_cast<int>(blockIdx.y), load(&tile->begin), load(&tile->end), load(&tile->first)};
}
// Queries: those at the end of an example have the most to do, and so begin first. Keys: those at its begin.
__device__ inline OwnTile tile_of_queries(const AttentionShape& s) { return tile_at(s, gridDim.x - 1 - blockIdx.x); }
__device__ inline OwnTile tile_of_keys(const AttentionShape& s) { return tile_at(s, blockIdx.x); }

// The first column of the keys and values that a head of queries sees.
__device__ inline int kv_column(const AttentionShape& s, int head) {
  return head / (s.heads / s.kv_heads) * s.head_dim;
}

// exp(s) that keeps a NaN, and makes one of an infinity.
__device__ inline float exp_or_nan(float s) { return __fmaf_rn(s, 0.0f, exp_bits(s)); }

// The width that holds head_dim: 32, 64 or 128.
template <class F>
void with_width(int head_dim, const F& body) {
  if (head_dim <= 32) {
    body(std::integral_constant<int, 32>());
  } else if (head_dim <= 64) {
    body(std::integral_constant<int, 64>());
  } else {
    body(std::integral_constant<int, 128>());
  }
}

}  // namespace govtrain::cuda
