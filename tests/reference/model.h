// The transformer again, in double and in plain loops, written from the formulas; shares no code with models/,
// autograd/ or kernels/. One example at a time, with the gradient of its loss by name. Slow and obviously right, no
// dropout.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "models/transformer_config.h"

namespace govtrain::reference {

struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<double> v;  // row-major

  Matrix() = default;
  Matrix(int64_t r, int64_t c) : rows(r), cols(c), v(static_cast<size_t>(r * c), 0.0) {}
  double& at(int64_t r, int64_t c) { return v[static_cast<size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return v[static_cast<size_t>(r * cols + c)]; }
};

// Reverse-mode differentiation over matrices of double. `absolute`: every local derivative is replaced by its
// magnitude, so that a gradient becomes the sum of the magnitudes of its paths: what rounding errors of the backward
// pass are measured against.
class Graph {
 public:
  explicit Graph(bool absolute = false) : absolute_(absolute) {}
  int leaf(Matrix value);
  const Matrix& value(int id) const { return nodes_[static_cast<size_t>(id)].value; }
  const Matrix& grad(int id) const { return nodes_[static_cast<size_t>(id)].grad; }
  int matmul_nt(int x, int w);  // x w^T
  int add(int a, int b);
  int add_row(int x, int row);                  // row [1, cols] added to each row
  int normalise(int x, bool mean, double eps);  // (x - mean) / sqrt(var + eps), or x / sqrt(mean(x^2) + eps)
  int scale_cols(int x, int gain);              // gain [1, cols]
  int multiply(int a, int b);
  int gelu(int x);  // tanh form
  int silu(int x);
  int gate(int x, const std::vector<double>& cols);  // x; its gradient times cols [cols]
  int gather(int table, const std::vector<int32_t>& index);
  int rope(int x, int64_t heads, double base, int32_t start);
  int attention(int q, int k, int v, int64_t heads, int64_t kv_heads);  // causal
  int nll(int logits, const std::vector<int32_t>& target);              // [1,1] sum over target >= 0
  void backward(int id);

 private:
  struct Node {
    Matrix value, grad;
    std::function<void()> back;
  };
  double m(double derivative) const { return absolute_ && derivative < 0 ? -derivative : derivative; }
  int push(Matrix value, std::function<void(int self)> back);
  int elementwise(int x, const std::function<double(double)>& f, const std::function<double(double)>& df);
  Matrix& g(int id) { return nodes_[static_cast<size_t>(id)].grad; }
  bool absolute_ = false;
  std::vector<Node> nodes_;
};

// Values by this project's parameter names; vectors as [1, d].
using Values = std::map<std::string, Matrix>;

struct ExampleResult {
  double nll = 0;
  Matrix logits;
  Values grad;  // d nll / d parameter
};

// Called where a value of the graph is made: "embedding", "q", "k", "v", "attention" and "mlp" (the branches), "after
// attention", "after mlp" (the residual stream), "logits"; layer -1 outside of the layers. Returns what takes its
// place.
using Hook = std::function<int(Graph& graph, const std::string& place, int64_t layer, int node)>;

ExampleResult transformer(const TransformerConfig& config, const Values& values, const std::vector<int32_t>& tokens,
                          const std::vector<int32_t>& target, int32_t start = 0, const Hook& hook = {},
                          bool absolute = false);

}  // namespace govtrain::reference
