#include <cmath>
#include <numbers>

#include "tests/reference/model.h"

namespace govtrain::reference {

int Graph::push(Matrix value, std::function<void(int)> back) {
  const int id = static_cast<int>(nodes_.size());
  Node n;
  n.grad = Matrix(value.rows, value.cols);
  n.value = std::move(value);
  if (back) n.back = [back = std::move(back), id] { back(id); };
  nodes_.push_back(std::move(n));
  return id;
}

int Graph::leaf(Matrix value) { return push(std::move(value), nullptr); }

void Graph::backward(int id) {
  g(id).v.assign(g(id).v.size(), 1.0);
  for (int i = id; i >= 0; --i) {
    if (nodes_[static_cast<size_t>(i)].back) nodes_[static_cast<size_t>(i)].back();
  }
}

int Graph::matmul_nt(int x, int w) {
  const int64_t n = value(x).rows, d = value(x).cols, p = value(w).rows;
  Matrix y(n, p);
  for (int64_t t = 0; t < n; ++t)
    for (int64_t o = 0; o < p; ++o)
      for (int64_t i = 0; i < d; ++i) y.at(t, o) += value(x).at(t, i) * value(w).at(o, i);
  return push(std::move(y), [=, this](int self) {
    for (int64_t t = 0; t < n; ++t)
      for (int64_t o = 0; o < p; ++o)
        for (int64_t i = 0; i < d; ++i) {
          g(x).at(t, i) += g(self).at(t, o) * m(value(w).at(o, i));
          g(w).at(o, i) += g(self).at(t, o) * m(value(x).at(t, i));
        }
  });
}

int Graph::add(int a, int b) {
  Matrix y = value(a);
  for (size_t i = 0; i < y.v.size(); ++i) y.v[i] += value(b).v[i];
  return push(std::move(y), [=, this](int self) {
    for (size_t i = 0; i < g(self).v.size(); ++i) {
      g(a).v[i] += g(self).v[i];
      g(b).v[i] += g(self).v[i];
    }
  });
}

int Graph::add_row(int x, int row) {
  Matrix y = value(x);
  for (int64_t t = 0; t < y.rows; ++t)
    for (int64_t c = 0; c < y.cols; ++c) y.at(t, c) += value(row).at(0, c);
  return push(std::move(y), [=, this](int self) {
    for (int64_t t = 0; t < g(self).rows; ++t)
      for (int64_t c = 0; c < g(self).cols; ++c) {
        g(x).at(t, c) += g(self).at(t, c);
        g(row).at(0, c) += g(self).at(t, c);
      }
  });
}

int Graph::normalise(int x, bool mean, double eps) {
  const int64_t n = value(x).rows, d = value(x).cols;
  Matrix y(n, d);
  std::vector<double> rstd(static_cast<size_t>(n));
  for (int64_t t = 0; t < n; ++t) {
    double mu = 0, var = 0;
    if (mean)
      for (int64_t c = 0; c < d; ++c) mu += value(x).at(t, c) / static_cast<double>(d);
    for (int64_t c = 0; c < d; ++c) var += std::pow(value(x).at(t, c) - mu, 2) / static_cast<double>(d);
    rstd[static_cast<size_t>(t)] = 1 / std::sqrt(var + eps);
    for (int64_t c = 0; c < d; ++c) y.at(t, c) = (value(x).at(t, c) - mu) * rstd[static_cast<size_t>(t)];
  }
  return push(std::move(y), [=, this](int self) {
    for (int64_t t = 0; t < n; ++t) {
      double dy_mean = 0, dy_y_mean = 0;
      for (int64_t c = 0; c < d; ++c) {
        dy_mean += g(self).at(t, c) / static_cast<double>(d);
        dy_y_mean += g(self).at(t, c) * m(value(self).at(t, c)) / static_cast<double>(d);
      }
      for (int64_t c = 0; c < d; ++c) {
        g(x).at(t, c) += rstd[static_cast<size_t>(t)] *
                         (g(self).at(t, c) + m(-1) * (mean ? dy_mean : 0) + m(-value(self).at(t, c)) * dy_y_mean);
      }
    }
  });
}

int Graph::scale_cols(int x, int gain) {
  Matrix y = value(x);
  for (int64_t t = 0; t < y.rows; ++t)
    for (int64_t c = 0; c < y.cols; ++c) y.at(t, c) *= value(gain).at(0, c);
  return push(std::move(y), [=, this](int self) {
    for (int64_t t = 0; t < g(self).rows; ++t)
      for (int64_t c = 0; c < g(self).cols; ++c) {
        g(x).at(t, c) += g(self).at(t, c) * m(value(gain).at(0, c));
        g(gain).at(0, c) += g(self).at(t, c) * m(value(x).at(t, c));
      }
  });
}

int Graph::gate(int x, const std::vector<double>& cols) {
  return push(value(x), [=, this](int self) {
    for (int64_t t = 0; t < g(self).rows; ++t)
      for (int64_t c = 0; c < g(self).cols; ++c) g(x).at(t, c) += m(cols[static_cast<size_t>(c)]) * g(self).at(t, c);
  });
}

int Graph::multiply(int a, int b) {
  Matrix y = value(a);
  for (size_t i = 0; i < y.v.size(); ++i) y.v[i] *= value(b).v[i];
  return push(std::move(y), [=, this](int self) {
    for (size_t i = 0; i < g(self).v.size(); ++i) {
      g(a).v[i] += g(self).v[i] * m(value(b).v[i]);
      g(b).v[i] += g(self).v[i] * m(value(a).v[i]);
    }
  });
}

int Graph::elementwise(int x, const std::function<double(double)>& f, const std::function<double(double)>& df) {
  Matrix y = value(x);
  for (double& e : y.v) e = f(e);
  return push(std::move(y), [=, this](int self) {
    for (size_t i = 0; i < g(self).v.size(); ++i) g(x).v[i] += g(self).v[i] * m(df(value(x).v[i]));
  });
}

int Graph::gelu(int x) {
  const double c = std::sqrt(2 / std::numbers::pi);
  const auto u = [c](double z) { return c * (z + 0.044715 * z * z * z); };
  return elementwise(
      x, [u](double z) { return 0.5 * z * (1 + std::tanh(u(z))); },
      [u, c](double z) {
        const double th = std::tanh(u(z));
        return 0.5 * (1 + th) + 0.5 * z * (1 - th * th) * c * (1 + 3 * 0.044715 * z * z);
      });
}

int Graph::silu(int x) {
  const auto sigmoid = [](double z) { return 1 / (1 + std::exp(-z)); };
  return elementwise(
      x, [=](double z) { return z * sigmoid(z); }, [=](double z) { return sigmoid(z) * (1 + z * (1 - sigmoid(z))); });
}

int Graph::gather(int table, const std::vector<int32_t>& index) {
  const int64_t n = static_cast<int64_t>(index.size()), d = value(table).cols;
  Matrix y(n, d);
  for (int64_t t = 0; t < n; ++t)
    for (int64_t c = 0; c < d; ++c) y.at(t, c) = value(table).at(index[static_cast<size_t>(t)], c);
  return push(std::move(y), [=, this](int self) {
    for (int64_t t = 0; t < n; ++t)
      for (int64_t c = 0; c < d; ++c) g(table).at(index[static_cast<size_t>(t)], c) += g(self).at(t, c);
  });
}

int Graph::rope(int x, int64_t heads, double base, int32_t start) {
  const int64_t n = value(x).rows, hd = value(x).cols / heads, half = hd / 2;
  const auto rotate = [=](const Matrix& from, Matrix& to, double sign, const auto& part) {
    for (int64_t t = 0; t < n; ++t)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t j = 0; j < half; ++j) {
          const double angle =
              static_cast<double>(t + start) * std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(hd));
          const double c = std::cos(angle), s = sign * std::sin(angle);
          const double a = from.at(t, h * hd + j), b = from.at(t, h * hd + half + j);
          to.at(t, h * hd + j) += a * part(c) + b * part(-s);
          to.at(t, h * hd + half + j) += b * part(c) + a * part(s);
        }
  };
  Matrix y(n, value(x).cols);
  rotate(value(x), y, 1, [](double d) { return d; });
  return push(std::move(y), [=, this](int self) { rotate(g(self), g(x), -1, [this](double d) { return m(d); }); });
}

int Graph::attention(int q, int k, int v, int64_t heads, int64_t kv_heads) {
  const int64_t n = value(q).rows, hd = value(q).cols / heads, share = heads / kv_heads;
  const double scale = 1 / std::sqrt(static_cast<double>(hd));
  Matrix y(n, value(q).cols);
  std::vector<Matrix> probability;
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t kh = h / share;
    Matrix p(n, n);
    for (int64_t t = 0; t < n; ++t) {
      double sum = 0;
      for (int64_t s = 0; s <= t; ++s) {
        double dot = 0;
        for (int64_t c = 0; c < hd; ++c) dot += value(q).at(t, h * hd + c) * value(k).at(s, kh * hd + c);
        p.at(t, s) = std::exp(dot * scale);
        sum += p.at(t, s);
      }
      for (int64_t s = 0; s <= t; ++s) {
        p.at(t, s) /= sum;
        for (int64_t c = 0; c < hd; ++c) y.at(t, h * hd + c) += p.at(t, s) * value(v).at(s, kh * hd + c);
      }
    }
    probability.push_back(std::move(p));
  }
  return push(std::move(y), [=, this](int self) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kh = h / share;
      const Matrix& p = probability[static_cast<size_t>(h)];
      for (int64_t t = 0; t < n; ++t) {
        std::vector<double> dp(static_cast<size_t>(t) + 1, 0.0);
        double mean = 0;
        for (int64_t s = 0; s <= t; ++s) {
          for (int64_t c = 0; c < hd; ++c) {
            dp[static_cast<size_t>(s)] += g(self).at(t, h * hd + c) * m(value(v).at(s, kh * hd + c));
            g(v).at(s, kh * hd + c) += g(self).at(t, h * hd + c) * p.at(t, s);
          }
          mean += dp[static_cast<size_t>(s)] * p.at(t, s);
        }
        for (int64_t s = 0; s <= t; ++s) {
          const double ds = p.at(t, s) * (dp[static_cast<size_t>(s)] + m(-1) * mean) * scale;
          for (int64_t c = 0; c < hd; ++c) {
            g(q).at(t, h * hd + c) += ds * m(value(k).at(s, kh * hd + c));
            g(k).at(s, kh * hd + c) += ds * m(value(q).at(t, h * hd + c));
          }
        }
      }
    }
  });
}

int Graph::nll(int logits, const std::vector<int32_t>& target) {
  const int64_t n = value(logits).rows, v = value(logits).cols;
  Matrix y(1, 1);
  Matrix d(n, v);
  for (int64_t t = 0; t < n; ++t) {
    const int32_t want = target[static_cast<size_t>(t)];
    if (want < 0) continue;
    double sum = 0;
    for (int64_t c = 0; c < v; ++c) sum += std::exp(value(logits).at(t, c));
    y.at(0, 0) += std::log(sum) - value(logits).at(t, want);
    for (int64_t c = 0; c < v; ++c) d.at(t, c) = std::exp(value(logits).at(t, c)) / sum - (c == want ? 1 : 0);
  }
  return push(std::move(y), [=, this](int self) {
    for (size_t i = 0; i < d.v.size(); ++i) g(logits).v[i] += g(self).at(0, 0) * m(d.v[i]);
  });
}

}  // namespace govtrain::reference
