#include "autograd/ops.h"
#include "autograd/ops_check.h"

namespace govtrain {
namespace {

// Where to write the gradient [rows of dy] of a saved input: over it, when this was its last holder.
Tensor over(Backward& back, const Tensor& saved, const Tensor& dy) {
  return saved.unique() && saved.rows() == dy.rows() ? saved : back.make(dy.rows(), saved.cols());
}

Var activation(const char* op, Activation kind, const Var& x) {
  check_defined(op, x);
  Tape& tape = x.tape();
  Tensor y = tape.make(x.rows(), x.cols());
  tape.backend().activation(kind, x.view(), y.view());
  const Tensor kept = x.kept(tape.active_rows({x.node()}, {}));
  return tape.record(op, std::move(y), {x.node()}, {},
                     [kind, input = kept, node = x.node()](Backward& back, const Tensor& dy) {
                       const Tensor dx = over(back, input, dy);
                       back.backend().activation_dx(kind, dy.cview(), input.cview().row_range(0, dy.rows()), dx.view());
                       back.give(node, dx);
                     });
}

}  // namespace

Var gelu(const Var& x) { return activation("gelu", Activation::gelu, x); }
Var silu(const Var& x) { return activation("silu", Activation::silu, x); }

Var gated(Activation kind, const Var& gate, const Var& up) {
  check_same_shape("gated", gate, up);
  Tape& tape = gate.tape();
  Tensor y = tape.make(gate.rows(), gate.cols());
  tape.backend().gated(kind, gate.view(), up.view(), y.view());
  const int64_t rows = tape.active_rows({gate.node(), up.node()}, {});
  return tape.record("gated", std::move(y), {gate.node(), up.node()}, {},
                     [kind, g = gate.kept(rows), u = up.kept(rows), gate_node = gate.node(), up_node = up.node()](
                         Backward& back, const Tensor& dy) {
                       const int64_t n = dy.rows();
                       const Tensor dgate = over(back, g, dy);
                       const Tensor dup = over(back, u, dy);
                       back.backend().gated_dx(kind, dy.cview(), g.cview().row_range(0, n), u.cview().row_range(0, n),
                                               dgate.view(), dup.view());
                       if (back.needs(gate_node)) back.give(gate_node, dgate);
                       if (back.needs(up_node)) back.give(up_node, dup);
                     });
}

Var add(Var a, Var b) {
  check_same_shape("add", a, b);
  Tape& tape = a.tape();
  const int an = a.node();
  const int bn = b.node();
  const Tensor at = a.take();
  const Tensor bt = b.take();
  const Tensor y = bt.unique() ? bt : at.unique() ? at : tape.make(at.rows(), at.cols());
  tape.backend().add(at.cview(), bt.cview(), y.view());
  return tape.record("add", y, {an, bn}, {}, [an, bn](Backward& back, const Tensor& dy) {
    if (back.needs(an)) back.give(an, dy);
    if (back.needs(bn)) back.give(bn, dy);
  });
}

Var dropout(Var x, float rate) {
  check_defined("dropout", x);
  if (!(rate >= 0.0f && rate < 1.0f)) throw Error("dropout", "rate; expected in [0, 1), got {}", rate);
  Tape& tape = x.tape();
  if (rate == 0.0f || !tape.recording()) return x;
  const DropoutKey key = tape.next_dropout();
  const int node = x.node();
  const Tensor xt = x.take();
  const Tensor y = xt.unique() ? xt : tape.make(xt.rows(), xt.cols());
  tape.backend().dropout(xt.cview(), tape.rows(), key, rate, y.view());
  return tape.record("dropout", y, {node}, {}, [key, rate, node](Backward& back, const Tensor& dy) {
    const Tensor dx = back.make(dy.rows(), dy.cols());
    DropoutKey part = key;
    part.example_ids = key.example_ids.first(static_cast<size_t>(back.rows().examples()));
    back.backend().dropout(dy.cview(), back.rows(), part, rate, dx.view());
    back.give(node, dx);
  });
}

}  // namespace govtrain
