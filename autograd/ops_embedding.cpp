#include <memory>

#include "autograd/ops.h"
#include "autograd/ops_check.h"

namespace govtrain {
namespace {

using Index = std::shared_ptr<const std::vector<int32_t>>;

Index checked_index(const char* op, const char* what, std::span<const int32_t> index, int64_t limit) {
  for (size_t t = 0; t < index.size(); ++t) {
    if (index[t] < 0 || index[t] >= limit) {
      throw Error(op, "{}; expected in [0, {}), got {} at row {}", what, limit, index[t], t);
    }
  }
  return std::make_shared<const std::vector<int32_t>>(index.begin(), index.end());
}

Factor scatter_factor(const Tensor& dy, const Index& index) {
  Factor f;
  f.kind = Factor::Kind::scatter;
  f.dy = dy.cview();
  f.index = index->data();
  return f;
}

}  // namespace

Var embedding(Tape& tape, Parameter& table, std::span<const int32_t> tokens, Parameter* positions,
              std::span<const int32_t> position) {
  const auto rows = static_cast<size_t>(tape.rows().total());
  if (tokens.size() != rows) throw Error("embedding", "tokens; expected {}, got {}", rows, tokens.size());
  if (positions != nullptr && (position.size() != rows || positions->cols() != table.cols())) {
    throw Error("embedding", "positions '{}'; expected {} of width {}, got {} of width {}", positions->name(), rows,
                table.cols(), position.size(), positions->cols());
  }
  const Index token_index = checked_index("embedding", "token", tokens, table.rows());
  Tensor y = tape.make(tape.rows().total(), table.cols());
  tape.backend().embedding(table.value().cview(), *token_index, y.view(), false);
  std::vector<const Parameter*> uses{&table};
  Index position_index;
  if (positions != nullptr) {
    position_index = checked_index("embedding", "position", position, positions->rows());
    tape.backend().embedding(positions->value().cview(), *position_index, y.view(), true);
    uses.push_back(positions);
  }
  return tape.record("embedding", std::move(y), {}, std::move(uses),
                     [&table, positions, token_index, position_index](Backward& back, const Tensor& dy) {
                       back.parameters().add(table, scatter_factor(dy, token_index), {dy}, token_index);
                       if (positions != nullptr) {
                         back.parameters().add(*positions, scatter_factor(dy, position_index), {dy}, position_index);
                       }
                     });
}

Var take_rows(const Var& x, std::span<const int32_t> index) {
  check_defined("take_rows", x);
  Tape& tape = x.tape();
  if (tape.recording()) throw Error("take_rows", "expected a tape in eval mode, got one in train mode");
  const Index checked = checked_index("take_rows", "row", index, x.rows());
  Tensor y = tape.make(static_cast<int64_t>(index.size()), x.cols());
  tape.backend().embedding(x.view(), *checked, y.view(), false);
  return tape.record("take_rows", std::move(y), {}, {}, nullptr);
}

}  // namespace govtrain
