// attention_backward.cu on tensor cores: one kernel owns queries and writes dq, another owns the keys of a key-value
// head and writes dk and dv. Operands are rounded to tf32 or bf16, probabilities and their gradients too where they are
// operands; everything else is float32.
#include "kernels/cuda/attention_gradient.h"
#include "kernels/cuda/attention_mma.h"

namespace govtrain::cuda {
namespace {

template <Precision precision, int width>
__global__ void __launch_bounds__(kAttentionThreads) attention_mma_dq_kernel(AttentionGradient a) {
  expect_dynamic_shared<kMmaShared<precision, width, 2>>();
  const auto q = own_rows<precision, width>(0);
  const auto dout = own_rows<precision, width>(1);
  const auto k = other_rows<precision, width, 2>(0);
  const auto v = other_rows<precision, width, 2>(1);
  const auto [head, begin, end, first] = tile_of_queries(a.shape);
  const int hd = a.shape.head_dim;
  const int kv_col = kv_column(a.shape, head);
  const int last = first + kOwnRows < end ? first + kOwnRows : end;
  const int row = static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  stage_rows<precision, width, kOwnRows>(a.q, first, end, head * hd, hd, q);
  stage_rows<precision, width, kOwnRows>(a.dout, first, end, head * hd, hd, dout);
  QueryRow rows[2];
  for (int i = 0; i < 2; ++i) rows[i] = query_row(a, first + row + score_row(2 * i), end, head);
  Results<width> dq = {};
  for (int key = begin; key < last; key += kOtherRows) {
    __syncthreads();
    stage_rows<precision, width, kOtherRows>(a.k, key, end, kv_col, hd, k);
    stage_rows<precision, width, kOtherRows>(a.v, key, end, kv_col, hd, v);
    arrive();
    if (first + row >= end || key >= first + row + kWarpRows) continue;  // nothing that the warp's rows see
    Scores s;
    Scores dp;
    multiply_rows<precision, width>(q, row, k, s);
    multiply_rows<precision, width>(dout, row, v, dp);
    GOVTRAIN_UNROLL
    for (int j = 0; j < kOtherRows / 8; ++j) {
      GOVTRAIN_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int query = first + row + score_row(e);
        const bool seen = query < end && key + score_col(j, e) <= query;
        s[j][e] = score_gradient(a, rows[e / 2], seen, s[j][e], dp[j][e]).ds;
      }
    }
    multiply_weights<precision, width>(s, k, dq);
  }
  write_results<width>(a.dq, first + row, end, head * hd, hd, dq, {1.0f, 1.0f});
}

template <Precision precision, int width>
__global__ void __launch_bounds__(kAttentionThreads) attention_mma_dkv_kernel(AttentionGradient a) {
  expect_dynamic_shared<kMmaShared<precision, width, 2>>();
  const auto k = own_rows<precision, width>(0);
  const auto v = own_rows<precision, width>(1);
  const auto q = other_rows<precision, width, 2>(0);
  const auto dout = other_rows<precision, width, 2>(1);
  const auto [kv_head, begin, end, first] = tile_of_keys(a.shape);
  const int hd = a.shape.head_dim;
  const int group = a.shape.heads / a.shape.kv_heads;
  const int row = static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  stage_rows<precision, width, kOwnRows>(a.k, first, end, kv_head * hd, hd, k);
  stage_rows<precision, width, kOwnRows>(a.v, first, end, kv_head * hd, hd, v);
  Results<width> dk = {};
  Results<width> dv = {};
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int query0 = first; query0 < end; query0 += kOtherRows) {
      __syncthreads();
      stage_rows<precision, width, kOtherRows>(a.q, query0, end, head * hd, hd, q);
      stage_rows<precision, width, kOtherRows>(a.dout, query0, end, head * hd, hd, dout);
      if (threadIdx.x % 32 < kOtherRows / 4) {
        const int t = static_cast<int>(threadIdx.x) / 32 * (kOtherRows / 4) + static_cast<int>(threadIdx.x) % 32;
        const QueryRow of = query_row(a, query0 + t, end, head);
        store(beside_row<precision, width>(q, t), make_float2(of.lse, of.delta));
      }
      arrive();
      if (first + row >= end || query0 + kOtherRows <= first + row) continue;  // nothing that sees the warp's rows
      Scores p;
      Scores ds;
      multiply_rows<precision, width>(k, row, q, p);  // transposed: the warp's rows are keys
      multiply_rows<precision, width>(v, row, dout, ds);
      GOVTRAIN_UNROLL
      for (int j = 0; j < kOtherRows / 8; ++j) {
        GOVTRAIN_UNROLL
        for (int side = 0; side < 2; ++side) {
          const int query = query0 + score_col(j, side);
          const float2 of = load(beside_row<precision, width>(q, score_col(j, side)));
          GOVTRAIN_UNROLL
          for (int e = side; e < 4; e += 2) {
            const bool seen = query < end && first + row + score_row(e) <= query;
            const ScoreGradient g = score_gradient(a, {of.x, of.y}, seen, p[j][e], ds[j][e]);
            p[j][e] = g.p;
            ds[j][e] = g.ds;
          }
        }
      }
      multiply_weights<precision, width>(p, dout, dv);
      multiply_weights<precision, width>(ds, q, dk);
    }
  }
  write_results<width>(a.dk, first + row, end, kv_head * hd, hd, dk, {1.0f, 1.0f});
  write_results<width>(a.dv, first + row, end, kv_head * hd, hd, dv, {1.0f, 1.0f});
}

}  // namespace

void attention_mma_backward(const AttentionGradient& a, Precision precision, Stream stream) {
  const auto tiles = static_cast<unsigned>(a.shape.tile_count);
  with_precision_and_width(precision, a.shape.head_dim, [&](auto p, auto width) {
    constexpr Precision kind = decltype(p)::value;
    constexpr int w = decltype(width)::value;
    constexpr int bytes = kMmaShared<kind, w, 2>;
    launch("attention_mma_dq", attention_mma_dq_kernel<kind, w>, dim3(tiles, static_cast<unsigned>(a.shape.heads)),
           kAttentionThreads, bytes, stream, a);
    launch("attention_mma_dkv", attention_mma_dkv_kernel<kind, w>, dim3(tiles, static_cast<unsigned>(a.shape.kv_heads)),
           kAttentionThreads, bytes, stream, a);
  });
}

}  // namespace govtrain::cuda
