// The gradients of causal attention. One kernel owns query tiles and writes dq; another owns key tiles of a key-value
// head, walks over its heads and their query tiles in order, and writes dk and dv: every result has one writer. float32
// throughout; attention_mma_backward.cu is the same on tensor cores.
#include "kernels/cuda/attention_gradient.h"
#include "kernels/cuda/map.h"

namespace govtrain::cuda {
namespace {

// delta = dout times out, a warp for each row and head.
__global__ void __launch_bounds__(kAttentionThreads) attention_delta_kernel(AttentionGradient a, float* delta) {
  const int64_t number = int64_t{blockIdx.x} * (kAttentionThreads / 32) + threadIdx.x / 32;
  if (number >= a.out.rows * a.shape.heads) return;
  const int64_t row = number / a.shape.heads;
  const int64_t col = number % a.shape.heads * a.shape.head_dim;
  const int lane = static_cast<int>(threadIdx.x % 32);
  float sum = 0.0f;
  for (int64_t c = col + lane; c < col + a.shape.head_dim; c += 32) {
    sum = __fmaf_rn(element(a.dout, row, c), element(a.out, row, c), sum);
  }
  sum = warp_sum(sum);
  if (lane == 0) store(delta + number, sum);
}

template <int width>
constexpr int kTileBytes = kHeadTile<width>* static_cast<int>(sizeof(float));
constexpr int kScoreTile = kAttentionTile * kScorePitch;
constexpr int kScoreBytes = kScoreTile * static_cast<int>(sizeof(float));
template <int width>
constexpr int kQueryShared = 4 * kTileBytes<width> + kScoreBytes;
template <int width>
constexpr int kKeyShared = 4 * kTileBytes<width> + 2 * kScoreBytes;

template <int width>
__global__ void __launch_bounds__(kAttentionThreads) attention_dq_kernel(AttentionGradient a) {
  expect_dynamic_shared<kQueryShared<width>>();
  const auto q = dynamic_shared<float>(0, kHeadTile<width>);
  const auto dout = dynamic_shared<float>(kTileBytes<width>, kHeadTile<width>);
  const auto k = dynamic_shared<float>(2 * kTileBytes<width>, kHeadTile<width>);
  const auto v = dynamic_shared<float>(3 * kTileBytes<width>, kHeadTile<width>);
  const auto grad = dynamic_shared<float>(4 * kTileBytes<width>, kScoreTile);
  const auto [head, begin, end, first] = tile_of_queries(a.shape);
  const int hd = a.shape.head_dim;
  const int kv_col = kv_column(a.shape, head);
  stage_head<width>(a.q, first, end, head * hd, hd, q);
  stage_head<width>(a.dout, first, end, head * hd, hd, dout);
  float o[kHigh][width / 8] = {};
  for (int key = begin; key <= first; key += kAttentionTile) {
    __syncthreads();
    stage_head<width>(a.k, key, end, kv_col, hd, k);
    stage_head<width>(a.v, key, end, kv_col, hd, v);
    __syncthreads();
    float s[kHigh][kScores];
    float dp[kHigh][kScores];
    multiply_scores<width>(q, k, s);
    multiply_scores<width>(dout, v, dp);
    for (int i = 0; i < kHigh; ++i) {
      const int query = first + kHigh * tile_ty() + i;
      const QueryRow row = query_row(a, query, end, head);
      for (int j = 0; j < kScores; ++j) {
        const int at = key + tile_tx() + 8 * j;
        const ScoreGradient g = score_gradient(a, row, query < end && at <= query, s[i][j], dp[i][j]);
        grad[(kHigh * tile_ty() + i) * kScorePitch + tile_tx() + 8 * j] = g.ds;
      }
    }
    __syncwarp();  // a row of grad is written and read by one warp
    multiply_add<width>(grad, k, end - key < kAttentionTile ? end - key : kAttentionTile, o);
  }
  const float one[kHigh] = {1.0f, 1.0f};
  write_head<width>(a.dq, first, end, head * hd, hd, o, one);
}

template <int width>
__global__ void __launch_bounds__(kAttentionThreads) attention_dkv_kernel(AttentionGradient a) {
  expect_dynamic_shared<kKeyShared<width>>();
  const auto k = dynamic_shared<float>(0, kHeadTile<width>);
  const auto v = dynamic_shared<float>(kTileBytes<width>, kHeadTile<width>);
  const auto q = dynamic_shared<float>(2 * kTileBytes<width>, kHeadTile<width>);
  const auto dout = dynamic_shared<float>(3 * kTileBytes<width>, kHeadTile<width>);
  const auto p = dynamic_shared<float>(4 * kTileBytes<width>, kScoreTile);
  const auto grad = dynamic_shared<float>(4 * kTileBytes<width> + kScoreBytes, kScoreTile);
  const auto [kv_head, begin, end, first] = tile_of_keys(a.shape);
  const int hd = a.shape.head_dim;
  const int group = a.shape.heads / a.shape.kv_heads;
  stage_head<width>(a.k, first, end, kv_head * hd, hd, k);
  stage_head<width>(a.v, first, end, kv_head * hd, hd, v);
  float dk[kHigh][width / 8] = {};
  float dv[kHigh][width / 8] = {};
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int query0 = first; query0 < end; query0 += kAttentionTile) {
      __syncthreads();
      stage_head<width>(a.q, query0, end, head * hd, hd, q);
      stage_head<width>(a.dout, query0, end, head * hd, hd, dout);
      __syncthreads();
      float s[kHigh][kScores];
      float dp[kHigh][kScores];
      multiply_scores<width>(k, q, s);  // transposed: the thread's rows are keys
      multiply_scores<width>(v, dout, dp);
      QueryRow rows[kScores];
      for (int j = 0; j < kScores; ++j) rows[j] = query_row(a, query0 + tile_tx() + 8 * j, end, head);
      for (int i = 0; i < kHigh; ++i) {
        const int key = first + kHigh * tile_ty() + i;
        for (int j = 0; j < kScores; ++j) {
          const int query = query0 + tile_tx() + 8 * j;
          const ScoreGradient g = score_gradient(a, rows[j], query < end && key <= query, s[i][j], dp[i][j]);
          const int at = (kHigh * tile_ty() + i) * kScorePitch + tile_tx() + 8 * j;
          p[at] = g.p;
          grad[at] = g.ds;
        }
      }
      __syncwarp();
      const int count = end - query0 < kAttentionTile ? end - query0 : kAttentionTile;
      multiply_add<width>(p, dout, count, dv);
      multiply_add<width>(grad, q, count, dk);
    }
  }
  const float one[kHigh] = {1.0f, 1.0f};
  write_head<width>(a.dk, first, end, kv_head * hd, hd, dk, one);
  write_head<width>(a.dv, first, end, kv_head * hd, hd, dv, one);
}

}  // namespace

void attention_backward(View q, View k, View v, View out, View lse, View dout, const AttentionShape& shape,
                        float* delta, MutView dq, MutView dk, MutView dv, Precision precision, Stream stream) {
  if (shape.tile_count == 0) return;
  const AttentionGradient a{q, k, v, out, lse, dout, shape, delta, dq, dk, dv};
  constexpr int64_t kWarps = kAttentionThreads / 32;
  launch("attention_delta", attention_delta_kernel, static_cast<unsigned>((q.rows * shape.heads + kWarps - 1) / kWarps),
         kAttentionThreads, 0, stream, a, delta);
  if (precision != Precision::fp32) return attention_mma_backward(a, precision, stream);
  const auto tiles = static_cast<unsigned>(shape.tile_count);
  with_width(shape.head_dim, [&](auto width) {
    constexpr int w = decltype(width)::value;
    launch("attention_dq", attention_dq_kernel<w>, dim3(tiles, static_cast<unsigned>(shape.heads)), kAttentionThreads,
           kQueryShared<w>, stream, a);
    launch("attention_dkv", attention_dkv_kernel<w>, dim3(tiles, static_cast<unsigned>(shape.kv_heads)),
           kAttentionThreads, kKeyShared<w>, stream, a);
  });
}

}  // namespace govtrain::cuda
