// Second half of a contraction whose examples were spread: weighs the sum of each example and adds it to the gradient,
// in example order, with the same fused multiply-adds as a block that walks over all of them.
#include "kernels/cuda/contract_common.h"
#include "kernels/cuda/map.h"

namespace govtrain::cuda {
namespace {

struct AddSpread {
  const float* spread;    // [count, rows, cols]
  const float* weight;    // [count]
  const float* withheld;  // [count] or null
  MutView grad, withheld_grad;
  int64_t count;

  __device__ void operator()(int64_t r, int64_t c) const {
    float sum = element(grad, r, c);
    float kept = withheld == nullptr ? 0.0f : element(withheld_grad, r, c);
    for (int64_t e = 0; e < count; ++e) {
      const float w = load(weight + e);
      const float k = withheld == nullptr ? 0.0f : load(withheld + e);
      if (w == 0.0f && k == 0.0f) continue;
      const float part = load(spread + (e * grad.rows + r) * grad.cols + c);
      if (w != 0.0f) sum = __fmaf_rn(w, part, sum);
      if (k != 0.0f) kept = __fmaf_rn(k, part, kept);
    }
    put(grad, r, c, sum);
    if (withheld != nullptr) put(withheld_grad, r, c, kept);
  }
};

}  // namespace

void add_spread(const OuterContraction& c, int count, Stream stream) {
  const AddSpread op{c.spread, c.weight + c.first, c.withheld == nullptr ? nullptr : c.withheld + c.first,
                     c.grad,   c.withheld_grad,    count};
  map("add_spread", op, c.grad.rows, c.grad.cols, stream);
}

}  // namespace govtrain::cuda
