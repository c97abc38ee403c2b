// What the backward kernels of attention share: their argument, and the gradient of one score. Probabilities are
// recomputed from the log-sum-exp. Private to kernels/cuda.
#pragma once

#include "kernels/cuda/attention_common.h"

namespace govtrain::cuda {

struct AttentionGradient {
  View q, k, v, out, lse, dout;
  AttentionShape shape;
  const float* delta;  // [rows, heads]: out times dout
  MutView dq, dk, dv;
};

// attention_mma_backward.cu: all but delta, on tensor cores.
void attention_mma_backward(const AttentionGradient& a, Precision precision, Stream stream);

// What the scores of one query need of it; zeros for a query that is not there.
struct QueryRow {
  float lse, delta;
};
__device__ inline QueryRow query_row(const AttentionGradient& a, int query, int end, int head) {
  if (query >= end) return {0.0f, 0.0f};
  return {load(a.lse.data + query * a.lse.ld + head), load(a.delta + int64_t{query} * a.shape.heads + head)};
}

// Probability and gradient of one scaled score, from the products q k and dout v.
struct ScoreGradient {
  float p, ds;
};
__device__ inline ScoreGradient score_gradient(const AttentionGradient& a, const QueryRow& row, bool seen, float s,
                                               float dp) {
  if (!seen) return {0.0f, 0.0f};
  const float p = exp_or_nan(__fmaf_rn(a.shape.scale, s, -row.lse));
  return {p, a.shape.scale * (p * (dp - row.delta))};
}

}  // namespace govtrain::cuda
