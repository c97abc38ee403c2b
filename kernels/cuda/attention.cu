// Causal attention within each example, forward. A block has 32 query rows of one head and walks over the key tiles up
// to the diagonal with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): largest score, sum and result
// so far stay in registers. float32 throughout; attention_mma.cu is the same on tensor cores.
#include "kernels/cuda/attention_common.h"

namespace govtrain::cuda {
namespace {

template <int width>
constexpr int kForwardShared = (3 * kHeadTile<width> + kAttentionTile * kScorePitch) * static_cast<int>(sizeof(float));

template <int width>
__global__ void __launch_bounds__(kAttentionThreads) attention_kernel(Attention a) {
  expect_dynamic_shared<kForwardShared<width>>();
  constexpr int kTileBytes = kHeadTile<width> * static_cast<int>(sizeof(float));
  const auto q = dynamic_shared<float>(0, kHeadTile<width>);
  const auto k = dynamic_shared<float>(kTileBytes, kHeadTile<width>);
  const auto v = dynamic_shared<float>(2 * kTileBytes, kHeadTile<width>);
  const auto p = dynamic_shared<float>(3 * kTileBytes, kAttentionTile * kScorePitch);
  const auto [head, begin, end, first] = tile_of_queries(a.shape);
  const int hd = a.shape.head_dim;
  const int kv_col = kv_column(a.shape, head);
  stage_head<width>(a.q, first, end, head * hd, hd, q);
  const float none = -__uint_as_float(0x7F800000u);
  float top[kHigh] = {none, none};
  float sum[kHigh] = {};
  float o[kHigh][width / 8] = {};
  for (int key = begin; key <= first; key += kAttentionTile) {
    __syncthreads();
    stage_head<width>(a.k, key, end, kv_col, hd, k);
    stage_head<width>(a.v, key, end, kv_col, hd, v);
    __syncthreads();
    float s[kHigh][kScores];
    multiply_scores<width>(q, k, s);
    for (int i = 0; i < kHigh; ++i) {
      const int query = first + kHigh * tile_ty() + i;
      float high = top[i];
      for (int j = 0; j < kScores; ++j) {
        s[i][j] *= a.shape.scale;
        if (key + tile_tx() + 8 * j <= query && s[i][j] > high) high = s[i][j];
      }
      high = row_max<8>(high);
      const float fade = exp_bits(top[i] - high);
      float mine = 0.0f;
      for (int j = 0; j < kScores; ++j) {
        const bool seen = key + tile_tx() + 8 * j <= query;
        const float e = seen ? exp_or_nan(s[i][j] - high) : 0.0f;
        mine += e;
        p[(kHigh * tile_ty() + i) * kScorePitch + tile_tx() + 8 * j] = e;
      }
      sum[i] = __fmaf_rn(sum[i], fade, row_sum<8>(mine));
      top[i] = high;
      for (int j = 0; j < width / 8; ++j) o[i][j] *= fade;
    }
    __syncwarp();  // a row of p is written and read by one warp
    multiply_add<width>(p, v, end - key < kAttentionTile ? end - key : kAttentionTile, o);
  }
  const float factor[kHigh] = {1.0f / sum[0], 1.0f / sum[1]};
  write_head<width>(a.out, first, end, head * hd, hd, o, factor);
  if (tile_tx() != 0) return;
  for (int i = 0; i < kHigh; ++i) {
    const int row = first + kHigh * tile_ty() + i;
    if (row < end) store(a.lse.data + row * a.lse.ld + head, top[i] + logf(sum[i]));
  }
}

}  // namespace

void attention(View q, View k, View v, const AttentionShape& shape, MutView out, MutView lse, Precision precision,
               Stream stream) {
  if (shape.tile_count == 0) return;
  const Attention a{q, k, v, shape, out, lse};
  if (precision != Precision::fp32) return attention_mma(a, precision, stream);
  const dim3 grid(static_cast<unsigned>(shape.tile_count), static_cast<unsigned>(shape.heads));
  with_width(shape.head_dim, [&](auto width) {
    constexpr int w = decltype(width)::value;
    launch("attention", attention_kernel<w>, grid, kAttentionThreads, kForwardShared<w>, stream, a);
  });
}

}  // namespace govtrain::cuda
