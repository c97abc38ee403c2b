// Parameter gradients of scatter factors alone (an untied embedding). A block takes one index and a range of columns:
// it walks over the runs of that index in example order, so that the gradient has one writer and the CPU's order of
// sums. The square of a run goes to scratch; an example's norm is the sum over its runs in index order.
#include "kernels/cuda/map.h"
#include "kernels/cuda/math.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;

__global__ void __launch_bounds__(kThreads) contract_scatter_kernel(ScatterContraction c) {
  __shared__ SharedArray<double, kWarps> part;
  const int64_t col = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  const bool inside = col < c.grad.cols;
  for (int s = static_cast<int>(blockIdx.x); s < c.segment_count; s += static_cast<int>(gridDim.x)) {
    const int first = load(&c.segments[s].begin);
    const int last = load(&c.segments[s].end);
    if (first == last) continue;
    const int64_t index = load(&c.segments[s].index);
    float grad = inside ? element(c.grad, index, col) : 0.0f;
    float kept = inside && c.withheld != nullptr ? element(c.withheld_grad, index, col) : 0.0f;
    for (int i = first; i < last; ++i) {
      const int example = load(&c.runs[i].example);
      const float weight = load(c.weight + example);
      const float withheld = c.withheld == nullptr ? 0.0f : load(c.withheld + example);
      float sum = 0.0f;
      if (inside) {
        const int begin = load(&c.runs[i].begin);
        const int end = load(&c.runs[i].end);
        sum = load(load(c.rows + begin) + col);
        for (int k = begin + 1; k < end; ++k) sum += load(load(c.rows + k) + col);
      }
      if (withheld != 0.0f) kept = __fmaf_rn(withheld, sum, kept);
      if (weight != 0.0f) grad = __fmaf_rn(weight, sum, grad);
      if (c.norm2 == nullptr) continue;
      const double square = sum_over_block(static_cast<double>(sum) * static_cast<double>(sum), part.span(), kWarps);
      if (threadIdx.x == 0) store(c.scratch + int64_t{i} * gridDim.y + blockIdx.y, square);
    }
    if (!inside) continue;
    put(c.grad, index, col, grad);
    if (c.withheld != nullptr) put(c.withheld_grad, index, col, kept);
  }
}

__global__ void __launch_bounds__(kThreads) scatter_norms_kernel(ScatterContraction c, int parts) {
  __shared__ SharedArray<double, kWarps> part;
  const int e = static_cast<int>(blockIdx.x);
  if (load(c.weight + e) == 0.0f) return;
  const int begin = load(c.run_offsets + e);
  const int end = load(c.run_offsets + e + 1);
  double sum = 0.0;
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kThreads) {
    const int run = load(c.run_list + i);
    for (int p = 0; p < parts; ++p) sum += load(c.scratch + int64_t{run} * parts + p);
  }
  sum = sum_over_block(sum, part.span(), kWarps);
  if (threadIdx.x == 0) store(c.norm2 + e, load(c.norm2 + e) + sum);
}

int64_t parts_of(int64_t cols) { return (cols + kThreads - 1) / kThreads; }

}  // namespace

int64_t scatter_scratch(int64_t cols, int64_t runs) { return parts_of(cols) * runs; }

void contract_scatter(const ScatterContraction& c, Stream stream) {
  if (c.segment_count == 0 || c.grad.cols == 0) return;
  const auto parts = static_cast<unsigned>(parts_of(c.grad.cols));
  launch("contract_scatter", contract_scatter_kernel, dim3(static_cast<unsigned>(c.segment_count), parts), kThreads, 0,
         stream, c);
  if (c.norm2 == nullptr) return;
  launch("scatter_norms", scatter_norms_kernel, static_cast<unsigned>(c.examples), kThreads, 0, stream, c,
         static_cast<int>(parts));
}

}  // namespace govtrain::cuda
