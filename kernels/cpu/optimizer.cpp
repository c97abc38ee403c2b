// Adam, AdamW and SGD as PyTorch documents them, element by element: no sum, so no order to keep.
#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

#ifndef GOVTRAIN_OPTIMIZER_ADAM_STEP
#define GOVTRAIN_OPTIMIZER_ADAM_STEP
namespace govtrain::cpu {

// The scalars of one Adam step, from double.
struct AdamStep {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  float l2;          // added to the gradient, times the value
  float decay;       // the value is multiplied by it first (1: none)
  float step_size;   // lr / (1 - beta1^t)
  float root_scale;  // 1 / sqrt(1 - beta2^t)
};

}  // namespace govtrain::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

void AdamRange(const AdamStep& s, int64_t size, float* value, const float* grad, float* m, float* v) {
  const V beta1 = hn::Set(kD, s.beta1);
  const V rest1 = hn::Set(kD, s.one_minus_beta1);
  const V beta2 = hn::Set(kD, s.beta2);
  const V rest2 = hn::Set(kD, s.one_minus_beta2);
  const V eps = hn::Set(kD, s.eps);
  const V l2 = hn::Set(kD, s.l2);
  const V decay = hn::Set(kD, s.decay);
  const V step_size = hn::Set(kD, s.step_size);
  const V root_scale = hn::Set(kD, s.root_scale);
  for_vectors(size, [&](int64_t j, int64_t n) {
    V x = hn::Mul(load_n(value + j, n), decay);
    V g = load_n(grad + j, n);
    if (s.l2 != 0.0f) g = hn::MulAdd(l2, x, g);
    const V mj = hn::MulAdd(rest1, g, hn::Mul(beta1, load_n(m + j, n)));
    const V vj = hn::MulAdd(rest2, hn::Mul(g, g), hn::Mul(beta2, load_n(v + j, n)));
    const V denominator = hn::MulAdd(hn::Sqrt(vj), root_scale, eps);
    x = hn::NegMulAdd(step_size, hn::Div(mj, denominator), x);
    store_n(mj, m + j, n);
    store_n(vj, v + j, n);
    store_n(x, value + j, n);
  });
}

void SgdRange(const SgdOptions& o, int64_t size, float* value, const float* grad, float* momentum) {
  const V decay = hn::Set(kD, o.weight_decay);
  const V mu = hn::Set(kD, o.momentum);
  const V rest = hn::Set(kD, 1.0f - o.dampening);
  const V lr = hn::Set(kD, o.lr);
  for_vectors(size, [&](int64_t j, int64_t n) {
    const V x = load_n(value + j, n);
    V g = load_n(grad + j, n);
    if (o.weight_decay != 0.0f) g = hn::MulAdd(decay, x, g);
    if (o.momentum != 0.0f) {
      const V buffer = o.first ? g : hn::MulAdd(rest, g, hn::Mul(mu, load_n(momentum + j, n)));
      store_n(buffer, momentum + j, n);
      g = o.nesterov ? hn::MulAdd(mu, buffer, g) : buffer;
    }
    store_n(hn::NegMulAdd(lr, g, x), value + j, n);
  });
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(AdamRange);
HWY_EXPORT(SgdRange);

namespace {
constexpr int64_t kGrain = 16384;
}

void adam(std::span<float> value, std::span<const float> grad, std::span<float> m, std::span<float> v,
          const AdamOptions& o) {
  assert(grad.size() == value.size() && m.size() == value.size() && v.size() == value.size() && o.t >= 1);
  const auto t = static_cast<double>(o.t);
  const double beta1 = o.beta1;
  const double beta2 = o.beta2;
  AdamStep s;
  s.beta1 = o.beta1;
  s.one_minus_beta1 = static_cast<float>(1.0 - beta1);
  s.beta2 = o.beta2;
  s.one_minus_beta2 = static_cast<float>(1.0 - beta2);
  s.eps = o.eps;
  s.l2 = o.decoupled ? 0.0f : o.weight_decay;
  s.decay = o.decoupled ? static_cast<float>(1.0 - double{o.lr} * double{o.weight_decay}) : 1.0f;
  s.step_size = static_cast<float>(double{o.lr} / (1.0 - std::pow(beta1, t)));
  s.root_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
  for_ranges(static_cast<int64_t>(value.size()), kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AdamRange)
    (s, end - begin, value.data() + begin, grad.data() + begin, m.data() + begin, v.data() + begin);
  });
}

void sgd(std::span<float> value, std::span<const float> grad, std::span<float> momentum, const SgdOptions& o) {
  assert(grad.size() == value.size() && (o.momentum == 0.0f || momentum.size() == value.size()));
  for_ranges(static_cast<int64_t>(value.size()), kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(SgdRange)
    (o, end - begin, value.data() + begin, grad.data() + begin, o.momentum == 0.0f ? nullptr : momentum.data() + begin);
  });
}

}  // namespace govtrain::cpu
#endif
