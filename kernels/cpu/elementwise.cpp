// Activations, gated units, adds and the small helpers. One pass over memory each.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// 1 / (1 + exp(-z)); the clamp keeps exp finite.
HWY_INLINE V sigmoid(V z) {
  const V e = hn::Exp(kD, hn::Min(hn::Neg(z), hn::Set(kD, 88.0f)));
  const V one = hn::Set(kD, 1.0f);
  return hn::Div(one, hn::Add(one, e));
}

// Both activations are x * s with s = sigmoid(z): gelu z = 2 u, u = sqrt(2/pi) (x + 0.044715 x^3), as
// (1 + tanh u) / 2 = sigmoid(2 u); silu z = x. `dz` is dz/dx.
struct Gate {
  V s;
  V dz;
};

template <Activation kind>
HWY_INLINE Gate gate_of(V x) {
  if constexpr (kind == Activation::silu) {
    return {sigmoid(x), hn::Set(kD, 1.0f)};
  } else {
    const V a = hn::Set(kD, 1.5957691216057308f);  // 2 sqrt(2/pi)
    const V x2 = hn::Mul(x, x);
    const V z = hn::Mul(hn::Mul(a, x), hn::MulAdd(hn::Set(kD, 0.044715f), x2, hn::Set(kD, 1.0f)));
    // s is 0 or 1 long before dz reaches 64; the bound keeps 0 * dz finite.
    const V dz = hn::Mul(a, hn::MulAdd(hn::Set(kD, 3.0f * 0.044715f), x2, hn::Set(kD, 1.0f)));
    return {sigmoid(z), hn::Min(dz, hn::Set(kD, 64.0f))};
  }
}

// d(x s)/dx = s + x s (1 - s) dz.
HWY_INLINE V slope(const Gate& g, V x) {
  const V one = hn::Set(kD, 1.0f);
  return hn::MulAdd(hn::Mul(x, hn::Mul(g.s, hn::Sub(one, g.s))), g.dz, g.s);
}

template <Activation kind>
void act_row(const float* x, int64_t n, float* y) {
  for_vectors(n, [&](int64_t j, int64_t left) {
    const V v = load_n(x + j, left);
    store_n(hn::Mul(v, gate_of<kind>(v).s), y + j, left);
  });
}

template <Activation kind>
void act_dx_row(const float* dy, const float* x, int64_t n, float* dx) {
  for_vectors(n, [&](int64_t j, int64_t left) {
    const V v = load_n(x + j, left);
    store_n(hn::Mul(load_n(dy + j, left), slope(gate_of<kind>(v), v)), dx + j, left);
  });
}

template <Activation kind>
void gated_row(const float* gate, const float* up, int64_t n, float* y) {
  for_vectors(n, [&](int64_t j, int64_t left) {
    const V v = load_n(gate + j, left);
    store_n(hn::Mul(hn::Mul(v, gate_of<kind>(v).s), load_n(up + j, left)), y + j, left);
  });
}

template <Activation kind>
void gated_dx_row(const float* dy, const float* gate, const float* up, int64_t n, float* dgate, float* dup) {
  for_vectors(n, [&](int64_t j, int64_t left) {
    const V v = load_n(gate + j, left);
    const V d = load_n(dy + j, left);
    const V u = load_n(up + j, left);
    const Gate g = gate_of<kind>(v);
    store_n(hn::Mul(hn::Mul(d, u), slope(g, v)), dgate + j, left);
    store_n(hn::Mul(d, hn::Mul(v, g.s)), dup + j, left);
  });
}

void ActRow(Activation kind, const float* x, int64_t n, float* y) {
  kind == Activation::gelu ? act_row<Activation::gelu>(x, n, y) : act_row<Activation::silu>(x, n, y);
}

void ActDxRow(Activation kind, const float* dy, const float* x, int64_t n, float* dx) {
  kind == Activation::gelu ? act_dx_row<Activation::gelu>(dy, x, n, dx) : act_dx_row<Activation::silu>(dy, x, n, dx);
}

void GatedRow(Activation kind, const float* gate, const float* up, int64_t n, float* y) {
  kind == Activation::gelu ? gated_row<Activation::gelu>(gate, up, n, y) : gated_row<Activation::silu>(gate, up, n, y);
}

void GatedDxRow(Activation kind, const float* dy, const float* gate, const float* up, int64_t n, float* dgate,
                float* dup) {
  kind == Activation::gelu ? gated_dx_row<Activation::gelu>(dy, gate, up, n, dgate, dup)
                           : gated_dx_row<Activation::silu>(dy, gate, up, n, dgate, dup);
}

void AddRow(const float* a, const float* b, int64_t n, float* y) {
  for_vectors(
      n, [&](int64_t j, int64_t left) { store_n(hn::Add(load_n(a + j, left), load_n(b + j, left)), y + j, left); });
}

void ScaleRow(const float* x, float factor, int64_t n, float* y) {
  const V f = hn::Set(kD, factor);
  for_vectors(n, [&](int64_t j, int64_t left) { store_n(hn::Mul(load_n(x + j, left), f), y + j, left); });
}

// In double: each lane of a vector goes to its own sum.
double SquaresOf(const float* x, int64_t n) {
  const hn::Repartition<double, D> dd;
  const hn::Half<D> half;
  auto lo = hn::Zero(dd);
  auto hi = hn::Zero(dd);
  for_vectors(n, [&](int64_t j, int64_t left) {
    const V v = load_n(x + j, left);
    const auto a = hn::PromoteTo(dd, hn::LowerHalf(half, v));
    const auto b = hn::PromoteTo(dd, hn::UpperHalf(half, v));
    lo = hn::MulAdd(a, a, lo);
    hi = hn::MulAdd(b, b, hi);
  });
  return hn::GetLane(hn::SumOfLanes(dd, hn::Add(lo, hi)));
}

// x * 0 is 0 for every finite x and NaN else.
bool AllFinite(const float* x, int64_t n) {
  V sum = hn::Zero(kD);
  for_vectors(n, [&](int64_t j, int64_t left) { sum = hn::MulAdd(load_n(x + j, left), hn::Zero(kD), sum); });
  return sum_lanes(sum) == 0.0f;
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(ActRow);
HWY_EXPORT(ActDxRow);
HWY_EXPORT(GatedRow);
HWY_EXPORT(GatedDxRow);
HWY_EXPORT(AddRow);
HWY_EXPORT(ScaleRow);
HWY_EXPORT(SquaresOf);
HWY_EXPORT(AllFinite);

namespace {

constexpr int64_t kGrain = 16384;  // elements per job of the flat kernels

template <class F>
void each_row(View x, const F& row) {
  for_ranges(x.rows, row_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) row(t);
  });
}

}  // namespace

void activation(Activation kind, View x, MutView y) {
  each_row(x, [&](int64_t t) { HWY_DYNAMIC_DISPATCH(ActRow)(kind, x.row(t), x.cols, y.row(t)); });
}

void activation_dx(Activation kind, View dy, View x, MutView dx) {
  each_row(x, [&](int64_t t) { HWY_DYNAMIC_DISPATCH(ActDxRow)(kind, dy.row(t), x.row(t), x.cols, dx.row(t)); });
}

void gated(Activation kind, View gate, View up, MutView y) {
  each_row(gate, [&](int64_t t) { HWY_DYNAMIC_DISPATCH(GatedRow)(kind, gate.row(t), up.row(t), gate.cols, y.row(t)); });
}

void gated_dx(Activation kind, View dy, View gate, View up, MutView dgate, MutView dup) {
  each_row(gate, [&](int64_t t) {
    HWY_DYNAMIC_DISPATCH(GatedDxRow)
    (kind, dy.row(t), gate.row(t), up.row(t), gate.cols, dgate.row(t), dup.row(t));
  });
}

void add(View a, View b, MutView y) {
  each_row(a, [&](int64_t t) { HWY_DYNAMIC_DISPATCH(AddRow)(a.row(t), b.row(t), a.cols, y.row(t)); });
}

void accumulate(View x, MutView y) { add(y, x, y); }

void scale_rows(View x, std::span<const float> per_row, MutView y) {
  assert(static_cast<int64_t>(per_row.size()) == x.rows);
  each_row(x, [&](int64_t t) {
    HWY_DYNAMIC_DISPATCH(ScaleRow)(x.row(t), per_row[static_cast<size_t>(t)], x.cols, y.row(t));
  });
}

void scale(std::span<float> x, float factor) {
  for_ranges(static_cast<int64_t>(x.size()), kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(ScaleRow)(x.data() + begin, factor, end - begin, x.data() + begin);
  });
}

void fill(std::span<float> x, float value) {
  for_ranges(static_cast<int64_t>(x.size()), 4 * kGrain,
             [&](int64_t begin, int64_t end) { std::fill(x.data() + begin, x.data() + end, value); });
}

double sum_of_squares(std::span<const float> x) {
  const auto n = static_cast<int64_t>(x.size());
  const int64_t pieces = ceil_div(n, kGrain);
  const Scratch<double> sums(std::max<int64_t>(1, pieces));
  for_ranges(n, kGrain, [&](int64_t begin, int64_t end) {
    sums[begin / kGrain] = HWY_DYNAMIC_DISPATCH(SquaresOf)(x.data() + begin, end - begin);
  });
  double total = 0.0;
  for (int64_t i = 0; i < pieces; ++i) total += sums[i];
  return total;
}

int64_t first_non_finite_row(View x) {
  const int64_t grain = row_grain(x.cols);
  const int64_t pieces = ceil_div(x.rows, grain);
  const Scratch<int64_t> found(std::max<int64_t>(1, pieces));
  for_ranges(x.rows, grain, [&](int64_t begin, int64_t end) {
    int64_t t = begin;
    while (t < end && HWY_DYNAMIC_DISPATCH(AllFinite)(x.row(t), x.cols)) ++t;
    found[begin / grain] = t < end ? t : -1;
  });
  for (int64_t i = 0; i < pieces; ++i) {
    if (found[i] >= 0) return found[i];
  }
  return -1;
}

}  // namespace govtrain::cpu
#endif
