// Whether a factor fits its parameter, and the part of it that belongs to a slice. Sums nothing and writes no gradient:
// that is param_grad.
#pragma once

#include <vector>

#include "autograd/parameter.h"
#include "core/rows.h"
#include "kernels/backend.h"

namespace govtrain {

inline bool covers(const Parameter::Slice& s, const Parameter& p) {
  return s.row_begin == 0 && s.col_begin == 0 && s.row_end == p.rows() && s.col_end == p.cols();
}
inline MutView rectangle(const Tensor& t, const Parameter::Slice& s) {
  return t.view().block(s.row_begin, s.row_end - s.row_begin, s.col_begin, s.col_end - s.col_begin);
}
// Of the parameter's shape.
Tensor zeros_like(const Parameter& p, Backend& backend);

// Throws Error when the shapes differ. A factor has the leading rows of the batch, `needed` of them or more.
void check_factor(const Parameter& p, const Factor& factor, const Rows& rows, int64_t needed);

// The factors whose contraction is the slice's rectangle of the gradient. Columns of dy and x select; for scatter, rows
// of dy whose index lies outside become 0. They may point into `copies` and `indices`.
std::vector<Factor> restrict_to(const Parameter& p, const Parameter::Slice& s, const std::vector<Factor>& factors,
                                Backend& backend, std::vector<Tensor>& copies,
                                std::vector<std::vector<int32_t>>& indices);

// The rows of a scatter factor that fall into a slice, and nothing of the others: all slices together cost what the
// whole parameter does. The factor points into the other members.
struct ScatteredPart {
  ScatteredPart(const Parameter::Slice& s, const Factor& from, const Rows& all, Backend& backend);
  ScatteredPart(const ScatteredPart&) = delete;
  ScatteredPart& operator=(const ScatteredPart&) = delete;

  std::vector<int32_t> index;    // rows of the slice; empty: no row falls into it, the rest is not set
  std::vector<size_t> examples;  // those that have rows in it
  Rows rows;
  Tensor dy;
  Factor factor;
};

}  // namespace govtrain
