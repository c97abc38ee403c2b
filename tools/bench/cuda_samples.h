// What the CUDA kernels move and multiply, counted by the emulator on a few blocks of each and scaled to whole shapes.
// Counts of a kernel are sums over its blocks, and those of a block grow linearly with its examples, rows or depth, so
// the scaled figures are those of the whole launch but for partial tiles at its edges. For cuda_model only.
#pragma once

#include <cstdint>

#include "kernels/cuda/contract.h"

namespace govtrain::samples {

// Multiply-adds, and bytes of global memory in whole sectors of 32.
struct Amount {
  double fma = 0, mma = 0, read = 0, written = 0;
  double bytes() const { return read + written; }
  Amount& operator+=(const Amount& o);
};
Amount operator+(Amount a, const Amount& b);
Amount operator-(const Amount& a, const Amount& b);
Amount operator*(const Amount& a, double factor);

// y[rows,p] = x[rows,d] w^T, and dx[rows,d] = dy[rows,p] w.
Amount linear(cuda::Precision precision, double rows, int64_t d, int64_t p);
Amount linear_dx(cuda::Precision precision, double rows, int64_t d, int64_t p);
// grad[p,d] of `examples` of `length` rows; norms wanted. scatter: with a factor beside it that looks rows up (a tied
// table).
Amount contract(cuda::Precision precision, int examples, int length, int64_t p, int64_t d, bool scatter = false);
// The gradient of a norm's gain, d columns.
Amount contract_gain(int examples, int length, int64_t d);
// The gradient of a table of positions [length, d]: every example adds a row to every index.
Amount contract_positions(int examples, int length, int64_t d);

// Attention of one head over one example.
struct Attention {
  Amount forward, delta, dq, dkv;
};
Attention attention(cuda::Precision precision, int length, int heads, int head_dim);

Amount norm(double rows, int64_t d, bool layer_norm);
Amount norm_dx(double rows, int64_t d, bool layer_norm);
Amount embedding(double rows, int64_t d);
Amount cross_entropy(double rows, int64_t vocab);
Amount adam(double parameters);
Amount squares_and_zeros(double parameters);  // the norm of a gradient, and clearing it
Amount rope(double rows, int heads, int head_dim);
enum class Pointwise { add, gelu, gelu_dx, gated, gated_dx };
Amount pointwise(Pointwise what, double elements);

}  // namespace govtrain::samples
