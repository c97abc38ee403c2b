#include "autograd/factors.h"

#include <fmt/format.h>

#include "core/error.h"

namespace govtrain {
namespace {

const char* kind_name(Factor::Kind kind) {
  switch (kind) {
    case Factor::Kind::outer:
      return "outer";
    case Factor::Kind::gain:
      return "gain";
    case Factor::Kind::bias:
      return "bias";
    case Factor::Kind::scatter:
      return "scatter";
  }
  return "?";
}

}  // namespace

Tensor zeros_like(const Parameter& p, Backend& backend) {
  return Tensor::zeros(p.rows(), p.cols(), backend.allocator());
}

void check_factor(const Parameter& p, const Factor& f, const Rows& rows, int64_t needed) {
  const bool vector = f.kind == Factor::Kind::gain || f.kind == Factor::Kind::bias;
  const bool uses_x = f.kind == Factor::Kind::outer || f.kind == Factor::Kind::gain;
  const int64_t dy_cols = f.kind == Factor::Kind::outer ? p.rows() : p.cols();
  if (vector != p.is_vector() || f.dy.rows < needed || f.dy.rows > rows.total() || f.dy.cols != dy_cols ||
      (uses_x && (f.x.rows != f.dy.rows || f.x.cols != p.cols()))) {
    const std::string expected =
        needed == rows.total() ? fmt::format("{}", needed) : fmt::format("{} to {}", needed, rows.total());
    throw Error("param_grad", "{} factor for '{}' [{}, {}]; expected dy [{}, {}], got dy [{}, {}], x [{}, {}]",
                kind_name(f.kind), p.name(), p.rows(), p.cols(), expected, dy_cols, f.dy.rows, f.dy.cols, f.x.rows,
                f.x.cols);
  }
}

std::vector<Factor> restrict_to(const Parameter& p, const Parameter::Slice& s, const std::vector<Factor>& factors,
                                Backend& backend, std::vector<Tensor>& copies,
                                std::vector<std::vector<int32_t>>& indices) {
  std::vector<Factor> out = factors;
  const int64_t cols = s.col_end - s.col_begin;
  for (Factor& f : out) {
    if (f.kind == Factor::Kind::outer) {
      f.dy = f.dy.block(0, f.dy.rows, s.row_begin, s.row_end - s.row_begin);
    } else {
      f.dy = f.dy.block(0, f.dy.rows, s.col_begin, cols);
    }
    if (f.kind == Factor::Kind::outer || f.kind == Factor::Kind::gain) f.x = f.x.block(0, f.x.rows, s.col_begin, cols);
    if (f.kind == Factor::Kind::scatter && (s.row_begin != 0 || s.row_end != p.rows())) {
      const auto n = static_cast<size_t>(f.dy.rows);
      std::vector<int32_t> index(n, 0);
      std::vector<float> inside(n, 0.0f);
      for (size_t t = 0; t < n; ++t) {
        if (f.index[t] < s.row_begin || f.index[t] >= s.row_end) continue;
        index[t] = static_cast<int32_t>(f.index[t] - s.row_begin);
        inside[t] = 1.0f;
      }
      copies.emplace_back(f.dy.rows, cols, backend.allocator());
      backend.scale_rows(f.dy, inside, copies.back().view());
      indices.push_back(std::move(index));
      f.dy = copies.back().cview();
      f.index = indices.back().data();
    }
  }
  return out;
}

ScatteredPart::ScatteredPart(const Parameter::Slice& s, const Factor& whole, const Rows& all, Backend& backend) {
  std::vector<int32_t> lengths, from;
  for (int e = 0; e < all.examples(); ++e) {
    const size_t before = index.size();
    for (int t = all.begin(e); t < all.end(e); ++t) {
      if (whole.index[t] < s.row_begin || whole.index[t] >= s.row_end) continue;
      index.push_back(static_cast<int32_t>(whole.index[t] - s.row_begin));
      from.push_back(t);
    }
    if (index.size() == before) continue;
    lengths.push_back(static_cast<int32_t>(index.size() - before));
    examples.push_back(static_cast<size_t>(e));
  }
  if (index.empty()) return;
  const View columns = whole.dy.block(0, whole.dy.rows, s.col_begin, s.col_end - s.col_begin);
  dy = Tensor(static_cast<int64_t>(index.size()), columns.cols, backend.allocator());
  backend.embedding(columns, from, dy.view(), false);
  rows = Rows::of_lengths(lengths);
  factor = whole;
  factor.dy = dy.cview();
  factor.index = index.data();
}

}  // namespace govtrain
