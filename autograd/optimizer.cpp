#include "autograd/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autograd/factors.h"
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
  const auto rate = static_cast<float>(lr);
  std::vector<Tensor> gradients;  // of each parameter, kept until the update is queued
  std::vector<SgdUpdate> sgd;
  std::vector<AdamUpdate> adam;
  for (size_t i = 0; i < set_->size(); ++i) {
    Parameter& p = (*set_)[i];
    Slot& slot = slots_[i];
    gradients.push_back(drives_ == Drives::model ? p.grad() : p.withheld());
    Tensor& gradient = gradients.back();
    const bool decays = drives_ == Drives::model && (!p.is_vector() || options_.decay_vectors);
    const float decay = decays ? options_.weight_decay : 0.0f;
    for (size_t k = 0; k < p.slices().size(); ++k) {
      const bool touched = drives_ == Drives::model ? p.touched(k) : p.withholds(k);
      if (!touched && options_.untouched == Untouched::skip) continue;
      if (!gradient.defined()) gradient = Tensor::zeros(p.rows(), p.cols(), backend_->allocator());  // none so far
      const Parameter::Slice& s = p.slices()[k];
      const auto at = [&](const Tensor& t) { return t.defined() ? rectangle(t, s).data : nullptr; };
      const MutView value = rectangle(drives_ == Drives::model ? p.value() : slot.moved, s);
      const int64_t t = ++slot.steps[k];
      if (options_.kind == OptimizerKind::sgd) {
        const SgdOptions o{rate, options_.momentum, options_.dampening, decay, options_.nesterov, t == 1};
        sgd.push_back({value, at(gradient), at(slot.first), o});
      } else {
        const bool decoupled = options_.kind == OptimizerKind::adamw;
        const AdamOptions o{rate, options_.beta1, options_.beta2, options_.eps, decay, decoupled, t};
        adam.push_back({value, at(gradient), at(slot.first), at(slot.second), o});
      }
      stepped[static_cast<size_t>(s.block)] = true;
    }
  }
  options_.kind == OptimizerKind::sgd ? backend_->sgd(sgd) : backend_->adam(adam);
  return stepped;
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
