// Attention on tensor cores against a double reference that rounds the operands as it does. What is left are the
// roundings of probabilities and of gradients of scores, so each element has its own bound; the op cases, which do not
// round, hold the same kernels to a wide one.
#include <cmath>

#include "core/buffer.h"
#include "core/rng.h"
#include "kernels/cuda/backend.h"
#include "tests/cuda/rounding.h"
#include "tests/cuda/support.h"
#include "tests/kernels/op_case.h"

namespace govtrain::test {
namespace {

using cuda::Precision;

struct Shape {
  std::vector<int32_t> lengths;
  int heads, kv_heads;
  int64_t head_dim;
};

// A matrix in the memory of `k`, and its values.
class Operand {
 public:
  Operand(Backend& k, int64_t rows, int64_t cols, uint64_t seed) : values(rows, cols) {
    const Rng rng(seed, Stream::test);
    std::vector<float> v(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] = 2.0f * static_cast<float>(rng.uniform(i)) - 1.0f;
      values.v[i] = static_cast<double>(v[i]);
    }
    memory_ = Buffer<float>(std::span<const float>(v), k.allocator());
  }
  MutView view() const { return {memory_.span().data(), values.rows, values.cols}; }
  std::vector<float> now() const { return memory_.host(); }

  Matrix values;

 private:
  Buffer<float> memory_;
};

struct Results {
  Matrix out, lse, dq, dk, dv;
};

// The results in double, and the sum of the magnitudes of what each adds up: what changes when all probabilities and
// gradients of scores are off by a relative error of 1.
struct Reference {
  Results exact, magnitude;
};

Matrix all_rounded(Matrix m, Precision precision) {
  for (double& v : m.v) v = static_cast<double>(rounded(static_cast<float>(v), precision));
  return m;
}

// Backward as the kernels have it: from an lse and a delta that were made in float32, whatever the precision.
Reference reference_of(const Shape& s, const Rows& rows, double scale, Precision precision, const Operand& q_in,
                       const Operand& k_in, const Operand& v_in, const Operand& dout_in, const Matrix& lse,
                       const Matrix& delta) {
  const Matrix q = all_rounded(q_in.values, precision);
  const Matrix k = all_rounded(k_in.values, precision);
  const Matrix v = all_rounded(v_in.values, precision);
  const Matrix dout = all_rounded(dout_in.values, precision);
  const Results zeros{Matrix(q.rows, q.cols), Matrix(q.rows, s.heads), Matrix(q.rows, q.cols), Matrix(k.rows, k.cols),
                      Matrix(k.rows, k.cols)};
  Reference r{zeros, zeros};
  const int64_t d = s.head_dim;
  const auto add = [](Matrix& exact, Matrix& magnitude, int64_t row, int64_t col, double weight, double value) {
    exact.at(row, col) += weight * value;
    magnitude.at(row, col) += std::abs(weight * value);
  };
  const auto dot = [&](const Matrix& a, int64_t i, int64_t a0, const Matrix& b, int64_t j, int64_t b0) {
    double sum = 0.0;
    for (int64_t c = 0; c < d; ++c) sum += a.at(i, a0 + c) * b.at(j, b0 + c);
    return sum;
  };
  for (int e = 0; e < rows.examples(); ++e) {
    for (int head = 0; head < s.heads; ++head) {
      const int64_t at = head * d;
      const int64_t kv = head / (s.heads / s.kv_heads) * d;
      for (int i = rows.begin(e); i < rows.end(e); ++i) {
        double sum = 0.0;
        for (int j = rows.begin(e); j <= i; ++j) sum += std::exp(scale * dot(q, i, at, k, j, kv));
        r.exact.lse.at(i, head) = std::log(sum);
        for (int j = rows.begin(e); j <= i; ++j) {
          const double score = scale * dot(q, i, at, k, j, kv);
          const double p = std::exp(score - lse.at(i, head));
          const double ds = scale * p * (dot(dout, i, at, v, j, kv) - delta.at(i, head));
          for (int64_t c = 0; c < d; ++c) {
            add(r.exact.out, r.magnitude.out, i, at + c, std::exp(score) / sum, v.at(j, kv + c));
            add(r.exact.dv, r.magnitude.dv, j, kv + c, p, dout.at(i, at + c));
            add(r.exact.dq, r.magnitude.dq, i, at + c, ds, k.at(j, kv + c));
            add(r.exact.dk, r.magnitude.dk, j, kv + c, ds, q.at(i, at + c));
          }
        }
      }
    }
  }
  return r;
}

// The largest excess over unit * magnitude + slack.
double excess(const Operand& got, const Matrix& exact, const Matrix& magnitude, double unit, double slack) {
  const std::vector<float> now = got.now();
  double worst = -1.0;
  for (size_t i = 0; i < now.size(); ++i) {
    const double error = std::abs(static_cast<double>(now[i]) - exact.v[i]);
    const double over = error - unit * magnitude.v[i] - slack;
    worst = std::isnan(error) ? 1e300 : std::max(worst, over);
  }
  return worst;
}

void check(const Shape& s, Precision precision) {
  const Rows rows = Rows::of_lengths(s.lengths);
  const auto n = static_cast<int64_t>(rows.total());
  const int64_t d = s.head_dim;
  const auto nd = static_cast<double>(d);
  const auto scale = static_cast<float>(1.0 / std::sqrt(nd));
  Backend& kernels = cuda_backend(precision);
  const Operand q(kernels, n, s.heads * d, 1);
  const Operand k(kernels, n, s.kv_heads * d, 2);
  const Operand v(kernels, n, s.kv_heads * d, 3);
  const Operand dout(kernels, n, s.heads * d, 4);
  const Operand out(kernels, n, s.heads * d, 5);
  const Operand lse(kernels, n, s.heads, 6);
  const Operand dq(kernels, n, s.heads * d, 7);
  const Operand dk(kernels, n, s.kv_heads * d, 8);
  const Operand dv(kernels, n, s.kv_heads * d, 9);
  // The softmax of float32, from which the gradients are taken.
  cuda_backend().attention(q.view(), k.view(), v.view(), rows, s.heads, s.kv_heads, scale, out.view(), lse.view());
  Matrix of_lse(n, s.heads);
  Matrix of_delta(n, s.heads);
  const std::vector<float> out32 = out.now();
  const std::vector<float> lse32 = lse.now();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < s.heads * d; ++c) {
      of_delta.at(i, c / d) +=
          dout.values.at(i, c) * static_cast<double>(out32[static_cast<size_t>(i * s.heads * d + c)]);
    }
    for (int64_t h = 0; h < s.heads; ++h) {
      of_lse.at(i, h) = static_cast<double>(lse32[static_cast<size_t>(i * s.heads + h)]);
    }
  }
  kernels.attention_backward(q.view(), k.view(), v.view(), out.view(), lse.view(), dout.view(), rows, s.heads,
                             s.kv_heads, scale, dq.view(), dk.view(), dv.view());
  kernels.attention(q.view(), k.view(), v.view(), rows, s.heads, s.kv_heads, scale, out.view(), lse.view());

  const Reference r = reference_of(s, rows, static_cast<double>(scale), precision, q, k, v, dout, of_lse, of_delta);
  const double unit = operand_unit(precision);
  // Sums in float32, as in the op case: what is left when operands are exact.
  const double slack = 2 * chain(nd, 0.5 * std::sqrt(nd) + 1) + chain(static_cast<double>(n), 1);
  CHECK(excess(out, r.exact.out, r.magnitude.out, unit, slack) <= 0.0);
  CHECK(excess(lse, r.exact.lse, r.magnitude.lse, unit, slack + 8 * 0x1p-24 * (6 + std::sqrt(nd))) <= 0.0);
  const double grad_slack = slack * std::sqrt(nd) * s.heads / s.kv_heads;
  CHECK(excess(dq, r.exact.dq, r.magnitude.dq, unit, grad_slack) <= 0.0);
  CHECK(excess(dk, r.exact.dk, r.magnitude.dk, unit, grad_slack) <= 0.0);
  CHECK(excess(dv, r.exact.dv, r.magnitude.dv, unit, grad_slack) <= 0.0);
}

}  // namespace

TEST_CASE("attention on tensor cores rounds its operands, to nearest, and nothing else") {
  const std::vector<Shape> shapes = {{{1, 31, 2, 34}, 2, 1, 32}, {{65, 3, 129}, 2, 2, 20}, {{64, 96, 1}, 3, 1, 64},
                                     {{40, 63}, 1, 1, 5},        {{70, 33}, 2, 1, 100},    {{33}, 1, 1, 128},
                                     {{7, 161, 32}, 4, 2, 8}};
  for (const Shape& s : shapes) {
    for (const Precision precision : {Precision::tf32, Precision::bf16}) {
      INFO(name_of(precision) << ", rows " << Catch::Detail::stringify(s.lengths) << ", " << s.heads << "/"
                              << s.kv_heads << "x" << s.head_dim);
      check(s, precision);
    }
  }
}

}  // namespace govtrain::test
