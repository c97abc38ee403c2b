// y = x W^T + bias and dx = dy W: packed operands, blocks of k that depend on k alone. No parameter gradients here.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/micro-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// c[m,n] = init + a[m,k] * B, with B = w^T (w [n,k]) or B = w (w [k,n]).
void Multiply(View a, View w, bool transposed, const float* init, int64_t ld_init, MutView c) {
  const int64_t m = c.rows;
  const int64_t n = c.cols;
  const int64_t k = a.cols;
  if (m == 0 || n == 0) return;
  // Depth of one pass: an even cut of k into pieces of at most 256.
  const int64_t passes = std::max<int64_t>(1, ceil_div(k, 256));
  const int64_t depth = ceil_div(k, passes);
  // Columns of B packed at a time: about 4 MB.
  const int64_t wide =
      std::min(round_up(n, kNR), std::max<int64_t>(kNR, (int64_t{1} << 20) / std::max<int64_t>(1, k) / kNR * kNR));
  // Rows per job: at most 96, fewer where the batch is small.
  const int64_t tall = std::clamp<int64_t>(round_up(ceil_div(m, 4 * thread_count()), kMR), 2 * kMR, 96);
  const int64_t b_step = panel_step(kNR, k);
  const Scratch<float> packed_b(wide / kNR * b_step);
  for (int64_t n0 = 0; n0 < n; n0 += wide) {
    const int64_t cols = std::min(wide, n - n0);
    for_each(ceil_div(cols, kNR), [&](int64_t j) {
      const int64_t col = n0 + j * kNR;
      const int64_t valid = std::min<int64_t>(kNR, n - col);
      float* dst = packed_b.get() + j * b_step;
      if (transposed) {
        pack_panel_transposed(w.row(col), w.ld, valid, k, kNR, dst);
      } else {
        pack_columns<false>(w.data + col, w.ld, k, valid, dst, b_step);
      }
    });
    for_each(ceil_div(m, tall), [&](int64_t job) {
      const int64_t row = job * tall;
      const int64_t rows = std::min(tall, m - row);
      const Scratch<float> packed_a(round_up(rows, kMR) * std::max<int64_t>(1, depth));
      MutView out = c.block(row, rows, n0, cols);
      for (int64_t k0 = 0; k0 == 0 || k0 < k; k0 += depth) {
        const int64_t deep = std::min(depth, k - k0);
        pack_rows(a.row(row) + k0, a.ld, rows, deep, kMR, packed_a.get(), kMR * deep);
        const float* from = k0 > 0 ? out.data : init == nullptr ? nullptr : init + row * ld_init + n0;
        multiply_packed(packed_a.get(), kMR * deep, packed_b.get() + k0 * kNR, b_step, rows, cols, deep, from,
                        k0 > 0 ? out.ld : ld_init, out.data, out.ld);
        if (deep == 0) break;
      }
    });
  }
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(Multiply);

void linear(View x, View w, std::span<const float> bias, MutView y) {
  assert(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows);
  assert(bias.empty() || static_cast<int64_t>(bias.size()) == w.rows);
  HWY_DYNAMIC_DISPATCH(Multiply)(x, w, true, bias.empty() ? nullptr : bias.data(), 0, y);
}

void linear_dx(View dy, View w, MutView dx, bool add) {
  assert(dy.cols == w.rows && dx.rows == dy.rows && dx.cols == w.cols);
  HWY_DYNAMIC_DISPATCH(Multiply)(dy, w, false, add ? dx.data : nullptr, dx.ld, dx);
}

}  // namespace govtrain::cpu
#endif
