// nvcuda::wmma for the shapes in use: m16n16k16 of bf16 and m16n16k8 of tf32, float32 accumulators. Which element of
// the matrix x[i] of a lane is, CUDA does not say; here it is scrambled, so that no kernel can come to rely on it. Sums
// as in matrix.h. Not here: other types, integer and sub-byte shapes.
#pragma once

#include <type_traits>

#include "kernels/simt/matrix.h"
#include "kernels/simt/number.h"
#include "kernels/simt/warp.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
namespace precision {
struct tf32;
}
enum layout_t { mem_row_major, mem_col_major };

inline float __float_to_tf32(float x) { return govtrain::simt::to_tf32(x); }

template <class Use, int m, int n, int k, class T, class Layout = void>
struct fragment {
  static_assert(m == 16 && n == 16);
  static_assert((std::is_same_v<T, __nv_bfloat16> && k == 16) || (std::is_same_v<T, precision::tf32> && k == 8) ||
                (std::is_same_v<T, float> && std::is_same_v<Use, accumulator>));
  static constexpr int rows = std::is_same_v<Use, matrix_b> ? k : m;
  static constexpr int cols = std::is_same_v<Use, matrix_a> ? k : n;
  static constexpr int num_elements = rows * cols / 32;
  using element_type = std::conditional_t<std::is_same_v<T, precision::tf32>, float, T>;
  element_type x[num_elements];

  // Where element i of `lane` stands in the row-major matrix: an odd multiple is a permutation of a power of two.
  static constexpr int place(int lane, int i) { return ((i * 32 + lane) * 37 + 11) % (rows * cols); }
};

template <class F, class E>
void fill_fragment(F& f, E value) {
  for (auto& x : f.x) x = static_cast<typename F::element_type>(value);
}

namespace detail {

inline void meet(const char* name, const void* p, unsigned ld, govtrain::simt::Where where) {
  struct Slot {
    const void* p;
    unsigned ld;
  } mine{p, ld};
  govtrain::simt::warp_operation(0xFFFFFFFFu, name, where, &mine, [](void* const* slots, uint32_t mask) {
    const auto& first = *static_cast<const Slot*>(slots[0]);
    for (int l = 0; l < 32; ++l) {
      if (mask != 0xFFFFFFFFu || static_cast<const Slot*>(slots[l])->p != first.p ||
          static_cast<const Slot*>(slots[l])->ld != first.ld) {
        govtrain::simt::fail(govtrain::simt::FaultKind::divergent_warp,
                             "a matrix load or store needs a whole warp with one address and stride");
      }
    }
  });
}

template <class F, class P>
void check_matrix(const P* p, unsigned ld) {
  if (reinterpret_cast<uintptr_t>(p) % 32 != 0 || ld * sizeof(P) % 16 != 0) {
    govtrain::simt::fail(govtrain::simt::FaultKind::misaligned,
                         "a matrix needs an address that is a multiple of 32 bytes and a stride that is one of 16");
  }
}

inline int offset(int place, int cols, unsigned ld, bool row_major_order) {
  const int r = place / cols;
  const int c = place % cols;
  return row_major_order ? r * static_cast<int>(ld) + c : c * static_cast<int>(ld) + r;
}

template <class F, class P>
void load(F& f, const P* p, unsigned ld, bool rows, govtrain::simt::Where where) {
  check_matrix<F>(p, ld);
  if (govtrain::simt::observing) meet("wmma::load_matrix_sync", p, ld, where);
  const int lane = govtrain::simt::lane_number();
  for (int i = 0; i < F::num_elements; ++i) {
    const P* from = p + offset(F::place(lane, i), F::cols, ld, rows);
    if (govtrain::simt::observing) {
      govtrain::simt::observe(from, sizeof(P), sizeof(P), govtrain::simt::Access::read, true);
    }
    f.x[i] = *from;
  }
}

template <class A, class B, class C>
struct MmaSlot {
  C* d;
  const A* a;
  const B* b;
  const C* c;
};

inline float value(float x) {
  govtrain::simt::check_tf32(x);
  return x;
}
inline float value(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class A, class B, class C>
void multiply(void* const* slots, uint32_t mask) {
  if (mask != 0xFFFFFFFFu) {
    govtrain::simt::fail(govtrain::simt::FaultKind::divergent_warp, "wmma::mma_sync needs a whole warp");
  }
  float a[A::rows * A::cols];
  float b[B::rows * B::cols];
  float c[C::rows * C::cols];
  for (int l = 0; l < 32; ++l) {
    const auto& s = *static_cast<const MmaSlot<A, B, C>*>(slots[l]);
    for (int i = 0; i < A::num_elements; ++i) a[A::place(l, i)] = value(s.a->x[i]);
    for (int i = 0; i < B::num_elements; ++i) b[B::place(l, i)] = value(s.b->x[i]);
    for (int i = 0; i < C::num_elements; ++i) c[C::place(l, i)] = s.c->x[i];
  }
  govtrain::simt::multiply<C::rows, C::cols, A::cols>(a, b, c);
  for (int l = 0; l < 32; ++l) {
    const auto& s = *static_cast<const MmaSlot<A, B, C>*>(slots[l]);
    for (int i = 0; i < C::num_elements; ++i) s.d->x[i] = c[C::place(l, i)];
  }
  govtrain::simt::count_mma(C::rows * C::cols * A::cols);
}

}  // namespace detail

template <class Use, int m, int n, int k, class T, class Layout, class P>
void load_matrix_sync(fragment<Use, m, n, k, T, Layout>& f, const P* p, unsigned ld, GOVTRAIN_SITE) {
  detail::load(f, p, ld, std::is_same_v<Layout, row_major>, {file, line});
}
template <int m, int n, int k>
void load_matrix_sync(fragment<accumulator, m, n, k, float>& f, const float* p, unsigned ld, layout_t layout,
                      GOVTRAIN_SITE) {
  detail::load(f, p, ld, layout == mem_row_major, {file, line});
}
template <int m, int n, int k>
void store_matrix_sync(float* p, const fragment<accumulator, m, n, k, float>& f, unsigned ld, layout_t layout,
                       GOVTRAIN_SITE) {
  using F = fragment<accumulator, m, n, k, float>;
  detail::check_matrix<F>(p, ld);
  if (govtrain::simt::observing) detail::meet("wmma::store_matrix_sync", p, ld, {file, line});
  const int lane = govtrain::simt::lane_number();
  for (int i = 0; i < F::num_elements; ++i) {
    float* to = p + detail::offset(F::place(lane, i), F::cols, ld, layout == mem_row_major);
    if (govtrain::simt::observing) {
      govtrain::simt::observe(to, sizeof(float), sizeof(float), govtrain::simt::Access::write, true);
    }
    *to = f.x[i];
  }
}
template <class A, class B, class C>
void mma_sync(C& d, const A& a, const B& b, const C& c, GOVTRAIN_SITE) {
  detail::MmaSlot<A, B, C> mine{&d, &a, &b, &c};
  govtrain::simt::warp_operation(0xFFFFFFFFu, "wmma::mma_sync", {file, line}, &mine, detail::multiply<A, B, C>);
}

}  // namespace nvcuda::wmma
