// What one line of op_cases.h is made of: the description of an op, and small helpers to write one.
#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "kernels/backend.h"
#include "tests/reference/backend_reference.h"

namespace govtrain::test {

using reference::Matrix;

struct Batch {
  Rows rows;
  std::vector<uint64_t> ids;  // identity of each example, whatever its position
  std::vector<int32_t> starts() const {
    std::vector<int32_t> s;
    for (const uint64_t id : ids) s.push_back(static_cast<int32_t>(id % 9));
    return s;
  }
};

struct Port {
  int64_t rows;  // 0: one per row of the batch
  int64_t cols;
};

using Views = std::vector<View>;
using MutViews = std::vector<MutView>;

struct OpCase {
  std::string name;
  std::vector<Port> inputs;
  std::vector<Port> outputs;  // the gradient is taken of the first
  std::function<void(Backend&, const Batch&, const Views& in, const MutViews& out)> forward;
  // The first outputs, as many as are compared.
  std::function<std::vector<Matrix>(const Batch&, const std::vector<Matrix>& in)> truth;
  double tolerance;
  // din[i] has the shape of in[i]; parameters' gradients are summed over the batch. Null: no gradient.
  std::function<void(Backend&, const Batch&, const Views& in, const Views& out, View dout, const MutViews& din)>
      backward;
  double grad_tolerance = 0.0;
  // Sum of the magnitudes of products, in the worst element, where a device may round the operands of a product to a
  // relative error of `unit` each; the tolerance grows by rounded_products(unit, products).
  double products = 0.0;
  double grad_products = 0.0;
};

// What rounding the operands of products whose magnitudes sum to `magnitude` can change: (1 + unit)^2 - 1 of it.
inline double rounded_products(double unit, double magnitude) { return (2.0 + unit) * unit * magnitude; }

inline double chain(double n, double magnitude) { return 4.0 * std::sqrt(n) * 0x1p-24 * magnitude; }

inline std::span<const float> row_of(View v) { return {v.data, static_cast<size_t>(v.cols)}; }
inline std::span<const float> column_of(View v) { return {v.data, static_cast<size_t>(v.rows)}; }
inline std::span<float> column_of(MutView v) { return {v.data, static_cast<size_t>(v.rows)}; }

// Values of column 0 as indices below n.
inline int32_t index_of(double value, int64_t n) {
  return static_cast<int32_t>(
      std::min<int64_t>(n - 1, static_cast<int64_t>((value + 1.0) / 2.0 * static_cast<double>(n))));
}
// The values of a port of one column, on the host.
inline std::vector<float> values(Backend& k, View v) {
  std::vector<float> out(static_cast<size_t>(v.rows));
  k.allocator().read(out.data(), v.data, out.size() * sizeof(float));
  return out;
}
inline std::vector<int32_t> indices(Backend& k, View v, int64_t n) {
  std::vector<int32_t> out;
  for (const float x : values(k, v)) out.push_back(index_of(static_cast<double>(x), n));
  return out;
}
inline std::vector<int32_t> indices(const Matrix& m, int64_t n) {
  std::vector<int32_t> out;
  for (int64_t t = 0; t < m.rows; ++t) out.push_back(index_of(m.at(t, 0), n));
  return out;
}

inline void copy(Backend& k, View from, MutView to) {
  for (int64_t t = 0; t < to.rows; ++t) {
    k.allocator().copy(to.row(t), from.row(t), static_cast<size_t>(to.cols) * sizeof(float));
  }
}
inline void plain(Backend& k, const Factor& f, MutView grad) {
  for (int64_t r = 0; r < grad.rows; ++r) k.fill({grad.row(r), static_cast<size_t>(grad.cols)}, 0.0f);
  k.contract_plain({&f, 1}, grad);
}
inline Factor outer(View dy, View x) { return {Factor::Kind::outer, dy, x}; }
inline Factor bias(View dy) { return {Factor::Kind::bias, dy, {}}; }
inline Factor gain(View dy, View x, const float* mean, const float* rstd) {
  return {Factor::Kind::gain, dy, x, mean, rstd};
}
inline Factor scatter(View dy, const int32_t* index) {
  return {Factor::Kind::scatter, dy, {}, nullptr, nullptr, index};
}

}  // namespace govtrain::test
