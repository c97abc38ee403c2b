// The meaning of every kernel as plain loops in double: the truth that the float32 kernels are compared with.
// Written from the formulas, sharing no code with kernels/; never fast, never blocked, never in place.
#pragma once

#include <cstdint>
#include <vector>

#include "core/rows.h"
#include "core/view.h"

namespace govtrain::reference {

struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<double> v;

  Matrix() = default;
  Matrix(int64_t r, int64_t c) : rows(r), cols(c), v(static_cast<size_t>(r * c), 0.0) {}
  explicit Matrix(View view);
  double& at(int64_t r, int64_t c) { return v[static_cast<size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return v[static_cast<size_t>(r * cols + c)]; }
};

// x [n,d] * w [p,d]^T + bias [1,p] (may be empty) -> [n,p].
Matrix linear(const Matrix& x, const Matrix& w, const Matrix& bias);

struct Attention {
  Matrix out;  // [rows, heads*hd]
  Matrix lse;  // [rows, heads]
};
Attention attention(const Matrix& q, const Matrix& k, const Matrix& v, const Rows& rows, int heads, int kv_heads,
                    double scale);

// Half-split rotation by (start[e] + position) * base^(-2j/hd).
Matrix rope(const Matrix& x, const Rows& rows, const std::vector<int32_t>& start, int head_dim, double base);

Matrix layer_norm(const Matrix& x, const Matrix& gain, const Matrix& bias, double eps);
Matrix rms_norm(const Matrix& x, const Matrix& gain, double eps);

Matrix gelu(const Matrix& x);  // tanh form
Matrix silu(const Matrix& x);
Matrix multiply(const Matrix& a, const Matrix& b);  // element by element
Matrix add(const Matrix& a, const Matrix& b);

// [rows, d] from table [n, d].
Matrix embedding(const Matrix& table, const std::vector<int32_t>& index);

// [rows, 1]: -log softmax(logits)[target], 0 where target < 0.
Matrix cross_entropy(const Matrix& logits, const std::vector<int32_t>& target);

// One example's tile of a parameter gradient, rows [begin, end): dy^T x, dy * hat summed, dy summed, dy at index.
void add_outer(const Matrix& dy, const Matrix& x, int begin, int end, Matrix& tile);
void add_gain(const Matrix& dy, const Matrix& x, const std::vector<float>& mean, const std::vector<float>& rstd,
              int begin, int end, Matrix& tile);
void add_bias(const Matrix& dy, int begin, int end, Matrix& tile);
void add_scatter(const Matrix& dy, const std::vector<int32_t>& index, int begin, int end, Matrix& tile);

}  // namespace govtrain::reference
