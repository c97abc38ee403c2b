#include "autograd/ops.h"
#include "autograd/ops_check.h"

namespace govtrain {

Var linear(const Var& x, Parameter& w, Parameter* b) {
  check_defined("linear", x);
  if (x.cols() != w.cols() || w.is_vector()) {
    throw Error("linear", "x for '{}' [{}, {}]; expected [rows, {}], got [{}, {}]", w.name(), w.rows(), w.cols(),
                w.cols(), x.rows(), x.cols());
  }
  if (b != nullptr) check_vector("linear", *b, w.rows());
  Tape& tape = x.tape();
  Tensor y = tape.make(x.rows(), w.rows());
  tape.backend().linear(x.view(), w.value().cview(), vector_of(b), y.view());
  std::vector<const Parameter*> uses{&w};
  if (b != nullptr) uses.push_back(b);
  // For the gradient of w alone; that of x needs w.
  const Tensor kept = x.kept(tape.may_learn(w) ? tape.active_rows({x.node()}, uses) : 0);
  return tape.record("linear", std::move(y), {x.node()}, std::move(uses),
                     [&w, b, input = kept, node = x.node()](Backward& back, const Tensor& dy) mutable {
                       if (back.parameters().active(w)) {
                         Factor outer;
                         outer.kind = Factor::Kind::outer;
                         outer.dy = dy.cview();
                         outer.x = input.cview().row_range(0, dy.rows());
                         back.parameters().add(w, outer, {dy, input});
                       }
                       if (b != nullptr) back.parameters().add(*b, bias_factor(dy), {dy});
                       input = {};  // before the next allocation, which may have its place
                       if (!back.needs(node)) return;
                       const Backward::Slot dx = back.slot(node, w.cols());
                       back.backend().linear_dx(dy.cview().row_range(0, dx.view.rows), w.value().cview(), dx.view,
                                                dx.add);
                     });
}

}  // namespace govtrain
