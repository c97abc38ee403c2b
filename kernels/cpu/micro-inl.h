// The packed micro-kernel that linear, contract and attention share, and its packing.
// Every output element is one chain of fused multiply-adds in ascending k, started from a given value. Nothing about
// an element's bits depends on the tile it falls in, on the tile's size or on the instruction set.
//
// Packed A: panels of kMR rows, [k][kMR]. Packed B: panels of kNR columns, [k][kNR]. Missing rows and columns are 0.
#if defined(GOVTRAIN_KERNELS_CPU_MICRO_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef GOVTRAIN_KERNELS_CPU_MICRO_INL_H
#undef GOVTRAIN_KERNELS_CPU_MICRO_INL_H
#else
#define GOVTRAIN_KERNELS_CPU_MICRO_INL_H
#endif

#include <algorithm>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// AVX2 has 16 vector registers, the others 32.
constexpr int kMR = HWY_TARGET == HWY_AVX2 ? 6 : 12;
constexpr int kNV = 2;
constexpr int kNR = kNV * static_cast<int>(kLanes);

template <int NV>
struct Tile {
  V v[kMR][NV];
};

// tile = init (rows `ld` apart; null: 0).
template <int NV>
HWY_INLINE void start_tile(Tile<NV>& t, const float* init, int64_t ld) {
#pragma GCC unroll 16
  for (int m = 0; m < kMR; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) t.v[m][j] = init == nullptr ? hn::Zero(kD) : hn::LoadU(kD, init + m * ld + j * kLanes);
  }
}

template <int NV>
HWY_INLINE void store_tile(const Tile<NV>& t, float* c, int64_t ld) {
#pragma GCC unroll 16
  for (int m = 0; m < kMR; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) hn::StoreU(t.v[m][j], kD, c + m * ld + j * kLanes);
  }
}

// tile += a[k][kMR]^T * b[k][kNR], k ascending.
template <int NV>
HWY_INLINE void multiply_tile(Tile<NV>& t, const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t k) {
  for (; k > 0; --k, a += kMR, b += kNR) {
    V x[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) x[j] = hn::Load(kD, b + j * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < kMR; ++m) {
      const V g = hn::Set(kD, a[m]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) t.v[m][j] = hn::MulAdd(g, x[j], t.v[m][j]);
    }
  }
}

template <int NV>
HWY_NOINLINE void run_tile(const float* a, const float* b, int64_t k, const float* init, int64_t ld_init, float* c,
                           int64_t ldc) {
  Tile<NV> t;
  start_tile(t, init, ld_init);
  multiply_tile(t, a, b, k);
  store_tile(t, c, ldc);
}

// Copies [m,n] between strided places.
inline void copy_rect(const float* from, int64_t ld_from, float* to, int64_t ld_to, int64_t m, int64_t n) {
  for (int64_t i = 0; i < m; ++i)
    std::memcpy(to + i * ld_to, from + i * ld_from, static_cast<size_t>(n) * sizeof(float));
}

// The tile whose valid part is [m,n] of c.
inline void run_any_tile(const float* a, const float* b, int64_t k, const float* init, int64_t ld_init, float* c,
                         int64_t ldc, int64_t m, int64_t n) {
  if (m == kMR && n == kNR) return run_tile<kNV>(a, b, k, init, ld_init, c, ldc);
  HWY_ALIGN float part[kMR * kNR];
  if (init != nullptr) {
    std::fill_n(part, kMR * kNR, 0.0f);
    copy_rect(init, ld_init, part, kNR, m, n);
  }
  const float* from = init == nullptr ? nullptr : part;
  if (n <= kLanes) {
    run_tile<1>(a, b, k, from, kNR, part, kNR);
  } else {
    run_tile<kNV>(a, b, k, from, kNR, part, kNR);
  }
  copy_rect(part, kNR, c, ldc, m, n);
}

// c[m,n] = init + A * B from packed operands, both k deep with panels `a_step` and `b_step` floats apart.
// init: null for 0; c itself to go on with a sum; ld_init 0 repeats one row (a bias).
inline void multiply_packed(const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t m, int64_t n,
                            int64_t k, const float* init, int64_t ld_init, float* c, int64_t ldc) {
  for (int64_t j = 0; j < n; j += kNR) {
    for (int64_t i = 0; i < m; i += kMR) {
      const float* from = init == nullptr ? nullptr : init + i * ld_init + j;
      run_any_tile(a + i / kMR * a_step, b + j / kNR * b_step, k, from, ld_init, c + i * ldc + j, ldc,
                   std::min<int64_t>(kMR, m - i), std::min<int64_t>(kNR, n - j));
    }
  }
}

// Floats from one packed panel to the next. The extra vector lets pack_columns write whole vectors, and keeps panels
// from falling into the same cache sets.
HWY_INLINE int64_t panel_step(int width, int64_t depth) { return width * depth + kLanes; }

// One row of one panel: dst[width] = src[n], zero up to `width`.
HWY_INLINE void pack_part(const float* HWY_RESTRICT src, int64_t n, int width, float* HWY_RESTRICT dst) {
  if (n == width && width % 4 == 0) {
    const hn::FixedTag<float, 4> d4;
    for (int j = 0; j < width; j += 4) hn::StoreU(hn::LoadU(d4, src + j), d4, dst + j);
    return;
  }
  for (int64_t j = 0; j < n; ++j) dst[j] = src[j];
  for (int64_t j = n; j < width; ++j) dst[j] = 0.0f;
}

// Panels of kNR columns (kMR with `narrow`), panel_step floats apart, from columns [0, n) of `depth` rows. Row by row,
// as the source is read from far and the panels are near. A narrow panel's vector is wider than the panel: what it
// writes too much is overwritten by the next row, or falls into the gap between the panels.
template <bool narrow>
HWY_INLINE void pack_columns(const float* HWY_RESTRICT src, int64_t ld, int64_t depth, int64_t n,
                             float* HWY_RESTRICT dst, int64_t step) {
  constexpr int kWidth = narrow ? kMR : kNR;
  constexpr int kTouched = narrow ? static_cast<int>((kMR + kLanes - 1) / kLanes * kLanes) : kNR;
  const int64_t whole = n >= kTouched ? (n - kTouched) / kWidth + 1 : 0;  // panels that vectors may read
  for (int64_t t = 0; t < depth; ++t, src += ld, dst += kWidth) {
    const float* s = src;
    float* o = dst;
    for (int64_t i = 0; i < whole; ++i, s += kWidth, o += step) {
#pragma GCC unroll 4
      for (int j = 0; j < kTouched; j += static_cast<int>(kLanes)) hn::StoreU(hn::LoadU(kD, s + j), kD, o + j);
    }
    for (int64_t left = n - whole * kWidth; left > 0; left -= kWidth, s += kWidth, o += step) {
      pack_part(s, std::min<int64_t>(left, kWidth), kWidth, o);
    }
  }
}

// dst[t][width] = column t of `n` source rows; zero up to `width`.
HWY_INLINE void pack_panel_transposed(const float* HWY_RESTRICT src, int64_t ld, int64_t n, int64_t depth, int width,
                                      float* HWY_RESTRICT dst) {
  const hn::FixedTag<float, 4> d4;
  const hn::RepartitionToWide<decltype(d4)> d2;
  int64_t r = 0;
  for (; r + 4 <= n; r += 4) {
    const float* s = src + r * ld;
    float* o = dst + r;
    int64_t t = 0;
    for (; t + 4 <= depth; t += 4, s += 4, o += 4 * width) {
      const auto a = hn::LoadU(d4, s);
      const auto b = hn::LoadU(d4, s + ld);
      const auto c = hn::LoadU(d4, s + 2 * ld);
      const auto d = hn::LoadU(d4, s + 3 * ld);
      const auto ab0 = hn::BitCast(d2, hn::InterleaveLower(d4, a, b));
      const auto ab1 = hn::BitCast(d2, hn::InterleaveUpper(d4, a, b));
      const auto cd0 = hn::BitCast(d2, hn::InterleaveLower(d4, c, d));
      const auto cd1 = hn::BitCast(d2, hn::InterleaveUpper(d4, c, d));
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, ab0, cd0)), d4, o);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, ab0, cd0)), d4, o + width);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveLower(d2, ab1, cd1)), d4, o + 2 * width);
      hn::StoreU(hn::BitCast(d4, hn::InterleaveUpper(d2, ab1, cd1)), d4, o + 3 * width);
    }
    for (; t < depth; ++t, ++s, o += width) {
      for (int i = 0; i < 4; ++i) o[i] = s[i * ld];
    }
  }
  for (; r < width; ++r) {
    float* o = dst + r;
    for (int64_t t = 0; t < depth; ++t) o[t * width] = r < n ? src[r * ld + t] : 0.0f;
  }
}

// Panels of `width` source rows, panel_step floats apart, from rows [0, n), each `depth` long.
HWY_INLINE void pack_rows(const float* src, int64_t ld, int64_t n, int64_t depth, int width, float* dst,
                          int64_t panel_step) {
  for (int64_t i = 0; i < n; i += width, dst += panel_step) {
    pack_panel_transposed(src + i * ld, ld, std::min<int64_t>(width, n - i), depth, width, dst);
  }
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
