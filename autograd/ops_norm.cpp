#include "autograd/ops.h"
#include "autograd/ops_check.h"

namespace govtrain {

Var layer_norm(const Var& x, Parameter& gain, Parameter* bias, float eps) {
  check_defined("layer_norm", x);
  check_vector("layer_norm", gain, x.cols());
  if (bias != nullptr) check_vector("layer_norm", *bias, x.cols());
  Tape& tape = x.tape();
  Tensor y = tape.make(x.rows(), x.cols());
  Tensor mean = tape.make(1, x.rows());
  Tensor rstd = tape.make(1, x.rows());
  tape.backend().layer_norm(x.view(), vector_of(&gain), vector_of(bias), eps, y.view(), span_of(mean), span_of(rstd));
  std::vector<const Parameter*> uses{&gain};
  if (bias != nullptr) uses.push_back(bias);
  const Tensor kept = x.kept(tape.active_rows({x.node()}, uses));
  return tape.record("layer_norm", std::move(y), {x.node()}, std::move(uses),
                     [&gain, bias, input = kept, mean, rstd, node = x.node()](Backward& back, const Tensor& dy) {
                       Factor f;
                       f.kind = Factor::Kind::gain;
                       f.dy = dy.cview();
                       f.x = input.cview().row_range(0, dy.rows());
                       f.mean = mean.data();
                       f.rstd = rstd.data();
                       back.parameters().add(gain, f, {dy, input, mean, rstd});
                       if (bias != nullptr) back.parameters().add(*bias, bias_factor(dy), {dy});
                       if (!back.needs(node)) return;
                       const Backward::Slot dx = back.slot_over(node, dy);  // dy has served as a factor
                       const int64_t n = dx.view.rows;
                       back.backend().layer_norm_dx(dy.cview().row_range(0, n), input.cview().row_range(0, n),
                                                    vector_of(&gain), leading(mean, n), leading(rstd, n), dx.view,
                                                    dx.add);
                     });
}

Var rms_norm(const Var& x, Parameter& gain, float eps) {
  check_defined("rms_norm", x);
  check_vector("rms_norm", gain, x.cols());
  Tape& tape = x.tape();
  Tensor y = tape.make(x.rows(), x.cols());
  Tensor rstd = tape.make(1, x.rows());
  tape.backend().rms_norm(x.view(), vector_of(&gain), eps, y.view(), span_of(rstd));
  const Tensor kept = x.kept(tape.active_rows({x.node()}, {&gain}));
  return tape.record("rms_norm", std::move(y), {x.node()}, {&gain},
                     [&gain, input = kept, rstd, node = x.node()](Backward& back, const Tensor& dy) {
                       Factor f;
                       f.kind = Factor::Kind::gain;
                       f.dy = dy.cview();
                       f.x = input.cview().row_range(0, dy.rows());
                       f.rstd = rstd.data();
                       back.parameters().add(gain, f, {dy, input, rstd});
                       if (!back.needs(node)) return;
                       const Backward::Slot dx = back.slot_over(node, dy);
                       const int64_t n = dx.view.rows;
                       back.backend().rms_norm_dx(dy.cview().row_range(0, n), input.cview().row_range(0, n),
                                                  vector_of(&gain), leading(rstd, n), dx.view, dx.add);
                     });
}

}  // namespace govtrain
