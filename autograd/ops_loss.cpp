#include "autograd/ops.h"
#include "autograd/ops_check.h"

namespace govtrain {

Losses cross_entropy(Var logits, std::span<const int32_t> target, std::span<float> row_loss) {
  check_defined("cross_entropy", logits);
  Tape& tape = logits.tape();
  const Rows& rows = tape.rows();
  const auto total = static_cast<size_t>(rows.total());
  if (logits.rows() != rows.total() || target.size() != total || (!row_loss.empty() && row_loss.size() != total)) {
    throw Error("cross_entropy", "expected {} rows, got {} of logits, {} targets, {} row losses", total, logits.rows(),
                target.size(), row_loss.size());
  }
  Losses losses;
  losses.counts.assign(static_cast<size_t>(rows.examples()), 0);
  for (int e = 0; e < rows.examples(); ++e) {
    for (int t = rows.begin(e); t < rows.end(e); ++t) {
      const int32_t y = target[static_cast<size_t>(t)];
      if (y >= logits.cols())
        throw Error("cross_entropy", "target; expected < {}, got {} at row {}", logits.cols(), y, t);
      if (y >= 0) ++losses.counts[static_cast<size_t>(e)];
    }
  }
  const int node = logits.node();
  const bool differentiate = tape.recording() && node >= 0;
  Tensor dlogits = logits.take();
  if (differentiate && !dlogits.unique()) dlogits = dlogits.clone();
  Allocator& memory = tape.backend().allocator();
  const Buffer<double> sums(static_cast<size_t>(rows.examples()), memory);
  const Buffer<float> of_rows(row_loss.size(), memory);
  tape.backend().cross_entropy(dlogits.view(), target, rows, differentiate, sums.span(), of_rows.span());
  losses.sums = sums.later();
  if (!row_loss.empty()) memory.read(row_loss.data(), of_rows.span().data(), row_loss.size_bytes());

  Tensor value = tape.make(rows.examples(), 1);
  if (tape.watches()) value.assign(std::vector<float>(losses.nll().begin(), losses.nll().end()));
  // Of the rows that nobody learns from nothing is kept.
  dlogits = differentiate ? tape.leading(dlogits, tape.active_rows({node}, {})) : Tensor();
  losses.var = tape.record(
      "cross_entropy", std::move(value), {node}, {}, [dlogits, node](Backward& back, const Tensor& coefficient) {
        std::vector<Scaling> scaled;
        for (int e = 0; e < back.rows().examples(); ++e) {
          const float c = coefficient.values()[static_cast<size_t>(e)];
          if (c != 1.0f) {
            scaled.push_back({dlogits.view().row_range(back.rows().begin(e), back.rows().length(e)), c});
          }
        }
        back.backend().scale(scaled);
        back.give(node, dlogits);
      });
  return losses;
}

}  // namespace govtrain
