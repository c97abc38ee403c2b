#include "autograd/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace govtrain {
namespace {

const char* first_name(OptimizerKind kind) { return kind == OptimizerKind::sgd ? "momentum_buffer" : "exp_avg"; }

void check(const OptimizerOptions& o) {
  const auto in = [](const char* what, float value, float low, float high) {
    if (!(value >= low && value < high)) {
      throw Error("optimizer", "{}; expected in [{}, {}), got {}", what, low, high, value);
    }
  };
  in("momentum", o.momentum, 0.0f, 1.0f);
  in("beta1", o.beta1, 0.0f, 1.0f);
  in("beta2", o.beta2, 0.0f, 1.0f);
  in("eps", o.eps, 0.0f, 1.0f);
  in("weight_decay", o.weight_decay, 0.0f, 1e6f);
  if (o.nesterov && (o.momentum == 0.0f || o.dampening != 0.0f)) {
    throw Error("optimizer", "nesterov; expected momentum > 0 and dampening 0, got {} and {}", o.momentum, o.dampening);
  }
}

}  // namespace

Optimizer::Optimizer(ParameterSet& set, Backend& backend, OptimizerOptions options, Drives drives)
    : set_(&set), backend_(&backend), options_(options), drives_(drives), slots_(set.size()) {
  check(options);
  const auto zeros = [&](const Parameter& p) { return Tensor::zeros(p.rows(), p.cols(), backend.allocator()); };
  for (size_t i = 0; i < set.size(); ++i) {
    slots_[i].steps.assign(set[i].slices().size(), 0);
    if (options.kind != OptimizerKind::sgd || options.momentum != 0.0f) slots_[i].first = zeros(set[i]);
    if (options.kind != OptimizerKind::sgd) slots_[i].second = zeros(set[i]);
    if (drives == Drives::displacement) slots_[i].moved = zeros(set[i]);
  }
}

std::vector<bool> Optimizer::step(double lr) {
  std::vector<bool> stepped(static_cast<size_t>(set_->blocks()), false);
  for (size_t i = 0; i < set_->size(); ++i) {
    Parameter& p = (*set_)[i];
    Tensor gradient = drives_ == Drives::model ? p.grad() : p.withheld();
    for (size_t k = 0; k < p.slices().size(); ++k) {
      const bool touched = drives_ == Drives::model ? p.touched(k) : p.withholds(k);
      if (!touched && options_.untouched == Untouched::skip) continue;
      if (!gradient.defined()) gradient = Tensor::zeros(p.rows(), p.cols(), backend_->allocator());  // none so far
      step_slice(p, gradient, slots_[i], k, static_cast<float>(lr));
      stepped[static_cast<size_t>(p.slices()[k].block)] = true;
    }
  }
  return stepped;
}

void Optimizer::step_slice(Parameter& p, const Tensor& gradient, Slot& slot, size_t k, float lr) {
  const Parameter::Slice& s = p.slices()[k];
  const int64_t t = ++slot.steps[k];
  const bool decays = drives_ == Drives::model && (!p.is_vector() || options_.decay_vectors);
  const float decay = decays ? options_.weight_decay : 0.0f;
  Tensor& value = drives_ == Drives::model ? p.value() : slot.moved;
  const auto range = [&](int64_t begin, size_t n) {
    const auto at = [&](const Tensor& x) {
      return x.defined() ? std::span<float>(x.data() + begin, n) : std::span<float>();
    };
    const std::span<const float> grad(gradient.data() + begin, n);
    if (options_.kind == OptimizerKind::sgd) {
      backend_->sgd(at(value), grad, at(slot.first),
                    {lr, options_.momentum, options_.dampening, decay, options_.nesterov, t == 1});
    } else {
      backend_->adam(
          at(value), grad, at(slot.first), at(slot.second),
          {lr, options_.beta1, options_.beta2, options_.eps, decay, options_.kind == OptimizerKind::adamw, t});
    }
  };
  if (s.col_begin == 0 && s.col_end == p.cols()) {
    range(s.row_begin * p.cols(), static_cast<size_t>((s.row_end - s.row_begin) * p.cols()));
  } else {
    for (int64_t r = s.row_begin; r < s.row_end; ++r) {
      range(r * p.cols() + s.col_begin, static_cast<size_t>(s.col_end - s.col_begin));
    }
  }
}

OptimizerState Optimizer::export_state() const {
  OptimizerState state;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const std::string& name = (*set_)[i].name();
    if (slots_[i].first.defined())
      state.buffers.push_back({name + "." + first_name(options_.kind), slots_[i].first.host()});
    if (slots_[i].second.defined()) state.buffers.push_back({name + ".exp_avg_sq", slots_[i].second.host()});
    if (slots_[i].moved.defined()) state.buffers.push_back({name + ".displacement", slots_[i].moved.host()});
    state.clocks.push_back({name, slots_[i].steps});
  }
  return state;
}

void Optimizer::import_state(const OptimizerState& state) {
  std::string wrong;
  const OptimizerState mine = export_state();
  const auto find = [](const auto& list, const std::string& name) {
    return std::find_if(list.begin(), list.end(), [&](const auto& item) { return item.name == name; });
  };
  for (const auto& have : mine.buffers) {
    const auto it = find(state.buffers, have.name);
    if (it == state.buffers.end()) {
      wrong += fmt::format("\n  '{}' is missing", have.name);
    } else if (it->value.rows() != have.value.rows() || it->value.cols() != have.value.cols()) {
      wrong += fmt::format("\n  '{}': expected [{}, {}], got [{}, {}]", have.name, have.value.rows(), have.value.cols(),
                           it->value.rows(), it->value.cols());
    }
  }
  for (const auto& given : state.buffers) {
    if (find(mine.buffers, given.name) == mine.buffers.end()) wrong += fmt::format("\n  '{}' is unknown", given.name);
  }
  for (const auto& have : mine.clocks) {
    const auto it = find(state.clocks, have.name);
    if (it == state.clocks.end() || it->steps.size() != have.steps.size()) {
      wrong += fmt::format("\n  steps of '{}': expected {} slices, got {}", have.name, have.steps.size(),
                           it == state.clocks.end() ? 0 : it->steps.size());
    } else if (std::any_of(it->steps.begin(), it->steps.end(), [](int64_t t) { return t < 0; })) {
      wrong += fmt::format("\n  steps of '{}': expected >= 0", have.name);
    }
  }
  if (!wrong.empty()) throw Error("optimizer", "this state is not of this model and optimizer:{}", wrong);
  for (size_t i = 0; i < slots_.size(); ++i) {
    const std::string& name = (*set_)[i].name();
    const auto copy = [&](const Tensor& to, const std::string& buffer) {
      if (!to.defined()) return;
      const Tensor& from = find(state.buffers, name + "." + buffer)->value;
      to.assign(from.host().values());
    };
    copy(slots_[i].first, first_name(options_.kind));
    copy(slots_[i].second, "exp_avg_sq");
    copy(slots_[i].moved, "displacement");
    slots_[i].steps = find(state.clocks, name)->steps;
  }
}

double Schedule::at(int64_t step) const {
  if (step < warmup_steps) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const int64_t span = total_steps - 1 - warmup_steps;
  const double done =
      span <= 0 ? 1.0 : std::min(1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(span));
  switch (kind) {
    case Kind::constant:
      return lr;
    case Kind::linear:
      return lr + (min_lr - lr) * done;
    case Kind::cosine:
      return min_lr + (lr - min_lr) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  }
  return lr;
}

}  // namespace govtrain
