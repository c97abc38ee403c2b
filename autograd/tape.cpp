#include "autograd/tape.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "core/parallel.h"

namespace govtrain {

double Losses::total_nll() const { return std::accumulate(nll().begin(), nll().end(), 0.0); }
int64_t Losses::total_count() const { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

Tensor Var::kept(int64_t rows) const {
  if (rows >= value_.rows()) return value_;
  if (rows <= 0) return {};
  if (!kept_->defined() || kept_->rows() < rows) *kept_ = tape_->leading(value_, rows);
  return *kept_;
}

Tape::Tape(Backend& backend, const Rows& rows, Mode mode, StepKey key, const ParamGrad* known)
    : backend_(&backend), rows_(&rows), mode_(mode), key_(std::move(key)), known_(known) {
  if (!key_.example_ids.empty() && key_.example_ids.size() != static_cast<size_t>(rows.examples())) {
    throw Error("tape", "example ids; expected {}, got {}", rows.examples(), key_.example_ids.size());
  }
}

DropoutKey Tape::next_dropout() {
  if (key_.example_ids.empty()) throw Error("dropout", "expected example ids in the step key, got none");
  return {key_.seed, key_.step, dropouts_++, key_.example_ids};
}

// The end of the leading examples that are admitted to one of `uses`, or that an input goes back over.
int Tape::active_examples(const std::vector<int>& inputs, const std::vector<const Parameter*>& uses,
                          const ParamGrad& grads) const {
  int end = 0;
  for (const Parameter* p : uses) end = std::max(end, grads.reach(*p));
  for (const int input : inputs) {
    if (input >= 0) end = std::max(end, nodes_[static_cast<size_t>(input)].examples);
  }
  return end;
}

bool Tape::unreached(const std::vector<int>& inputs, const std::vector<const Parameter*>& uses) const {
  return known_ != nullptr &&
         std::none_of(uses.begin(), uses.end(), [&](const Parameter* p) { return known_->active(*p); }) &&
         std::all_of(inputs.begin(), inputs.end(), [](int input) { return input < 0; });
}

int64_t Tape::active_rows(const std::vector<int>& inputs, const std::vector<const Parameter*>& uses) const {
  if (!recording() || unreached(inputs, uses)) return 0;
  if (known_ == nullptr) return rows_->total();
  return rows_->offsets()[static_cast<size_t>(active_examples(inputs, uses, *known_))];
}

Tensor Tape::leading(const Tensor& value, int64_t rows) const {
  if (rows >= value.rows()) return value;
  if (rows <= 0) return {};
  const Tensor out = make(rows, value.cols());
  if (!value.on_host()) {
    backend_->allocator().copy(out.data(), value.data(), static_cast<size_t>(out.size()) * sizeof(float));
    return out;
  }
  constexpr int64_t piece = 1 << 16;
  parallel_for((out.size() + piece - 1) / piece, [&](int64_t i) {
    const auto n = static_cast<size_t>(std::min(piece, out.size() - i * piece));
    std::memcpy(out.data() + i * piece, value.data() + i * piece, n * sizeof(float));
  });
  return out;
}

Var Tape::record(const char* op, Tensor value, std::vector<int> inputs, std::vector<const Parameter*> uses,
                 BackwardFn backward, const Tensor& kept) {
  if (!uses.empty()) last_used_ = uses.front();
  const bool by_rows = value.rows() == rows_->total();
  if (watch_) watch(nodes_.size(), op, value.cview(), by_rows, false);
  if (!recording()) return Var(this, -1, std::move(value));
  if (unreached(inputs, uses)) {
    unrecorded_.insert(unrecorded_.end(), uses.begin(), uses.end());
    return Var(this, -1, std::move(value));
  }
  const int examples = known_ == nullptr ? rows_->examples() : active_examples(inputs, uses, *known_);
  nodes_.push_back({op, std::move(inputs), std::move(uses), std::move(backward), examples, by_rows, {}, false});
  Var out(this, static_cast<int>(nodes_.size()) - 1, std::move(value));
  *out.kept_ = kept;
  return out;
}

void Tape::watch(size_t node, const char* op, View value, bool by_rows, bool in_backward) {
  if (non_finite_) return;
  const int64_t row = backend_->first_non_finite_row(value);
  if (row < 0) return;
  NonFinite found;
  found.op = op;
  found.in_backward = in_backward;
  found.row = row;
  const Parameter* p = last_used_;
  if (in_backward) {
    p = nullptr;
    for (size_t i = node + 1; i-- > 0 && p == nullptr;) {
      if (!nodes_[i].uses.empty()) p = nodes_[i].uses.front();
    }
  }
  if (p != nullptr) {
    found.parameter = p->name();
    found.block = p->slices().front().block;
  }
  if (by_rows) {
    const auto& offsets = rows_->offsets();
    found.example = static_cast<int>(std::upper_bound(offsets.begin(), offsets.end(), row) - offsets.begin()) - 1;
  } else if (value.rows <= rows_->examples()) {
    found.example = static_cast<int>(row);
  }
  non_finite_ = found;
}

void Tape::backward(const Losses& losses, std::span<const float> coefficient, ParamGrad& grads) {
  const auto examples = static_cast<size_t>(rows_->examples());
  if (coefficient.size() != examples) {
    throw Error("backward", "coefficients; expected {}, got {}", examples, coefficient.size());
  }
  for (const Parameter* p : unrecorded_) {
    if (grads.active(*p)) throw Error("backward", "'{}' is admitted, but its use was not recorded", p->name());
  }
  const int top = losses.var.node();
  if (known_ != nullptr && recording() && top < 0) return grads.finish();  // no gradient gets anywhere
  if (top < 0 || top >= static_cast<int>(nodes_.size()) || !nodes_[static_cast<size_t>(top)].backward) {
    throw Error("backward", "expected losses recorded on this tape in train mode and not yet gone back over");
  }
  // A node is needed when an active parameter stands at it or below it, and the loss above it; and for the examples
  // that are admitted there.
  for (Node& n : nodes_) {
    if (known_ != nullptr) {
      for (const Parameter* p : n.uses) {
        if (grads.reach(*p) <= n.examples) continue;
        throw Error("backward", "'{}' admits example {}, but its use was recorded for the first {} only", p->name(),
                    grads.reach(*p) - 1, n.examples);
      }
      n.examples = active_examples(n.inputs, n.uses, grads);
    }
    n.needed = std::any_of(n.uses.begin(), n.uses.end(), [&](const Parameter* p) { return grads.active(*p); }) ||
               std::any_of(n.inputs.begin(), n.inputs.end(),
                           [&](int i) { return i >= 0 && nodes_[static_cast<size_t>(i)].needed; });
  }
  std::vector<bool> above(nodes_.size(), false);
  above[static_cast<size_t>(top)] = true;
  for (size_t i = nodes_.size(); i-- > 0;) {
    Node& n = nodes_[i];
    n.needed = n.needed && above[i];
    if (!n.needed) {
      n.backward = nullptr;
      continue;
    }
    for (const Parameter* p : n.uses) grads.expect(*p);
    for (const int input : n.inputs) {
      if (input >= 0) above[static_cast<size_t>(input)] = true;
    }
  }
  nodes_[static_cast<size_t>(top)].grad = Tensor::of(rows_->examples(), 1, coefficient);  // on the host

  Backward context(*this, grads);
  for (size_t i = nodes_.size(); i-- > 0;) {
    Node& n = nodes_[i];
    if (!n.needed) continue;
    const Tensor dy = std::move(n.grad);
    if (!dy.defined()) throw Error("backward", "no gradient reached {} (node {})", n.op, i);
    if (watch_ && static_cast<int>(i) != top) watch(i, n.op, dy.cview(), n.by_rows, true);
    if (n.examples != context.rows_.examples()) context.rows_ = leading_examples(*rows_, n.examples);
    n.backward(context, dy);
    n.backward = nullptr;
  }
  grads.finish();
}

int64_t Backward::rows_of(int node) const {
  const auto examples = static_cast<size_t>(tape_->nodes_[static_cast<size_t>(node)].examples);
  return tape_->rows().offsets()[examples];
}

Backward::Slot Backward::slot(int node, int64_t cols) {
  Tensor& grad = tape_->nodes_[static_cast<size_t>(node)].grad;
  if (!grad.defined()) {
    grad = make(rows_of(node), cols);
    return {grad.view(), false};
  }
  if (!grad.unique()) grad = grad.clone();
  return {grad.view(), true};
}

Backward::Slot Backward::slot_over(int node, const Tensor& dy) {
  Tensor& grad = tape_->nodes_[static_cast<size_t>(node)].grad;
  if (grad.defined() || !dy.unique() || dy.rows() != rows_of(node)) return slot(node, dy.cols());
  grad = dy;
  return {grad.view(), false};
}

void Backward::give(int node, const Tensor& grad) {
  Tensor& have = tape_->nodes_[static_cast<size_t>(node)].grad;
  const int64_t rows = rows_of(node);
  if (!have.defined()) {
    have = tape_->leading(grad, rows);
    return;
  }
  if (!have.unique()) have = have.clone();
  backend().accumulate(grad.cview().row_range(0, rows), have.view());
}

}  // namespace govtrain
