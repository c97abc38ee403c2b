#include <algorithm>

#include "autograd/ops.h"
#include "autograd/ops_check.h"

namespace govtrain {
namespace {

// dx = weight of each row's example times dy; exactly 0 where the weight is 0, whatever dy holds.
void scale_examples(Backward& back, std::span<const float> weight, View dy, MutView dx) {
  std::vector<float> per_row(static_cast<size_t>(dy.rows));
  const Rows& rows = back.rows();
  for (int e = 0; e < rows.examples(); ++e) {
    std::fill(per_row.begin() + rows.begin(e), per_row.begin() + rows.end(e), weight[static_cast<size_t>(e)]);
  }
  back.backend().scale_rows(dy, per_row, dx);
  for (int64_t t = 0; t < dx.rows; ++t) {
    if (per_row[static_cast<size_t>(t)] == 0.0f) {
      back.backend().fill({dx.row(t), static_cast<size_t>(dx.cols)}, 0.0f);
    }
  }
}

}  // namespace

Var gate(Var x, const std::vector<GateSegment>& segments) {
  check_defined("gate", x);
  Tape& tape = x.tape();
  if (segments.empty() || !tape.recording()) return x;
  int64_t at = 0;
  for (const GateSegment& s : segments) {
    if (s.begin != at || s.end <= s.begin) throw Error("gate", "segments; expected one that begins at column {}", at);
    at = s.end;
  }
  if (at != x.cols() || x.rows() != tape.rows().total()) {
    throw Error("gate", "expected [{}, {}], got [{}, {}]", tape.rows().total(), at, x.rows(), x.cols());
  }
  const ParamGrad* known = tape.known();
  const bool shut = known != nullptr && std::none_of(segments.begin(), segments.end(),
                                                     [&](const GateSegment& s) { return known->gate_opens(s.block); });
  if (shut) return tape.constant(x.take());
  const int node = x.node();
  return tape.record("gate", x.take(), {node}, {}, [segments, node](Backward& back, const Tensor& dy) {
    const ParamGrad& grads = back.parameters();
    const auto all_one = [&](const GateSegment& s) {
      const auto w = grads.gate_weights(s.block);
      return std::all_of(w.begin(), w.end(), [](float v) { return v == 1.0f; });
    };
    if (std::all_of(segments.begin(), segments.end(), all_one)) return back.give(node, dy);
    const Tensor dx = dy.unique() ? dy : back.make(dy.rows(), dy.cols());
    for (const GateSegment& s : segments) {
      scale_examples(back, grads.gate_weights(s.block), dy.cview().block(0, dy.rows(), s.begin, s.end - s.begin),
                     dx.view().block(0, dy.rows(), s.begin, s.end - s.begin));
    }
    back.give(node, dx);
  });
}

}  // namespace govtrain
