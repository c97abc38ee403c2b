// Rotary positions, by the angles of rope_angles.h.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"
#include "kernels/rope_angles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// Rotates each head of one row: (a, b) -> (a cos - b sin, b cos + a sin), a and b half a head apart.
void RotateRow(float* x, int64_t heads, int64_t half, const float* cosine, const float* sine, float direction) {
  const V sign = hn::Set(kD, direction);
  for (int64_t h = 0; h < heads; ++h, x += 2 * half) {
    for_vectors(half, [&](int64_t j, int64_t n) {
      const V c = load_n(cosine + j, n);
      const V s = hn::Mul(sign, load_n(sine + j, n));
      const V a = load_n(x + j, n);
      const V b = load_n(x + half + j, n);
      store_n(hn::NegMulAdd(b, s, hn::Mul(a, c)), x + j, n);
      store_n(hn::MulAdd(a, s, hn::Mul(b, c)), x + half + j, n);
    });
  }
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(RotateRow);

void rope(MutView x, const Rows& rows, std::span<const int32_t> start, int head_dim, float base, int direction) {
  assert(head_dim > 0 && head_dim % 2 == 0 && x.cols % head_dim == 0 && x.rows == rows.total());
  assert(start.empty() || static_cast<int>(start.size()) == rows.examples());
  const auto start_of = [&](int e) { return start.empty() ? 0 : start[static_cast<size_t>(e)]; };
  const int64_t half = head_dim / 2;
  const auto angles = rope_angles(rope_positions(rows, start), half, base);
  for_each(rows.examples(), [&](int64_t i) {
    const int e = static_cast<int>(i);
    for (int t = rows.begin(e); t < rows.end(e); ++t) {
      const int64_t at = (start_of(e) + t - rows.begin(e)) * half;
      HWY_DYNAMIC_DISPATCH(RotateRow)
      (x.row(t), x.cols / head_dim, half, angles->cosine.data() + at, angles->sine.data() + at,
       static_cast<float>(direction));
    }
  });
}

}  // namespace govtrain::cpu
#endif
