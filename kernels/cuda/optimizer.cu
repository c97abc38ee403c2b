// Adam, AdamW and SGD as PyTorch documents them, element by element, as kernels/cpu/optimizer.cpp does them.
#include <cmath>

#include "kernels/cuda/pieces.h"

namespace govtrain::cuda {
namespace {

struct Adam {
  __device__ void operator()(const AdamPiece& p, int64_t i) const {
    const float x = load(p.at.data + i) * p.decay;
    float g = load(p.grad + i);
    if (p.l2 != 0.0f) g = __fmaf_rn(p.l2, x, g);
    const float mi = __fmaf_rn(p.rest1, g, p.beta1 * load(p.m + i));
    const float vi = __fmaf_rn(p.rest2, g * g, p.beta2 * load(p.v + i));
    const float denominator = __fmaf_rn(sqrtf(vi), p.root_scale, p.eps);
    store(p.m + i, mi);
    store(p.v + i, vi);
    store(p.at.data + i, __fmaf_rn(-p.step_size, mi / denominator, x));
  }
};

struct Sgd {
  __device__ void operator()(const SgdPiece& p, int64_t i) const {
    const float x = load(p.at.data + i);
    float g = load(p.grad + i);
    if (p.o.weight_decay != 0.0f) g = __fmaf_rn(p.o.weight_decay, x, g);
    if (p.o.momentum != 0.0f) {
      const float buffer = p.o.first ? g : __fmaf_rn(p.rest, g, p.o.momentum * load(p.momentum + i));
      store(p.momentum + i, buffer);
      g = p.o.nesterov ? __fmaf_rn(p.o.momentum, buffer, g) : buffer;
    }
    store(p.at.data + i, __fmaf_rn(-p.o.lr, g, x));
  }
};

}  // namespace

AdamPiece piece_of(const AdamUpdate& update) {
  const AdamOptions& o = update.options;
  const auto t = static_cast<double>(o.t);
  const double beta1 = o.beta1;
  const double beta2 = o.beta2;
  AdamPiece p{};
  p.at = update.value;
  p.grad = update.grad;
  p.m = update.m;
  p.v = update.v;
  p.beta1 = o.beta1;
  p.rest1 = static_cast<float>(1.0 - beta1);
  p.beta2 = o.beta2;
  p.rest2 = static_cast<float>(1.0 - beta2);
  p.eps = o.eps;
  p.l2 = o.decoupled ? 0.0f : o.weight_decay;
  p.decay = o.decoupled ? static_cast<float>(1.0 - double{o.lr} * double{o.weight_decay}) : 1.0f;
  p.step_size = static_cast<float>(double{o.lr} / (1.0 - std::pow(beta1, t)));
  p.root_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
  return p;
}

SgdPiece piece_of(const SgdUpdate& update) {
  return {update.value, update.grad, update.momentum, update.options, 1.0f - update.options.dampening};
}

void adam(const Pieces<AdamPiece>& pieces, Stream stream) { for_pieces("adam", pieces, Adam{}, stream); }
void sgd(const Pieces<SgdPiece>& pieces, Stream stream) { for_pieces("sgd", pieces, Sgd{}, stream); }

}  // namespace govtrain::cuda
