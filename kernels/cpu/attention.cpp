// Causal attention within each example, in blocks of query rows: exact softmax per row, probabilities recomputed in the
// backward pass. One job owns one (example, key-value head), so that dk and dv have one writer and a fixed order.
// Scratch per job: O(block * length + length * head_dim).
#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/micro-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

constexpr int64_t kBlock = 48;  // query rows per block, a multiple of kMR

// x packed in panels of kMR rows (`rows`) or kNR columns: one operand of one job.
struct Packed {
  const float* data;
  int64_t step;  // floats between panels
};

// c[m,n] = (add: +=) a * b for a packed block of m rows; row panel i needs only the columns [0, reach(i)).
template <class Reach>
HWY_INLINE void multiply_block(Packed a, Packed b, int64_t m, int64_t k, const Reach& reach, float* c, int64_t ldc) {
  for (int64_t i = 0; i < m; i += kMR) {
    multiply_packed(a.data + i / kMR * a.step, a.step, b.data, b.step, std::min<int64_t>(kMR, m - i), reach(i), k,
                    nullptr, 0, c + i * ldc, ldc);
  }
}

// s[j] for j in [0, valid) = exp(scale * s[j] - top), zeros up to `width`; returns the sum. A NaN or infinity among
// the scores gives NaN.
HWY_INLINE float softmax_row(float* s, int64_t valid, int64_t width, float scale, float* top) {
  const V vscale = hn::Set(kD, scale);
  V high = hn::Set(kD, scale * s[0]);
  V finite = hn::Zero(kD);
  for_vectors(valid, [&](int64_t j, int64_t left) {
    const V v = hn::Mul(vscale, load_n(s + j, left));
    finite = hn::MulAdd(v, hn::Zero(kD), finite);
    high = hn::Max(high, left >= kLanes ? v : hn::IfThenElse(hn::FirstN(kD, static_cast<size_t>(left)), v, high));
  });
  *top = hn::GetLane(hn::MaxOfLanes(kD, high));
  const V vtop = hn::Set(kD, *top);
  V sum = finite;
  for_vectors(valid, [&](int64_t j, int64_t left) {
    const V e = keep_n(hn::Exp(kD, hn::MulSub(vscale, load_n(s + j, left), vtop)), left);
    sum = hn::Add(sum, e);
    store_n(e, s + j, left);
  });
  std::fill(s + valid, s + width, 0.0f);
  return sum_lanes(sum);
}

HWY_INLINE void scale_row(float* x, int64_t n, float factor) {
  const V f = hn::Set(kD, factor);
  for_vectors(n, [&](int64_t j, int64_t left) { store_n(hn::Mul(load_n(x + j, left), f), x + j, left); });
}

// One example and one key-value head. q, out [len, group*hd]: the heads that share k, v [len, hd]; lse [len, group].
void AttentionJob(View q, View k, View v, int group, float scale, MutView out, MutView lse) {
  const int64_t len = k.rows;
  const int64_t hd = k.cols;
  const int64_t wide = round_up(len, kNR);
  const int64_t across = round_up(hd, kNR);
  const Scratch<float> keys(wide * hd);
  const Scratch<float> values(across / kNR * panel_step(kNR, len));
  const Scratch<float> packed(kBlock * std::max(hd, wide));
  const Scratch<float> scores(kBlock * wide);
  pack_rows(k.data, k.ld, len, hd, kNR, keys.get(), kNR * hd);
  pack_columns<false>(v.data, v.ld, len, hd, values.get(), panel_step(kNR, len));
  for (int h = 0; h < group; ++h) {
    for (int64_t t0 = 0; t0 < len; t0 += kBlock) {
      const int64_t m = std::min(kBlock, len - t0);
      const int64_t reach = t0 + m;  // keys that some row of the block sees
      const auto seen = [&](int64_t i) { return std::min(reach, t0 + i + kMR); };
      pack_rows(q.row(t0) + h * hd, q.ld, m, hd, kMR, packed.get(), kMR * hd);
      multiply_block({packed.get(), kMR * hd}, {keys.get(), kNR * hd}, m, hd, seen, scores.get(), wide);
      float sums[kBlock];
      for (int64_t i = 0; i < m; ++i) {
        float top = 0.0f;
        sums[i] = softmax_row(scores.get() + i * wide, t0 + i + 1, seen(i / kMR * kMR), scale, &top);
        lse.at(t0 + i, h) = top + std::log(sums[i]);
      }
      for (int64_t i = 0; i < m; i += kMR) {
        const int64_t rows = std::min<int64_t>(kMR, m - i);
        pack_rows(scores.get() + i * wide, wide, rows, seen(i), kMR, packed.get(), 0);
        multiply_packed(packed.get(), 0, values.get(), panel_step(kNR, len), rows, hd, seen(i), nullptr, 0,
                        out.row(t0 + i) + h * hd, out.ld);
        for (int64_t r = i; r < i + rows; ++r) scale_row(out.row(t0 + r) + h * hd, hd, 1.0f / sums[r]);
      }
    }
  }
}

HWY_INLINE float dot_row(const float* a, const float* b, int64_t n) {
  V sum = hn::Zero(kD);
  for_vectors(n, [&](int64_t j, int64_t left) { sum = hn::MulAdd(load_n(a + j, left), load_n(b + j, left), sum); });
  return sum_lanes(sum);
}

// p becomes the probabilities, dp the gradient of the unscaled scores; zeros from `valid` to `width`.
HWY_INLINE void score_gradient(float* p, float* dp, int64_t valid, int64_t width, float scale, float lse, float delta) {
  const V vscale = hn::Set(kD, scale);
  const V vlse = hn::Set(kD, lse);
  const V vdelta = hn::Set(kD, delta);
  for_vectors(valid, [&](int64_t j, int64_t left) {
    const V s = hn::MulSub(vscale, load_n(p + j, left), vlse);
    // exp loses a NaN: put it back.
    const V e = hn::MulAdd(s, hn::Zero(kD), hn::Exp(kD, s));
    store_n(hn::Mul(vscale, hn::Mul(e, hn::Sub(load_n(dp + j, left), vdelta))), dp + j, left);
    store_n(e, p + j, left);
  });
  std::fill(p + valid, p + width, 0.0f);
  std::fill(dp + valid, dp + width, 0.0f);
}

void AttentionBackwardJob(View q, View k, View v, View out, View lse, View dout, int group, float scale, MutView dq,
                          MutView dk, MutView dv) {
  const int64_t len = k.rows;
  const int64_t hd = k.cols;
  const int64_t wide = round_up(len, kNR);
  const int64_t across = round_up(hd, kNR);
  const Scratch<float> keys_t(wide * hd);                          // for q k^T
  const Scratch<float> values_t(wide * hd);                        // for dout v^T
  const Scratch<float> keys(across / kNR * panel_step(kNR, len));  // for ds k
  const Scratch<float> rows_b(2 * across / kNR * panel_step(kNR, kBlock));
  const Scratch<float> packed(std::max(kBlock * std::max(hd, wide), ceil_div(len, kMR) * panel_step(kMR, kBlock)));
  const Scratch<float> scores(2 * kBlock * wide);
  float* p = scores.get();
  float* ds = p + kBlock * wide;
  float* q_b = rows_b.get();
  float* dout_b = q_b + across / kNR * panel_step(kNR, kBlock);
  pack_rows(k.data, k.ld, len, hd, kNR, keys_t.get(), kNR * hd);
  pack_rows(v.data, v.ld, len, hd, kNR, values_t.get(), kNR * hd);
  pack_columns<false>(k.data, k.ld, len, hd, keys.get(), panel_step(kNR, len));
  for (int64_t t = 0; t < len; ++t) {
    std::fill_n(dk.row(t), hd, 0.0f);
    std::fill_n(dv.row(t), hd, 0.0f);
  }
  for (int h = 0; h < group; ++h) {
    for (int64_t t0 = 0; t0 < len; t0 += kBlock) {
      const int64_t m = std::min(kBlock, len - t0);
      const int64_t reach = t0 + m;
      const auto seen = [&](int64_t i) { return std::min(reach, t0 + i + kMR); };
      pack_rows(q.row(t0) + h * hd, q.ld, m, hd, kMR, packed.get(), kMR * hd);
      multiply_block({packed.get(), kMR * hd}, {keys_t.get(), kNR * hd}, m, hd, seen, p, wide);
      pack_rows(dout.row(t0) + h * hd, dout.ld, m, hd, kMR, packed.get(), kMR * hd);
      multiply_block({packed.get(), kMR * hd}, {values_t.get(), kNR * hd}, m, hd, seen, ds, wide);
      for (int64_t i = 0; i < m; ++i) {
        const float delta = dot_row(dout.row(t0 + i) + h * hd, out.row(t0 + i) + h * hd, hd);
        score_gradient(p + i * wide, ds + i * wide, t0 + i + 1, reach, scale, lse.at(t0 + i, h), delta);
      }
      for (int64_t i = 0; i < m; i += kMR) {
        const int64_t rows = std::min<int64_t>(kMR, m - i);
        pack_rows(ds + i * wide, wide, rows, seen(i), kMR, packed.get(), 0);
        multiply_packed(packed.get(), 0, keys.get(), panel_step(kNR, len), rows, hd, seen(i), nullptr, 0,
                        dq.row(t0 + i) + h * hd, dq.ld);
      }
      // dk += ds^T q, dv += p^T dout.
      const int64_t b_step = panel_step(kNR, m);
      const int64_t a_step = panel_step(kMR, m);
      pack_columns<false>(q.row(t0) + h * hd, q.ld, m, hd, q_b, b_step);
      pack_columns<false>(dout.row(t0) + h * hd, dout.ld, m, hd, dout_b, b_step);
      pack_columns<true>(ds, wide, m, reach, packed.get(), a_step);
      multiply_packed(packed.get(), a_step, q_b, b_step, reach, hd, m, dk.data, dk.ld, dk.data, dk.ld);
      pack_columns<true>(p, wide, m, reach, packed.get(), a_step);
      multiply_packed(packed.get(), a_step, dout_b, b_step, reach, hd, m, dv.data, dv.ld, dv.data, dv.ld);
    }
  }
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(AttentionJob);
HWY_EXPORT(AttentionBackwardJob);

namespace {

// job(example rows, key-value head) for all of them.
template <class F>
void each_head(const Rows& rows, int kv_heads, const F& job) {
  for_each(int64_t{rows.examples()} * kv_heads, [&](int64_t i) {
    const int e = static_cast<int>(i / kv_heads);
    job(rows.begin(e), rows.length(e), i % kv_heads);
  });
}

}  // namespace

void attention(View q, View k, View v, const Rows& rows, int heads, int kv_heads, float scale, MutView out,
               MutView lse) {
  assert(kv_heads > 0 && heads % kv_heads == 0 && q.cols % heads == 0 && k.cols == q.cols / heads * kv_heads);
  assert(q.rows == rows.total() && k.rows == q.rows && v.rows == q.rows && lse.cols == heads);
  const int64_t hd = q.cols / heads;
  const int group = heads / kv_heads;
  each_head(rows, kv_heads, [&](int64_t row, int64_t len, int64_t head) {
    HWY_DYNAMIC_DISPATCH(AttentionJob)
    (q.block(row, len, head * group * hd, group * hd), k.block(row, len, head * hd, hd),
     v.block(row, len, head * hd, hd), group, scale, out.block(row, len, head * group * hd, group * hd),
     lse.block(row, len, head * group, group));
  });
}

void attention_backward(View q, View k, View v, View out, View lse, View dout, const Rows& rows, int heads,
                        int kv_heads, float scale, MutView dq, MutView dk, MutView dv) {
  const int64_t hd = q.cols / heads;
  const int group = heads / kv_heads;
  each_head(rows, kv_heads, [&](int64_t row, int64_t len, int64_t head) {
    const int64_t col = head * group * hd;
    const int64_t cols = group * hd;
    HWY_DYNAMIC_DISPATCH(AttentionBackwardJob)
    (q.block(row, len, col, cols), k.block(row, len, head * hd, hd), v.block(row, len, head * hd, hd),
     out.block(row, len, col, cols), lse.block(row, len, head * group, group), dout.block(row, len, col, cols), group,
     scale, dq.block(row, len, col, cols), dk.block(row, len, head * hd, hd), dv.block(row, len, head * hd, hd));
  });
}

}  // namespace govtrain::cpu
#endif
