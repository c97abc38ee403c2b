// Parameter gradients of vectors: norm gains and biases. An example's column sums run in row order, one float chain per
// column, factor after factor; its squares are added in double, column block by column block.
#include "kernels/cpu/contract_plan.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/contract_vector.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

constexpr int64_t kBlock = 32;  // columns per job
constexpr int kVectors = static_cast<int>(kBlock / kLanes);

struct Columns {
  V v[kVectors];
};

// sum += the rows [begin, end) of `f`, columns [col, col+n). Whole: n == kBlock.
template <bool whole>
HWY_INLINE void sum_rows(const Factor& f, int begin, int end, int64_t col, int64_t n, Columns& sum) {
  for (int t = begin; t < end; ++t) {
    const float* dy = f.dy.row(t) + col;
    if (f.kind == Factor::Kind::bias) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        const int64_t o = j * kLanes;
        if (whole || o < n) sum.v[j] = hn::Add(sum.v[j], whole ? hn::LoadU(kD, dy + o) : load_n(dy + o, n - o));
      }
      continue;
    }
    const float* x = f.x.row(t) + col;
    const V mean = hn::Set(kD, f.mean == nullptr ? 0.0f : f.mean[t]);
    const V rstd = hn::Set(kD, f.rstd[t]);
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      const int64_t o = j * kLanes;
      if (!whole && o >= n) continue;
      const V xv = whole ? hn::LoadU(kD, x + o) : load_n(x + o, n - o);
      const V hat = hn::Mul(hn::Sub(xv, mean), rstd);
      sum.v[j] = hn::MulAdd(whole ? hn::LoadU(kD, dy + o) : load_n(dy + o, n - o), hat, sum.v[j]);
    }
  }
}

inline void add_columns(const Columns& sum, float weight, int64_t n, float* to) {
  for (int j = 0; j < kVectors && j * kLanes < n; ++j) {
    const int64_t o = j * kLanes;
    store_n(hn::MulAdd(hn::Set(kD, weight), sum.v[j], load_n(to + o, n - o)), to + o, n - o);
  }
}

// Columns [col, col+n) of all examples; norms [E] is this job's share, or null.
void VectorBlock(std::span<const Factor> factors, const Rows& rows, const Contraction& how, int64_t col, int64_t n,
                 double* norms, MutView grad) {
  for (int e = 0; e < rows.examples(); ++e) {
    if (!takes_part(how, e)) continue;
    Columns sum;
    for (V& v : sum.v) v = hn::Zero(kD);
    for (const Factor& f : factors) {
      if (n == kBlock) {
        sum_rows<true>(f, rows.begin(e), rows.end(e), col, n, sum);
      } else {
        sum_rows<false>(f, rows.begin(e), rows.end(e), col, n, sum);
      }
    }
    const auto i = static_cast<size_t>(e);
    if (!how.withheld.empty() && how.withheld[i] != 0.0f)
      add_columns(sum, how.withheld[i], n, how.withheld_grad.data + col);
    if (how.weight[i] == 0.0f) continue;
    add_columns(sum, how.weight[i], n, grad.data + col);
    if (norms == nullptr) continue;
    V squares = hn::Zero(kD);
    for (int j = 0; j < kVectors && j * kLanes < n; ++j) {
      const V v = keep_n(sum.v[j], n - j * kLanes);
      squares = hn::MulAdd(v, v, squares);
    }
    norms[e] = static_cast<double>(sum_lanes(squares));
  }
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(VectorBlock);

void contract_vector(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad) {
  constexpr int64_t kWidth = 32;
  assert(grad.rows == 1);
  const int64_t blocks = ceil_div(grad.cols, kWidth);
  const auto examples = static_cast<int64_t>(how.norm2.size());
  const Scratch<double> norms(std::max<int64_t>(1, blocks * examples));
  std::fill_n(norms.get(), blocks * examples, 0.0);
  for_each(blocks, [&](int64_t b) {
    const int64_t col = b * kWidth;
    HWY_DYNAMIC_DISPATCH(VectorBlock)
    (factors, rows, how, col, std::min(kWidth, grad.cols - col), examples == 0 ? nullptr : norms.get() + b * examples,
     grad);
  });
  for (int64_t e = 0; e < examples; ++e) {
    for (int64_t b = 0; b < blocks; ++b) how.norm2[static_cast<size_t>(e)] += norms[b * examples + e];
  }
}

}  // namespace govtrain::cpu
#endif
