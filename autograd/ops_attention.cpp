#include <cmath>
#include <memory>

#include "autograd/ops.h"
#include "autograd/ops_check.h"

namespace govtrain {
namespace {

// The storage itself when nobody else holds it, else a copy: something that may be overwritten.
Tensor own(Var x) {
  Tensor t = x.take();
  return t.unique() ? t : t.clone();
}

void check_attention(const Var& q, const Var& k, const Var& v, const AttentionOptions& o) {
  check_defined("attention", q);
  check_same_shape("attention", k, v);
  const Rows& rows = q.tape().rows();
  if (o.heads < 1 || o.kv_heads < 1 || o.heads % o.kv_heads != 0) {
    throw Error("attention", "expected kv_heads that divide heads, got heads {}, kv_heads {}", o.heads, o.kv_heads);
  }
  const int64_t head_dim = q.cols() / o.heads;
  if (q.cols() % o.heads != 0 || k.cols() != head_dim * o.kv_heads || q.rows() != rows.total() ||
      k.rows() != rows.total()) {
    throw Error("attention",
                "expected q [{0}, {1} heads * hd], k and v [{0}, {2} heads * hd], got [{3}, {4}], [{5}, {6}]",
                rows.total(), o.heads, o.kv_heads, q.rows(), q.cols(), k.rows(), k.cols());
  }
  if (o.rope_base > 0 && head_dim % 2 != 0) {
    throw Error("attention", "rotary positions; expected an even head_dim, got {}", head_dim);
  }
  if (!o.start.empty() && o.start.size() != static_cast<size_t>(rows.examples())) {
    throw Error("attention", "start; expected {} positions, got {}", rows.examples(), o.start.size());
  }
}

}  // namespace

Var attention(Var q, Var k, Var v, const AttentionOptions& options) {
  check_attention(q, k, v, options);
  Tape& tape = q.tape();
  Backend& backend = tape.backend();
  const int heads = options.heads;
  const int kv_heads = options.kv_heads;
  const float base = options.rope_base;
  const int head_dim = static_cast<int>(q.cols() / heads);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
  const std::vector<int32_t> start(options.start.begin(), options.start.end());
  const int qn = q.node();
  const int kn = k.node();
  const int vn = v.node();
  Tensor qt;
  Tensor kt;
  if (base > 0) {
    qt = own(std::move(q));
    kt = own(std::move(k));
    backend.rope(qt.view(), tape.rows(), start, head_dim, base, +1);
    backend.rope(kt.view(), tape.rows(), start, head_dim, base, +1);
  } else {
    qt = q.take();
    kt = k.take();
  }
  Tensor vt = v.take();
  Tensor out = tape.make(qt.rows(), qt.cols());
  Tensor lse = tape.make(qt.rows(), heads);
  backend.attention(qt.cview(), kt.cview(), vt.cview(), tape.rows(), heads, kv_heads, scale, out.view(), lse.view());
  const int64_t active = tape.active_rows({qn, kn, vn}, {});
  const Tensor kept = tape.leading(out, active);
  for (Tensor* t : {&qt, &kt, &vt, &lse}) *t = tape.leading(*t, active);
  const auto backward = [=](Backward& back, const Tensor& dy) {
    const Rows& rows = back.rows();
    const int64_t n = rows.total();
    Tensor dq = back.make(n, qt.cols());
    Tensor dk = back.make(n, kt.cols());
    Tensor dv = back.make(n, vt.cols());
    back.backend().attention_backward(qt.cview().row_range(0, n), kt.cview().row_range(0, n),
                                      vt.cview().row_range(0, n), kept.cview().row_range(0, n),
                                      lse.cview().row_range(0, n), dy.cview(), rows, heads, kv_heads, scale, dq.view(),
                                      dk.view(), dv.view());
    if (base > 0) {
      const auto first = std::span(start).first(start.empty() ? 0 : static_cast<size_t>(rows.examples()));
      back.backend().rope(dq.view(), rows, first, head_dim, base, -1);
      back.backend().rope(dk.view(), rows, first, head_dim, base, -1);
    }
    if (back.needs(qn)) back.give(qn, dq);
    if (back.needs(kn)) back.give(kn, dk);
    if (back.needs(vn)) back.give(vn, dv);
  };
  return tape.record("attention", std::move(out), {qn, kn, vn}, {}, backward, kept);
}

}  // namespace govtrain
