// Parameter gradients of scatter factors alone (an untied embedding): O(rows * d). The rows of one example that share
// an index are summed first, factor after factor in row order, so that the norm is the norm of the sum.
#include <algorithm>

#include "kernels/cpu/contract_plan.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/targets.h"

#ifndef GOVTRAIN_CONTRACT_SCATTER_SOURCE
#define GOVTRAIN_CONTRACT_SCATTER_SOURCE
namespace govtrain::cpu {

// One row of a scatter factor. Runs of equal indices are summed.
struct Source {
  int32_t index;
  int32_t order;  // factor-major row order inside the example
  const float* row;
};

}  // namespace govtrain::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/contract_scatter.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// sum over the run, its squares (returned), weighted adds; columns [0, n) of the shifted pointers, n <= 64.
HWY_INLINE double AddRun(const Source* run, int64_t count, int64_t col, int64_t n, float weight, float withheld,
                         float* grad, float* kept) {
  V squares = hn::Zero(kD);
  for_vectors(n, [&](int64_t j, int64_t left) {
    V sum = load_n(run[0].row + col + j, left);
    for (int64_t i = 1; i < count; ++i) sum = hn::Add(sum, load_n(run[i].row + col + j, left));
    if (withheld != 0.0f) store_n(hn::MulAdd(hn::Set(kD, withheld), sum, load_n(kept + j, left)), kept + j, left);
    if (weight != 0.0f) store_n(hn::MulAdd(hn::Set(kD, weight), sum, load_n(grad + j, left)), grad + j, left);
    squares = hn::MulAdd(sum, sum, squares);
  });
  return static_cast<double>(sum_lanes(squares));
}

// The runs of one example over columns [col, col+n).
double ScatterBlock(const Source* sources, int64_t count, float weight, float withheld, int64_t col, int64_t n,
                    MutView grad, MutView kept) {
  double norm = 0.0;
  for (int64_t i = 0; i < count;) {
    int64_t end = i + 1;
    while (end < count && sources[end].index == sources[i].index) ++end;
    const int64_t index = sources[i].index;
    norm += AddRun(sources + i, end - i, col, n, weight, withheld, grad.row(index) + col,
                   withheld == 0.0f ? nullptr : kept.row(index) + col);
    i = end;
  }
  return norm;
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(ScatterBlock);

void contract_scatter(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad) {
  constexpr int64_t kBlock = 64;
  const auto per_row = static_cast<int64_t>(factors.size());
  const Scratch<Source> sources(std::max<int64_t>(1, rows.total() * per_row));
  for_each(rows.examples(), [&](int64_t i) {
    const int e = static_cast<int>(i);
    if (!takes_part(how, e)) return;
    Source* begin = sources.get() + rows.begin(e) * per_row;
    Source* end = begin;
    for (const Factor& f : factors) {
      for (int t = rows.begin(e); t < rows.end(e); ++t) {
        *end = {f.index[t], static_cast<int32_t>(end - begin), f.dy.row(t)};
        ++end;
      }
    }
    std::sort(begin, end, [](const Source& a, const Source& b) {
      return a.index != b.index ? a.index < b.index : a.order < b.order;
    });
  });
  const int64_t blocks = ceil_div(grad.cols, kBlock);
  const auto examples = static_cast<int64_t>(how.norm2.size());
  const Scratch<double> norms(std::max<int64_t>(1, blocks * examples));
  for_each(blocks, [&](int64_t b) {
    const int64_t col = b * kBlock;
    for (int e = 0; e < rows.examples(); ++e) {
      if (!takes_part(how, e)) continue;
      const auto i = static_cast<size_t>(e);
      const double norm =
          HWY_DYNAMIC_DISPATCH(ScatterBlock)(sources.get() + rows.begin(e) * per_row, rows.length(e) * per_row,
                                             how.weight[i], how.withheld.empty() ? 0.0f : how.withheld[i], col,
                                             std::min(kBlock, grad.cols - col), grad, how.withheld_grad);
      if (examples > 0) norms[b * examples + e] = norm;
    }
  });
  for (int64_t e = 0; e < examples; ++e) {
    if (how.weight[static_cast<size_t>(e)] == 0.0f) continue;
    for (int64_t b = 0; b < blocks; ++b) how.norm2[static_cast<size_t>(e)] += norms[b * examples + e];
  }
}

}  // namespace govtrain::cpu
#endif
