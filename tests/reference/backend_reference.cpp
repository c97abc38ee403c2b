#include "tests/reference/backend_reference.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace govtrain::reference {
namespace {

template <class F>
Matrix map(const Matrix& x, const F& f) {
  Matrix y = x;
  for (double& value : y.v) value = f(value);
  return y;
}

}  // namespace

Matrix::Matrix(View view) : Matrix(view.rows, view.cols) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) at(r, c) = static_cast<double>(view.at(r, c));
  }
}

Matrix linear(const Matrix& x, const Matrix& w, const Matrix& bias) {
  Matrix y(x.rows, w.rows);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t o = 0; o < w.rows; ++o) {
      double sum = bias.v.empty() ? 0.0 : bias.at(0, o);
      for (int64_t j = 0; j < x.cols; ++j) sum += x.at(t, j) * w.at(o, j);
      y.at(t, o) = sum;
    }
  }
  return y;
}

Attention attention(const Matrix& q, const Matrix& k, const Matrix& v, const Rows& rows, int heads, int kv_heads,
                    double scale) {
  const int64_t hd = q.cols / heads;
  Attention result{Matrix(q.rows, q.cols), Matrix(q.rows, heads)};
  for (int e = 0; e < rows.examples(); ++e) {
    for (int h = 0; h < heads; ++h) {
      const int64_t kh = h / (heads / kv_heads);
      for (int t = rows.begin(e); t < rows.end(e); ++t) {
        std::vector<double> weight;
        double total = 0.0;
        for (int s = rows.begin(e); s <= t; ++s) {
          double dot = 0.0;
          for (int64_t j = 0; j < hd; ++j) dot += q.at(t, h * hd + j) * k.at(s, kh * hd + j);
          weight.push_back(std::exp(scale * dot));
          total += weight.back();
        }
        for (int s = rows.begin(e); s <= t; ++s) {
          const double p = weight[static_cast<size_t>(s - rows.begin(e))] / total;
          for (int64_t j = 0; j < hd; ++j) result.out.at(t, h * hd + j) += p * v.at(s, kh * hd + j);
        }
        result.lse.at(t, h) = std::log(total);
      }
    }
  }
  return result;
}

Matrix rope(const Matrix& x, const Rows& rows, const std::vector<int32_t>& start, int head_dim, double base) {
  Matrix y = x;
  const int half = head_dim / 2;
  for (int e = 0; e < rows.examples(); ++e) {
    for (int t = rows.begin(e); t < rows.end(e); ++t) {
      const double position = start[static_cast<size_t>(e)] + t - rows.begin(e);
      for (int64_t h = 0; h < x.cols / head_dim; ++h) {
        for (int j = 0; j < half; ++j) {
          const double angle = position * std::pow(base, -2.0 * j / head_dim);
          const double a = x.at(t, h * head_dim + j);
          const double b = x.at(t, h * head_dim + half + j);
          y.at(t, h * head_dim + j) = a * std::cos(angle) - b * std::sin(angle);
          y.at(t, h * head_dim + half + j) = b * std::cos(angle) + a * std::sin(angle);
        }
      }
    }
  }
  return y;
}

Matrix layer_norm(const Matrix& x, const Matrix& gain, const Matrix& bias, double eps) {
  Matrix y = x;
  for (int64_t t = 0; t < x.rows; ++t) {
    double mean = 0.0;
    for (int64_t j = 0; j < x.cols; ++j) mean += x.at(t, j) / static_cast<double>(x.cols);
    double variance = 0.0;
    for (int64_t j = 0; j < x.cols; ++j) variance += std::pow(x.at(t, j) - mean, 2) / static_cast<double>(x.cols);
    for (int64_t j = 0; j < x.cols; ++j) {
      const double offset = bias.v.empty() ? 0.0 : bias.at(0, j);
      y.at(t, j) = (x.at(t, j) - mean) / std::sqrt(variance + eps) * gain.at(0, j) + offset;
    }
  }
  return y;
}

Matrix rms_norm(const Matrix& x, const Matrix& gain, double eps) {
  Matrix y = x;
  for (int64_t t = 0; t < x.rows; ++t) {
    double square = 0.0;
    for (int64_t j = 0; j < x.cols; ++j) square += x.at(t, j) * x.at(t, j) / static_cast<double>(x.cols);
    for (int64_t j = 0; j < x.cols; ++j) y.at(t, j) = x.at(t, j) / std::sqrt(square + eps) * gain.at(0, j);
  }
  return y;
}

Matrix gelu(const Matrix& x) {
  const double c = std::sqrt(2.0 / std::numbers::pi);
  return map(x, [&](double v) { return 0.5 * v * (1.0 + std::tanh(c * (v + 0.044715 * v * v * v))); });
}

Matrix silu(const Matrix& x) {
  return map(x, [](double v) { return v / (1.0 + std::exp(-v)); });
}

Matrix multiply(const Matrix& a, const Matrix& b) {
  Matrix y = a;
  for (size_t i = 0; i < y.v.size(); ++i) y.v[i] *= b.v[i];
  return y;
}

Matrix add(const Matrix& a, const Matrix& b) {
  Matrix y = a;
  for (size_t i = 0; i < y.v.size(); ++i) y.v[i] += b.v[i];
  return y;
}

Matrix embedding(const Matrix& table, const std::vector<int32_t>& index) {
  Matrix y(static_cast<int64_t>(index.size()), table.cols);
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t j = 0; j < y.cols; ++j) y.at(t, j) = table.at(index[static_cast<size_t>(t)], j);
  }
  return y;
}

Matrix cross_entropy(const Matrix& logits, const std::vector<int32_t>& target) {
  Matrix loss(logits.rows, 1);
  for (int64_t t = 0; t < logits.rows; ++t) {
    const int32_t y = target[static_cast<size_t>(t)];
    if (y < 0) continue;
    double top = logits.at(t, 0);
    for (int64_t j = 0; j < logits.cols; ++j) top = std::max(top, logits.at(t, j));
    double total = 0.0;
    for (int64_t j = 0; j < logits.cols; ++j) total += std::exp(logits.at(t, j) - top);
    loss.at(t, 0) = std::log(total) + top - logits.at(t, y);
  }
  return loss;
}

void add_outer(const Matrix& dy, const Matrix& x, int begin, int end, Matrix& tile) {
  for (int t = begin; t < end; ++t) {
    for (int64_t o = 0; o < dy.cols; ++o) {
      for (int64_t j = 0; j < x.cols; ++j) tile.at(o, j) += dy.at(t, o) * x.at(t, j);
    }
  }
}

void add_gain(const Matrix& dy, const Matrix& x, const std::vector<float>& mean, const std::vector<float>& rstd,
              int begin, int end, Matrix& tile) {
  for (int t = begin; t < end; ++t) {
    const auto i = static_cast<size_t>(t);
    const double centre = mean.empty() ? 0.0 : static_cast<double>(mean[i]);
    for (int64_t j = 0; j < dy.cols; ++j) {
      tile.at(0, j) += dy.at(t, j) * (x.at(t, j) - centre) * static_cast<double>(rstd[i]);
    }
  }
}

void add_bias(const Matrix& dy, int begin, int end, Matrix& tile) {
  for (int t = begin; t < end; ++t) {
    for (int64_t j = 0; j < dy.cols; ++j) tile.at(0, j) += dy.at(t, j);
  }
}

void add_scatter(const Matrix& dy, const std::vector<int32_t>& index, int begin, int end, Matrix& tile) {
  for (int t = begin; t < end; ++t) {
    for (int64_t j = 0; j < dy.cols; ++j) tile.at(index[static_cast<size_t>(t)], j) += dy.at(t, j);
  }
}

}  // namespace govtrain::reference
