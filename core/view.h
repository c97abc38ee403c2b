// Non-owning row-major matrices. Plain pointers and sizes: usable by every backend; no ownership, no arithmetic.
#pragma once

#include <cassert>
#include <cstdint>
#include <type_traits>

namespace govtrain {

// [rows, cols] with row stride `ld` >= cols, in elements.
template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t ld = 0;

  MatrixView() = default;
  MatrixView(T* d, int64_t r, int64_t c) : data(d), rows(r), cols(c), ld(c) {}
  MatrixView(T* d, int64_t r, int64_t c, int64_t stride) : data(d), rows(r), cols(c), ld(stride) {}
  // A mutable view converts to a read-only one.
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>) MatrixView(const MatrixView<U>& v)
      : data(v.data), rows(v.rows), cols(v.cols), ld(v.ld) {}  // NOLINT

  T* row(int64_t r) const { return data + r * ld; }
  T& at(int64_t r, int64_t c) const { return data[r * ld + c]; }
  int64_t size() const { return rows * cols; }
  bool contiguous() const { return ld == cols; }
  // The rectangle of `r` rows and `c` columns that starts at (r0, c0).
  MatrixView block(int64_t r0, int64_t r, int64_t c0, int64_t c) const {
    assert(r0 >= 0 && c0 >= 0 && r0 + r <= rows && c0 + c <= cols);
    return {data + r0 * ld + c0, r, c, ld};
  }
  MatrixView row_range(int64_t r0, int64_t r) const { return block(r0, r, 0, cols); }
};

using View = MatrixView<const float>;
using MutView = MatrixView<float>;

}  // namespace govtrain
