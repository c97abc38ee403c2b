// attention.cu on tensor cores: operands rounded to tf32 or bf16, probabilities too where they weigh the values;
// scores, softmax and sums are float32. An example's tiles are counted from its begin, so its bits do not depend on the
// batch.
#include "kernels/cuda/attention_mma.h"

namespace govtrain::cuda {
namespace {

template <Precision precision, int width>
__global__ void __launch_bounds__(kAttentionThreads) attention_mma_kernel(Attention a) {
  expect_dynamic_shared<kMmaShared<precision, width, 1>>();
  const auto q = own_rows<precision, width>(0);
  const auto k = other_rows<precision, width, 1>(0);
  const auto v = other_rows<precision, width, 1>(1);
  const auto [head, begin, end, first] = tile_of_queries(a.shape);
  const int hd = a.shape.head_dim;
  const int kv_col = kv_column(a.shape, head);
  const int last = first + kOwnRows < end ? first + kOwnRows : end;
  const int row = static_cast<int>(threadIdx.x) / 32 * kWarpRows;  // of the warp, in the tile
  stage_rows<precision, width, kOwnRows>(a.q, first, end, head * hd, hd, q);
  const float none = -__uint_as_float(0x7F800000u);
  float top[2] = {none, none};
  float sum[2] = {};
  Results<width> o = {};
  for (int key = begin; key < last; key += kOtherRows) {
    __syncthreads();
    stage_rows<precision, width, kOtherRows>(a.k, key, end, kv_col, hd, k);
    stage_rows<precision, width, kOtherRows>(a.v, key, end, kv_col, hd, v);
    arrive();
    if (first + row >= end || key >= first + row + kWarpRows) continue;  // nothing that the warp's rows see
    Scores s;
    multiply_rows<precision, width>(q, row, k, s);
    const auto seen = [&, first = first](int j, int e) { return key + score_col(j, e) <= first + row + score_row(e); };
    float high[2] = {top[0], top[1]};
    GOVTRAIN_UNROLL
    for (int j = 0; j < kOtherRows / 8; ++j) {
      GOVTRAIN_UNROLL
      for (int e = 0; e < 4; ++e) {
        s[j][e] *= a.shape.scale;
        if (seen(j, e) && s[j][e] > high[e / 2]) high[e / 2] = s[j][e];
      }
    }
    float fade[2];
    float mine[2] = {};
    GOVTRAIN_UNROLL
    for (int i = 0; i < 2; ++i) {
      high[i] = row_max<4>(high[i]);
      fade[i] = exp_bits(top[i] - high[i]);
      top[i] = high[i];
    }
    GOVTRAIN_UNROLL
    for (int j = 0; j < kOtherRows / 8; ++j) {
      GOVTRAIN_UNROLL
      for (int e = 0; e < 4; ++e) {
        s[j][e] = seen(j, e) ? exp_or_nan(s[j][e] - high[e / 2]) : 0.0f;
        mine[e / 2] += s[j][e];
      }
    }
    for (int i = 0; i < 2; ++i) sum[i] = __fmaf_rn(sum[i], fade[i], row_sum<4>(mine[i]));
    GOVTRAIN_UNROLL
    for (int j = 0; j < width / 8; ++j) {
      GOVTRAIN_UNROLL
      for (int e = 0; e < 4; ++e) o[j][e] *= fade[e / 2];
    }
    multiply_weights<precision, width>(s, v, o);
  }
  const float factor[2] = {1.0f / sum[0], 1.0f / sum[1]};
  write_results<width>(a.out, first + row, end, head * hd, hd, o, factor);
  if (threadIdx.x % 4 != 0) return;
  for (int i = 0; i < 2; ++i) {
    const int query = first + row + score_row(2 * i);
    if (query < end) store(a.lse.data + query * a.lse.ld + head, top[i] + logf(sum[i]));
  }
}

}  // namespace

void attention_mma(const Attention& a, Precision precision, Stream stream) {
  const dim3 grid(static_cast<unsigned>(a.shape.tile_count), static_cast<unsigned>(a.shape.heads));
  with_precision_and_width(precision, a.shape.head_dim, [&](auto p, auto width) {
    constexpr Precision kind = decltype(p)::value;
    constexpr int w = decltype(width)::value;
    constexpr int bytes = kMmaShared<kind, w, 1>;
    launch("attention_mma", attention_mma_kernel<kind, w>, grid, kAttentionThreads, bytes, stream, a);
  });
}

}  // namespace govtrain::cuda
