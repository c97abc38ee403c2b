// What the op files share: checks at the front end, and the factor of a bias. Not for users of ops.
#pragma once

#include <span>

#include "autograd/tape.h"
#include "core/error.h"

namespace govtrain {

inline void check_defined(const char* op, const Var& x) {
  if (!x.defined()) throw Error(op, "expected a value, got a Var that is empty or was moved from");
}

inline void check_same_shape(const char* op, const Var& a, const Var& b) {
  check_defined(op, a);
  check_defined(op, b);
  if (a.rows() != b.rows() || a.cols() != b.cols()) {
    throw Error(op, "shapes; expected two alike, got [{}, {}] and [{}, {}]", a.rows(), a.cols(), b.rows(), b.cols());
  }
}

inline void check_vector(const char* op, const Parameter& p, int64_t size) {
  if (!p.is_vector() || p.cols() != size) {
    throw Error(op, "'{}'; expected [{}], got [{}, {}]", p.name(), size, p.rows(), p.cols());
  }
}

inline std::span<const float> vector_of(const Parameter* p) {
  if (p == nullptr) return {};
  return {p->value().data(), static_cast<size_t>(p->value().size())};
}

inline std::span<float> span_of(const Tensor& t) { return {t.data(), static_cast<size_t>(t.size())}; }

// Of a vector with one value for each row: those of the leading rows.
inline std::span<const float> leading(const Tensor& t, int64_t rows) {
  return std::span<const float>(t.data(), static_cast<size_t>(t.size())).first(static_cast<size_t>(rows));
}

inline Factor bias_factor(const Tensor& dy) {
  Factor f;
  f.kind = Factor::Kind::bias;
  f.dy = dy.cview();
  return f;
}

}  // namespace govtrain
