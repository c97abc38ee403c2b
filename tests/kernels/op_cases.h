// How to add an op: write one function below that returns its OpCase (ports, kernel call, double reference, backward),
// and one line per shape in op_cases(). op_cases_test.cpp then runs, under every instruction set of the CPU and (in
// tests/cuda) on the emulated device: forward against the reference, gradients against central differences of the
// reference, isolation and batch invariance, repeatability for 1, 2 and 5 threads or any schedule, and guards around
// every buffer. Views are the backend's memory: the helpers of op_case.h move values.
//
// Inputs are uniform on [-1, 1). Tolerances: a sum of n terms rounded in float32 errs by at most about 4 sqrt(n) u M
// with u = 2^-24 and M the sum of the terms' magnitudes (Higham and Mary 2019, probabilistic bound with lambda = 4);
// chain(n, M) is that. Each line states its n and M for the worst element.
#pragma once

#include "core/buffer.h"
#include "core/rng.h"
#include "tests/kernels/op_case.h"

namespace govtrain::test {

inline OpCase linear_case(int64_t d, int64_t p, bool with_bias) {
  const auto nd = static_cast<double>(d);
  OpCase c;
  c.name = "linear " + std::to_string(d) + "->" + std::to_string(p) + (with_bias ? " bias" : "");
  c.inputs = {{0, d}, {p, d}, {1, p}};
  c.outputs = {{0, p}};
  c.forward = [=](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    k.linear(in[0], in[1], with_bias ? row_of(in[2]) : std::span<const float>(), out[0]);
  };
  c.truth = [=](const Batch&, const std::vector<Matrix>& in) {
    return std::vector{reference::linear(in[0], in[1], with_bias ? in[2] : Matrix())};
  };
  c.tolerance = chain(nd + 1, 0.5 * nd + 1);
  c.products = 0.5 * nd + 1;
  c.backward = [=](Backend& k, const Batch&, const Views& in, const Views&, View dout, const MutViews& din) {
    k.linear_dx(dout, in[1], din[0], false);
    plain(k, outer(dout, in[0]), din[1]);
    if (with_bias) plain(k, bias(dout), din[2]);
  };
  // dx sums p terms, dw and db one term per row of the batch (at most 133).
  const auto terms = static_cast<double>(std::max<int64_t>(p, 133));
  c.grad_tolerance = chain(terms, 0.5 * terms + 1);
  c.grad_products = 0.5 * terms + 1;
  return c;
}

// dx += dy w: the third input is what stands in dx before.
inline OpCase linear_dx_add_case(int64_t d, int64_t p) {
  OpCase c;
  c.name = "linear_dx add " + std::to_string(p) + "->" + std::to_string(d);
  c.inputs = {{0, p}, {p, d}, {0, d}};
  c.outputs = {{0, d}};
  c.forward = [](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    copy(k, in[2], out[0]);
    k.linear_dx(in[0], in[1], out[0], true);
  };
  c.truth = [](const Batch&, const std::vector<Matrix>& in) {
    Matrix wt(in[1].cols, in[1].rows);
    for (int64_t i = 0; i < wt.rows; ++i) {
      for (int64_t j = 0; j < wt.cols; ++j) wt.at(i, j) = in[1].at(j, i);
    }
    return std::vector{reference::add(reference::linear(in[0], wt, Matrix()), in[2])};
  };
  c.tolerance = chain(static_cast<double>(p) + 1, 0.5 * static_cast<double>(p) + 1);
  c.products = 0.5 * static_cast<double>(p) + 1;
  return c;
}

inline OpCase attention_case(int heads, int kv_heads, int64_t hd) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(hd));
  OpCase c;
  c.name = "attention " + std::to_string(heads) + "/" + std::to_string(kv_heads) + "x" + std::to_string(hd);
  c.inputs = {{0, heads * hd}, {0, kv_heads * hd}, {0, kv_heads * hd}};
  c.outputs = {{0, heads * hd}, {0, heads}};
  c.forward = [=](Backend& k, const Batch& b, const Views& in, const MutViews& out) {
    k.attention(in[0], in[1], in[2], b.rows, heads, kv_heads, static_cast<float>(scale), out[0], out[1]);
  };
  c.truth = [=](const Batch& b, const std::vector<Matrix>& in) {
    auto r = reference::attention(in[0], in[1], in[2], b.rows, heads, kv_heads,
                                  static_cast<double>(static_cast<float>(scale)));
    return std::vector{r.out, r.lse};
  };
  // Scores err by chain(hd, scale hd / 2), which is their relative effect on a probability; the outputs are means of
  // values below 1, summed over at most 389 keys; lse is at most log(389) + sqrt(hd).
  const auto n = static_cast<double>(hd);
  c.tolerance = 2 * chain(n, scale * 0.5 * n + 1) + chain(400, 1) + 8 * 0x1p-24 * (6 + std::sqrt(n));
  // Rounded operands, a wide bound (tests/cuda/attention_test.cpp has the tight one): the n terms of a score err
  // independently, each by its magnitude, 1/3 in the root mean square: 4 sqrt(n) scale / 3 = 4/3. Twice that is the
  // relative error of a probability; it and its value are rounded again.
  const double score = 4.0 / 3.0;
  c.products = 2 * score + 1;
  c.backward = [=](Backend& k, const Batch& b, const Views& in, const Views& out, View dout, const MutViews& din) {
    k.attention_backward(in[0], in[1], in[2], out[0], out[1], dout, b.rows, heads, kv_heads, static_cast<float>(scale),
                         din[0], din[1], din[2]);
  };
  // dv sums p dout over at most 130 rows of each of the group's heads; dp = dout v^T is at most about hd / 2.
  c.grad_tolerance = chain(n, scale * 0.5 * n + 1) * n + chain(130.0 * heads / kv_heads, n);
  // A gradient scale p (dp - delta), where scale |dp| and scale |delta| are at most 4/3 in the same sense: p errs as
  // above, dp by 4/3, delta by that and what p makes of it, and the result is rounded. dk sums it over the rows that
  // see a key, each with p about 1 / (its position + 1), in quadrature 1.3, and over the heads of its group.
  c.grad_products = (4 * score * score + score + (2 * score * score + score) + 2 * score) * 1.3 *
                    std::sqrt(static_cast<double>(heads) / kv_heads);
  return c;
}

inline OpCase rope_case(int heads, int hd) {
  OpCase c;
  c.name = "rope " + std::to_string(heads) + "x" + std::to_string(hd);
  c.inputs = {{0, int64_t{heads} * hd}};
  c.outputs = {{0, int64_t{heads} * hd}};
  const auto rotate = [=](Backend& k, const Batch& b, View x, MutView y, int direction) {
    copy(k, x, y);
    k.rope(y, b.rows, b.starts(), hd, 10000.0f, direction);
  };
  c.forward = [=](Backend& k, const Batch& b, const Views& in, const MutViews& out) { rotate(k, b, in[0], out[0], 1); };
  c.truth = [=](const Batch& b, const std::vector<Matrix>& in) {
    return std::vector{reference::rope(in[0], b.rows, b.starts(), hd, 10000.0)};
  };
  c.tolerance = chain(2, 2);  // two products; cos and sin rounded once
  c.backward = [=](Backend& k, const Batch& b, const Views&, const Views&, View dout, const MutViews& din) {
    rotate(k, b, dout, din[0], -1);
  };
  c.grad_tolerance = chain(2, 2);
  return c;
}

inline OpCase norm_case(int64_t d, bool layer) {
  OpCase c;
  c.name = (layer ? "layer_norm " : "rms_norm ") + std::to_string(d);
  c.inputs = {{0, d}, {1, d}, {1, d}};
  c.outputs = {{0, d}, {0, 1}, {0, 1}};  // y, mean, rstd
  const float eps = 0.05f;               // large enough to matter
  c.forward = [=](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    if (layer) {
      k.layer_norm(in[0], row_of(in[1]), row_of(in[2]), eps, out[0], column_of(out[1]), column_of(out[2]));
    } else {
      k.rms_norm(in[0], row_of(in[1]), eps, out[0], column_of(out[2]));
    }
  };
  c.truth = [=](const Batch&, const std::vector<Matrix>& in) {
    const auto e = static_cast<double>(eps);
    return std::vector{layer ? reference::layer_norm(in[0], in[1], in[2], e) : reference::rms_norm(in[0], in[1], e)};
  };
  // rstd <= 1/sqrt(eps) = 4.5: |hat| <= 9; mean and variance are sums of d terms.
  const auto nd = static_cast<double>(d);
  c.tolerance = chain(nd + 8, 9);
  c.backward = [=](Backend& k, const Batch&, const Views& in, const Views& out, View dout, const MutViews& din) {
    const auto rstd = column_of(out[2]);
    if (layer) {
      k.layer_norm_dx(dout, in[0], row_of(in[1]), column_of(out[1]), rstd, din[0], false);
      plain(k, bias(dout), din[2]);
    } else {
      k.rms_norm_dx(dout, in[0], row_of(in[1]), rstd, din[0], false);
    }
    plain(k, gain(dout, in[0], layer ? out[1].data : nullptr, rstd.data()), din[1]);
  };
  c.grad_tolerance = chain(nd + 8, 4.5 * 20) + chain(133, 133);  // dx: rstd * (g + hat mean(g hat)); gain: 133 rows
  return c;
}

inline OpCase activation_case(Activation kind, int64_t d) {
  OpCase c;
  c.name = std::string(kind == Activation::gelu ? "gelu " : "silu ") + std::to_string(d);
  c.inputs = {{0, d}};
  c.outputs = {{0, d}};
  c.forward = [=](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    k.activation(kind, in[0], out[0]);
  };
  c.truth = [=](const Batch&, const std::vector<Matrix>& in) {
    return std::vector{kind == Activation::gelu ? reference::gelu(in[0]) : reference::silu(in[0])};
  };
  c.tolerance = chain(8, 1);  // about eight roundings, values below 1
  c.backward = [=](Backend& k, const Batch&, const Views& in, const Views&, View dout, const MutViews& din) {
    k.activation_dx(kind, dout, in[0], din[0]);
  };
  c.grad_tolerance = chain(12, 2);
  return c;
}

inline OpCase gated_case(Activation kind, int64_t d) {
  OpCase c;
  c.name = std::string("gated ") + (kind == Activation::gelu ? "gelu " : "silu ") + std::to_string(d);
  c.inputs = {{0, d}, {0, d}};
  c.outputs = {{0, d}};
  c.forward = [=](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    k.gated(kind, in[0], in[1], out[0]);
  };
  c.truth = [=](const Batch&, const std::vector<Matrix>& in) {
    return std::vector{
        reference::multiply(kind == Activation::gelu ? reference::gelu(in[0]) : reference::silu(in[0]), in[1])};
  };
  c.tolerance = chain(9, 1);
  c.backward = [=](Backend& k, const Batch&, const Views& in, const Views&, View dout, const MutViews& din) {
    k.gated_dx(kind, dout, in[0], in[1], din[0], din[1]);
  };
  c.grad_tolerance = chain(13, 2);
  return c;
}

inline OpCase add_case(int64_t d) {
  OpCase c;
  c.name = "add " + std::to_string(d);
  c.inputs = {{0, d}, {0, d}};
  c.outputs = {{0, d}, {0, d}};  // add, accumulate
  c.forward = [](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    k.add(in[0], in[1], out[0]);
    copy(k, in[0], out[1]);
    k.accumulate(in[1], out[1]);
  };
  c.truth = [](const Batch&, const std::vector<Matrix>& in) {
    const Matrix sum = reference::add(in[0], in[1]);
    return std::vector{sum, sum};
  };
  c.tolerance = chain(1, 2);
  return c;
}

inline OpCase scale_rows_case(int64_t d) {
  OpCase c;
  c.name = "scale_rows " + std::to_string(d);
  c.inputs = {{0, d}, {0, 1}};
  c.outputs = {{0, d}};
  c.forward = [](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    k.scale_rows(in[0], values(k, in[1]), out[0]);
  };
  c.truth = [](const Batch&, const std::vector<Matrix>& in) {
    Matrix y = in[0];
    for (int64_t t = 0; t < y.rows; ++t) {
      for (int64_t j = 0; j < y.cols; ++j) y.at(t, j) *= in[1].at(t, 0);
    }
    return std::vector{y};
  };
  c.tolerance = chain(1, 1);
  return c;
}

// The mask drawn value by value from core/rng.h is the truth.
inline OpCase dropout_case(int64_t d, float rate) {
  OpCase c;
  c.name = "dropout " + std::to_string(d);
  c.inputs = {{0, d}};
  c.outputs = {{0, d}};
  const auto drop = [=](Backend& k, const Batch& b, View x, MutView y) {
    k.dropout(x, b.rows, {7, 11, 3, b.ids}, rate, y);
  };
  c.forward = [=](Backend& k, const Batch& b, const Views& in, const MutViews& out) { drop(k, b, in[0], out[0]); };
  c.truth = [=](const Batch& b, const std::vector<Matrix>& in) {
    Matrix y = in[0];
    for (int e = 0; e < b.rows.examples(); ++e) {
      const uint64_t id = b.ids[static_cast<size_t>(e)] ^ 4u * 0x9E3779B97F4A7C15u;
      const Rng rng(7, Stream::dropout, 11, id);
      for (int t = b.rows.begin(e); t < b.rows.end(e); ++t) {
        for (int64_t j = 0; j < d; ++j) {
          const bool kept = rng.uniform(static_cast<uint64_t>((t - b.rows.begin(e)) * d + j)) >= rate;
          y.at(t, j) *= kept ? 1.0 / (1.0 - static_cast<double>(rate)) : 0.0;
        }
      }
    }
    return std::vector{y};
  };
  c.tolerance = chain(2, 2);
  c.backward = [=](Backend& k, const Batch& b, const Views&, const Views&, View dout, const MutViews& din) {
    drop(k, b, dout, din[0]);
  };
  c.grad_tolerance = chain(2, 2);
  return c;
}

inline OpCase embedding_case(int64_t n, int64_t d) {
  OpCase c;
  c.name = "embedding " + std::to_string(n) + "x" + std::to_string(d);
  c.inputs = {{n, d}, {0, 1}};
  c.outputs = {{0, d}};
  c.forward = [=](Backend& k, const Batch&, const Views& in, const MutViews& out) {
    k.embedding(in[0], indices(k, in[1], n), out[0], false);
    k.embedding(in[0], indices(k, in[1], n), out[0], true);
  };
  c.truth = [=](const Batch&, const std::vector<Matrix>& in) {
    const Matrix once = reference::embedding(in[0], indices(in[1], n));
    return std::vector{reference::add(once, once)};
  };
  c.tolerance = 0.0;
  c.backward = [=](Backend& k, const Batch&, const Views& in, const Views&, View dout, const MutViews& din) {
    const auto index = indices(k, in[1], n);
    plain(k, scatter(dout, index.data()), din[0]);
    k.accumulate(din[0], din[0]);
  };
  c.grad_tolerance = chain(133, 133);
  return c;
}

// Output: the loss per row. About one row in eight does not count. The gradient kernel works in place and unscaled, so
// dout multiplies its rows here.
inline OpCase cross_entropy_case(int64_t v) {
  OpCase c;
  c.name = "cross_entropy " + std::to_string(v);
  c.inputs = {{0, v}, {0, 1}};
  c.outputs = {{0, 1}};
  const auto counted = [](std::vector<int32_t> y) {
    for (int32_t& t : y) t = t % 8 == 5 ? -1 : t;
    return y;
  };
  const auto run = [=](Backend& k, const Batch& b, View x, View port, MutView logits, std::span<float> row_loss,
                       bool gradient) {
    copy(k, x, logits);
    const std::vector<double> zeros(static_cast<size_t>(b.rows.examples()), 0.0);
    const Buffer<double> loss(zeros, k.allocator());
    k.cross_entropy(logits, counted(indices(k, port, v)), b.rows, gradient, loss.span(), row_loss);
  };
  c.forward = [=](Backend& k, const Batch& b, const Views& in, const MutViews& out) {
    const Tensor logits(in[0].rows, v, k.allocator());
    run(k, b, in[0], in[1], logits.view(), column_of(out[0]), false);
  };
  c.truth = [=](const Batch&, const std::vector<Matrix>& in) {
    return std::vector{reference::cross_entropy(in[0], counted(indices(in[1], v)))};
  };
  const double top = std::log(static_cast<double>(v)) + 2;
  c.tolerance = chain(20, top);  // exp within 1 ulp, lane sums of 64 terms, log and the difference in double
  c.backward = [=](Backend& k, const Batch& b, const Views& in, const Views&, View dout, const MutViews& din) {
    run(k, b, in[0], in[1], din[0], {}, true);
    k.scale_rows(din[0], values(k, dout), din[0]);
  };
  c.grad_tolerance = chain(20, 1);
  return c;
}

inline std::vector<OpCase> op_cases() {
  using enum Activation;
  return {
      linear_case(1, 1, true),
      linear_case(16, 7, false),
      linear_case(64, 33, true),
      linear_case(200, 70, true),
      linear_case(300, 50, false),
      linear_case(600, 13, true),
      linear_dx_add_case(33, 65),
      linear_dx_add_case(192, 300),
      attention_case(1, 1, 8),
      attention_case(4, 2, 32),
      attention_case(6, 6, 32),
      attention_case(3, 1, 20),
      attention_case(2, 1, 64),
      attention_case(2, 2, 100),
      rope_case(1, 2),
      rope_case(3, 20),
      rope_case(2, 64),
      norm_case(1, true),
      norm_case(37, true),
      norm_case(192, true),
      norm_case(1, false),
      norm_case(37, false),
      norm_case(192, false),
      activation_case(gelu, 5),
      activation_case(gelu, 100),
      activation_case(silu, 33),
      gated_case(silu, 65),
      gated_case(gelu, 16),
      add_case(1),
      add_case(77),
      scale_rows_case(50),
      dropout_case(1, 0.5f),
      dropout_case(7, 0.1f),
      dropout_case(64, 0.25f),
      dropout_case(101, 0.3f),
      embedding_case(9, 5),
      embedding_case(300, 192),
      cross_entropy_case(1),
      cross_entropy_case(19),
      cross_entropy_case(1500),
  };
}

}  // namespace govtrain::test
