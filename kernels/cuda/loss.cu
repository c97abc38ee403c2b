// Fused softmax cross-entropy: a block per row, in place. exp has the bits of the CPU backend; its sum is in double.
#include "kernels/cuda/map.h"
#include "kernels/cuda/math.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;

struct Loss {
  MutView logits;
  const int32_t* target;
  bool gradient;
  double* row_nll;
  float* row_loss;  // null: not wanted
};

__global__ void __launch_bounds__(kThreads) loss_kernel(Loss l) {
  __shared__ SharedArray<float, kWarps> tops;
  __shared__ SharedArray<double, kWarps> sums;
  const int t = static_cast<int>(threadIdx.x);
  const int64_t n = l.logits.cols;
  for (int64_t r = blockIdx.x; r < l.logits.rows; r += gridDim.x) {
    const int32_t target = load(l.target + r);
    double nll = 0.0;
    if (target < 0) {
      for (int64_t c = t; l.gradient && c < n; c += kThreads) put(l.logits, r, c, 0.0f);
    } else {
      const float at_target = element(l.logits, r, target);
      float top = element(l.logits, r, 0);
      float finite = 0.0f;  // stays 0 for finite values only, as max and exp lose a NaN
      for (int64_t c = t; c < n; c += kThreads) {
        const float v = element(l.logits, r, c);
        finite = __fmaf_rn(v, 0.0f, finite);
        top = v > top ? v : top;
      }
      top = max_over_block(top, tops.span(), kWarps);
      auto sum = static_cast<double>(finite);
      for (int64_t c = t; c < n; c += kThreads) sum += static_cast<double>(exp_bits(element(l.logits, r, c) - top));
      const double total = sum_over_block(sum, sums.span(), kWarps);
      nll = log(total) + (static_cast<double>(top) - static_cast<double>(at_target));
      const auto scale = static_cast<float>(1.0 / total);
      for (int64_t c = t; l.gradient && c < n; c += kThreads) {
        const float p = exp_bits(element(l.logits, r, c) - top) * scale;
        put(l.logits, r, c, c == target ? p - 1.0f : p);
      }
    }
    if (t != 0) continue;
    store(l.row_nll + r, nll);
    if (l.row_loss != nullptr) store(l.row_loss + r, static_cast<float>(nll));
  }
}

// "Column" e is an example: its rows in order.
struct SumRows {
  const double* row_nll;
  const int32_t* offsets;
  double* loss;
  __device__ void operator()(int64_t, int64_t e) const {
    const int end = load(offsets + e + 1);
    double sum = 0.0;
    for (int r = load(offsets + e); r < end; ++r) sum += load(row_nll + r);
    store(loss + e, sum);
  }
};

}  // namespace

void cross_entropy(MutView logits, const int32_t* target, bool gradient, double* row_nll, float* row_loss,
                   Stream stream) {
  if (logits.rows == 0) return;
  launch("cross_entropy", loss_kernel, static_cast<unsigned>(logits.rows), kThreads, 0, stream,
         Loss{logits, target, gradient, row_nll, row_loss});
}

void sum_examples(const double* row_nll, const int32_t* offsets, int examples, double* loss, Stream stream) {
  map("sum_examples", SumRows{row_nll, offsets, loss}, 1, examples, stream);
}

}  // namespace govtrain::cuda
