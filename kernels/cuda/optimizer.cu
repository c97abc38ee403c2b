// Adam, AdamW and SGD as PyTorch documents them, element by element, as kernels/cpu/optimizer.cpp does them.
#include <cmath>

#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

struct Adam {
  float* value;
  const float* grad;
  float* m;
  float* v;
  float beta1, rest1, beta2, rest2, eps;
  float l2;          // added to the gradient, times the value
  float decay;       // the value is multiplied by it first (1: none)
  float step_size;   // lr / (1 - beta1^t)
  float root_scale;  // 1 / sqrt(1 - beta2^t)
  __device__ void operator()(int64_t, int64_t i) const {
    const float x = load(value + i) * decay;
    float g = load(grad + i);
    if (l2 != 0.0f) g = __fmaf_rn(l2, x, g);
    const float mi = __fmaf_rn(rest1, g, beta1 * load(m + i));
    const float vi = __fmaf_rn(rest2, g * g, beta2 * load(v + i));
    const float denominator = __fmaf_rn(sqrtf(vi), root_scale, eps);
    store(m + i, mi);
    store(v + i, vi);
    store(value + i, __fmaf_rn(-step_size, mi / denominator, x));
  }
};

struct Sgd {
  float* value;
  const float* grad;
  float* momentum;
  SgdOptions o;
  float rest;  // 1 - dampening
  __device__ void operator()(int64_t, int64_t i) const {
    const float x = load(value + i);
    float g = load(grad + i);
    if (o.weight_decay != 0.0f) g = __fmaf_rn(o.weight_decay, x, g);
    if (o.momentum != 0.0f) {
      const float buffer = o.first ? g : __fmaf_rn(rest, g, o.momentum * load(momentum + i));
      store(momentum + i, buffer);
      g = o.nesterov ? __fmaf_rn(o.momentum, buffer, g) : buffer;
    }
    store(value + i, __fmaf_rn(-o.lr, g, x));
  }
};

}  // namespace

void adam(float* value, const float* grad, float* m, float* v, int64_t n, const AdamOptions& o, cudaStream_t stream) {
  const auto t = static_cast<double>(o.t);
  const double beta1 = o.beta1;
  const double beta2 = o.beta2;
  Adam step;
  step.value = value;
  step.grad = grad;
  step.m = m;
  step.v = v;
  step.beta1 = o.beta1;
  step.rest1 = static_cast<float>(1.0 - beta1);
  step.beta2 = o.beta2;
  step.rest2 = static_cast<float>(1.0 - beta2);
  step.eps = o.eps;
  step.l2 = o.decoupled ? 0.0f : o.weight_decay;
  step.decay = o.decoupled ? static_cast<float>(1.0 - double{o.lr} * double{o.weight_decay}) : 1.0f;
  step.step_size = static_cast<float>(double{o.lr} / (1.0 - std::pow(beta1, t)));
  step.root_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
  map("adam", step, 1, n, stream);
}

void sgd(float* value, const float* grad, float* momentum, int64_t n, const SgdOptions& o, cudaStream_t stream) {
  map("sgd", Sgd{value, grad, momentum, o, 1.0f - o.dampening}, 1, n, stream);
}

}  // namespace govtrain::cuda
