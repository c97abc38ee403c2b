// LayerNorm and RMSNorm, row by row; the gradients of gain and bias are parameter gradients (contract_vector.cpp).
// A row's sums run in vector lanes and then over the lanes, in an order that the width alone decides.
#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

void LayerNormRow(const float* x, const float* gain, const float* bias, int64_t d, float eps, float* y, float* mean,
                  float* rstd) {
  V sum = hn::Zero(kD);
  for_vectors(d, [&](int64_t j, int64_t n) { sum = hn::Add(sum, load_n(x + j, n)); });
  const float mu = sum_lanes(sum) / static_cast<float>(d);
  const V vmu = hn::Set(kD, mu);
  V squares = hn::Zero(kD);
  for_vectors(d, [&](int64_t j, int64_t n) {
    const V c = keep_n(hn::Sub(load_n(x + j, n), vmu), n);
    squares = hn::MulAdd(c, c, squares);
  });
  const float r = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(d) + eps);
  const V vr = hn::Set(kD, r);
  for_vectors(d, [&](int64_t j, int64_t n) {
    const V hat = hn::Mul(hn::Sub(load_n(x + j, n), vmu), vr);
    const V g = load_n(gain + j, n);
    store_n(bias == nullptr ? hn::Mul(hat, g) : hn::MulAdd(hat, g, load_n(bias + j, n)), y + j, n);
  });
  *mean = mu;
  *rstd = r;
}

void RmsNormRow(const float* x, const float* gain, int64_t d, float eps, float* y, float* rstd) {
  V squares = hn::Zero(kD);
  for_vectors(d, [&](int64_t j, int64_t n) {
    const V c = load_n(x + j, n);
    squares = hn::MulAdd(c, c, squares);
  });
  const float r = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(d) + eps);
  const V vr = hn::Set(kD, r);
  for_vectors(
      d, [&](int64_t j, int64_t n) { store_n(hn::Mul(hn::Mul(load_n(x + j, n), vr), load_n(gain + j, n)), y + j, n); });
  *rstd = r;
}

// dx (+)= rstd * (g - mean(g) - hat * mean(g * hat)), g = dy * gain; without `centred` the mean(g) term is absent.
void NormDxRow(const float* dy, const float* x, const float* gain, int64_t d, float mean, float rstd, bool centred,
               bool add, float* dx) {
  const V vmu = hn::Set(kD, mean);
  const V vr = hn::Set(kD, rstd);
  V sum = hn::Zero(kD);
  V dot = hn::Zero(kD);
  for_vectors(d, [&](int64_t j, int64_t n) {
    const V g = hn::Mul(load_n(dy + j, n), load_n(gain + j, n));
    const V hat = hn::Mul(hn::Sub(load_n(x + j, n), vmu), vr);
    sum = hn::Add(sum, g);
    dot = hn::MulAdd(g, hat, dot);
  });
  const V m0 = hn::Set(kD, centred ? sum_lanes(sum) / static_cast<float>(d) : 0.0f);
  const V m1 = hn::Set(kD, sum_lanes(dot) / static_cast<float>(d));
  for_vectors(d, [&](int64_t j, int64_t n) {
    const V g = hn::Mul(load_n(dy + j, n), load_n(gain + j, n));
    const V hat = hn::Mul(hn::Sub(load_n(x + j, n), vmu), vr);
    const V v = hn::Mul(vr, hn::NegMulAdd(hat, m1, hn::Sub(g, m0)));
    store_n(add ? hn::Add(load_n(dx + j, n), v) : v, dx + j, n);
  });
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(LayerNormRow);
HWY_EXPORT(RmsNormRow);
HWY_EXPORT(NormDxRow);

void layer_norm(View x, std::span<const float> gain, std::span<const float> bias, float eps, MutView y,
                std::span<float> mean, std::span<float> rstd) {
  assert(static_cast<int64_t>(gain.size()) == x.cols && static_cast<int64_t>(rstd.size()) == x.rows);
  for_ranges(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      HWY_DYNAMIC_DISPATCH(LayerNormRow)
      (x.row(t), gain.data(), bias.empty() ? nullptr : bias.data(), x.cols, eps, y.row(t), mean.data() + t,
       rstd.data() + t);
    }
  });
}

void layer_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> mean,
                   std::span<const float> rstd, MutView dx, bool add) {
  for_ranges(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const auto i = static_cast<size_t>(t);
      HWY_DYNAMIC_DISPATCH(NormDxRow)
      (dy.row(t), x.row(t), gain.data(), x.cols, mean[i], rstd[i], true, add, dx.row(t));
    }
  });
}

void rms_norm(View x, std::span<const float> gain, float eps, MutView y, std::span<float> rstd) {
  assert(static_cast<int64_t>(gain.size()) == x.cols && static_cast<int64_t>(rstd.size()) == x.rows);
  for_ranges(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      HWY_DYNAMIC_DISPATCH(RmsNormRow)(x.row(t), gain.data(), x.cols, eps, y.row(t), rstd.data() + t);
    }
  });
}

void rms_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> rstd, MutView dx, bool add) {
  for_ranges(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      HWY_DYNAMIC_DISPATCH(NormDxRow)
      (dy.row(t), x.row(t), gain.data(), x.cols, 0.0f, rstd[static_cast<size_t>(t)], false, add, dx.row(t));
    }
  });
}

}  // namespace govtrain::cpu
#endif
