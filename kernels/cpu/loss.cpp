// Fused softmax cross-entropy, one row at a time, in place.
#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/loss.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// -log softmax(x)[target]; with `gradient`, x becomes softmax(x) - onehot(target). NaN when x holds NaN or infinity.
double LossRow(float* x, int64_t n, int32_t target, bool gradient) {
  V top = hn::Set(kD, x[0]);
  V finite = hn::Zero(kD);  // stays 0 for finite values only, as max and exp lose a NaN
  for_vectors(n, [&](int64_t j, int64_t left) {
    const V v = load_n(x + j, left);
    finite = hn::MulAdd(v, hn::Zero(kD), finite);
    top = hn::Max(top, left >= kLanes ? v : hn::IfThenElse(hn::FirstN(kD, static_cast<size_t>(left)), v, top));
  });
  const float high = hn::GetLane(hn::MaxOfLanes(kD, top));
  const V vhigh = hn::Set(kD, high);
  const float at_target = x[target];
  // Lane sums of up to 64 vectors in float, then in double.
  double total = static_cast<double>(sum_lanes(finite));
  for (int64_t begin = 0; begin < n; begin += 64 * kLanes) {
    const int64_t size = std::min(n - begin, 64 * kLanes);
    V sum = hn::Zero(kD);
    for_vectors(size, [&](int64_t j, int64_t left) {
      const V e = keep_n(hn::Exp(kD, hn::Sub(load_n(x + begin + j, left), vhigh)), left);
      sum = hn::Add(sum, e);
      if (gradient) store_n(e, x + begin + j, left);
    });
    total += static_cast<double>(sum_lanes(sum));
  }
  if (gradient) {
    const V scale = hn::Set(kD, static_cast<float>(1.0 / total));
    for_vectors(n, [&](int64_t j, int64_t left) { store_n(hn::Mul(load_n(x + j, left), scale), x + j, left); });
    x[target] -= 1.0f;
  }
  return std::log(total) + (static_cast<double>(high) - static_cast<double>(at_target));
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(LossRow);

void cross_entropy(MutView logits, std::span<const int32_t> target, const Rows& rows, bool dlogits_in_place,
                   std::span<double> loss, std::span<float> row_loss) {
  assert(logits.rows == rows.total() && static_cast<int64_t>(target.size()) == logits.rows);
  assert(static_cast<int>(loss.size()) == rows.examples());
  const Scratch<double> each(std::max<int64_t>(1, logits.rows));
  for_ranges(logits.rows, row_grain(logits.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int32_t y = target[static_cast<size_t>(t)];
      assert(y < logits.cols);
      each[t] = y < 0 ? 0.0 : HWY_DYNAMIC_DISPATCH(LossRow)(logits.row(t), logits.cols, y, dlogits_in_place);
      if (y < 0 && dlogits_in_place) std::fill_n(logits.row(t), logits.cols, 0.0f);
      if (!row_loss.empty()) row_loss[static_cast<size_t>(t)] = static_cast<float>(each[t]);
    }
  });
  for (int e = 0; e < rows.examples(); ++e) {
    double sum = 0.0;
    for (int t = rows.begin(e); t < rows.end(e); ++t) sum += each[t];
    loss[static_cast<size_t>(e)] = sum;
  }
}

}  // namespace govtrain::cpu
#endif
