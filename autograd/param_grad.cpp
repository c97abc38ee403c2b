#include "autograd/param_grad.h"

#include <algorithm>
#include <cmath>

#include "autograd/factors.h"
#include "core/error.h"

namespace govtrain {
namespace {

// The end of the leading examples of which some has a weight that is not 0.
int reach_of(const std::vector<float>& weight) {
  const auto last = std::find_if(weight.rbegin(), weight.rend(), [](float w) { return w != 0.0f; });
  return static_cast<int>(weight.rend() - last);
}

}  // namespace

Rows leading_examples(const Rows& rows, int n) {
  return Rows(std::vector<int32_t>(rows.offsets().begin(), rows.offsets().begin() + n + 1));
}

ParamGrad::ParamGrad(ParameterSet& set, Backend& backend, const Rows& rows)
    : set_(&set),
      backend_(&backend),
      rows_(&rows),
      blocks_(set.blocks()),
      active_(set.size(), true),
      reach_(set.size(), rows.examples()),
      pending_(set.size()) {
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set[i].grad_.defined()) set[i].grad_ = zeros_like(set[i], backend);
  }
}

ParamGrad ParamGrad::plain(ParameterSet& set, Backend& backend, const Rows& rows) {
  ParamGrad grads(set, backend, rows);
  grads.gate_.assign(static_cast<size_t>(set.blocks()), {});  // of no weights: gates are open
  return grads;
}

ParamGrad::ParamGrad(ParameterSet& set, Backend& backend, const Rows& rows, const RouteTable& route,
                     ParamGradOptions options)
    : ParamGrad(set, backend, rows) {
  routed_ = true;
  options_ = options;
  if (route.examples != rows.examples() || route.blocks != blocks_) {
    throw Error("param_grad", "route table; expected [{} examples, {} blocks], got [{}, {}]", rows.examples(), blocks_,
                route.examples, route.blocks);
  }
  const auto examples = static_cast<size_t>(route.examples);
  RouteTable own = route;
  if (options.gates != nullptr) {
    if (options.withheld) throw Error("param_grad", "withheld gradients; expected the technique 'scale' alone");
    for (int b = 0; b < blocks_; ++b) gate_.push_back(route.column(b));
    const auto n = static_cast<size_t>(blocks_);
    for (size_t e = 0; e < examples; ++e) {
      options.gates->parameter_weights(route.row(e), {own.weight.data() + e * n, n});
    }
  }
  const std::vector<double> zeros(options.norms ? examples * static_cast<size_t>(blocks_) : 0, 0.0);
  norm2_ = std::make_shared<Buffer<double>>(zeros, backend.allocator());
  std::vector<int> reach;
  for (int b = 0; b < blocks_; ++b) {
    weight_.push_back(own.column(b));
    std::vector<float> rest;
    for (size_t e = 0; e < examples; ++e) {
      const float w = weight_.back()[e];
      if (!std::isfinite(w)) throw Error("param_grad", "weight of example {} in block {} is not finite", e, b);
      if (options.withheld) rest.push_back(w < 1.0f ? 1.0f - w : 0.0f);
    }
    reach.push_back(std::max(reach_of(weight_.back()), reach_of(rest)));
    admits_.push_back(reach_of(weight_.back()) > 0);
    withholds_.push_back(reach_of(rest) > 0);
    withheld_.push_back(std::move(rest));
  }
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    reach_[i] = 0;
    for (const Parameter::Slice& s : p.slices_) reach_[i] = std::max(reach_[i], reach[static_cast<size_t>(s.block)]);
    active_[i] = reach_[i] > 0;
    if (options.withheld && !p.withheld_.defined()) p.withheld_ = zeros_like(p, backend);
    if (options.withheld && p.withholds_.size() != p.slices_.size()) p.withholds_.assign(p.slices_.size(), false);
    if (options.groups != nullptr && !p.group_.defined()) p.group_ = zeros_like(p, backend);
    if (options.groups != nullptr && p.grouped_.size() != p.slices_.size()) p.grouped_.assign(p.slices_.size(), false);
  }
  if (options.groups != nullptr) {
    if (options.gates != nullptr) throw Error("param_grad", "groups of profiles; expected the technique 'scale' alone");
    runs_ = profile_runs(own, options.withheld);
    summed_.assign(set.size(), false);
  }
}

bool ParamGrad::gate_opens(int block) const {
  const std::vector<float>& w = gate_[static_cast<size_t>(block)];
  return !routed_ || std::any_of(w.begin(), w.end(), [](float v) { return v != 0.0f; });
}

void ParamGrad::expect(const Parameter& p) {
  if (active(p)) ++pending_[static_cast<size_t>(p.index())].uses;
}

void ParamGrad::add(Parameter& p, const Factor& factor, std::vector<Tensor> keep, std::shared_ptr<const void> index) {
  if (!active(p)) return;
  check_factor(p, factor, *rows_, rows_->offsets()[static_cast<size_t>(reach(p))]);
  Pending& pending = pending_[static_cast<size_t>(p.index())];
  if (pending.uses == 0) throw Error("param_grad", "a use of '{}' that was not announced", p.name());
  --pending.uses;
  if (!routed_) {  // nothing to wait for: the sum of uses is the sum of their gradients
    backend_->contract_plain({&factor, 1}, p.grad_.view());
    p.touched_.assign(p.slices_.size(), true);
    return;
  }
  pending.factors.push_back(factor);
  for (Tensor& t : keep) pending.keep.push_back(std::move(t));
  if (index) pending.indices.push_back(std::move(index));
  if (pending.uses > 0) return;
  const Rows rows = leading_examples(*rows_, reach(p));
  for (Factor& f : pending.factors) {
    f.dy = f.dy.row_range(0, rows.total());
    if (f.x.data != nullptr) f.x = f.x.row_range(0, rows.total());
  }
  options_.groups != nullptr ? contract_groups(p, pending.factors, rows) : contract(p, pending.factors, rows);
  pending = {};
}

void ParamGrad::contract(Parameter& p, const std::vector<Factor>& factors, const Rows& rows) {
  const auto examples = static_cast<size_t>(rows.examples());
  for (size_t k = 0; k < p.slices_.size(); ++k) {
    const Parameter::Slice& s = p.slices_[k];
    const auto b = static_cast<size_t>(s.block);
    if (!admits_[b] && !withholds_[b]) continue;
    Contraction how;
    how.weight = std::span<const float>(weight_[b]).first(examples);
    if (options_.norms) how.norm2 = norms_of(b, examples);
    if (withholds_[b]) {
      how.withheld = std::span<const float>(withheld_[b]).first(examples);
      how.withheld_grad = rectangle(p.withheld_, s);
    }
    contract_slice(p, s, factors, rows, how, p.grad_);
    if (admits_[b]) p.touched_[k] = true;
    if (withholds_[b]) p.withholds_[k] = true;
  }
}

std::span<double> ParamGrad::norms_of(size_t b, size_t examples) const {
  return norm2_->span().subspan(b * weight_[b].size(), examples);
}

void ParamGrad::contract_slice(const Parameter& p, const Parameter::Slice& s, const std::vector<Factor>& factors,
                               const Rows& rows, const Contraction& how, const Tensor& into) const {
  if (covers(s, p)) {
    backend_->contract(factors, rows, how, into.view());
  } else if (factors.size() == 1 && factors[0].kind == Factor::Kind::scatter) {
    contract_scattered(s, factors[0], rows, how, rectangle(into, s));
  } else {
    std::vector<Tensor> copies;
    std::vector<std::vector<int32_t>> indices;
    const std::vector<Factor> part = restrict_to(p, s, factors, *backend_, copies, indices);
    backend_->contract(part, rows, how, rectangle(into, s));
  }
}

void ParamGrad::contract_scattered(const Parameter::Slice& s, const Factor& factor, const Rows& rows,
                                   const Contraction& how, MutView grad) const {
  const ScatteredPart part(s, factor, rows, *backend_);
  if (part.index.empty()) return;
  std::vector<float> weight, withheld;
  std::vector<double> norm2, all(how.norm2.size());  // on the host
  if (!all.empty()) backend_->allocator().read(all.data(), how.norm2.data(), how.norm2.size_bytes());
  for (const size_t e : part.examples) {
    weight.push_back(how.weight[e]);
    if (!how.withheld.empty()) withheld.push_back(how.withheld[e]);
    if (!all.empty()) norm2.push_back(all[e]);
  }
  const Buffer<double> inner_norm2(norm2, backend_->allocator());
  Contraction inner = how;
  inner.weight = weight;
  inner.withheld = withheld;
  inner.norm2 = inner_norm2.span();
  backend_->contract({&part.factor, 1}, part.rows, inner, grad);
  norm2 = inner_norm2.host();
  for (size_t k = 0; k < norm2.size(); ++k) all[part.examples[k]] = norm2[k];
  if (!all.empty()) backend_->allocator().write(how.norm2.data(), all.data(), how.norm2.size_bytes());
}

void ParamGrad::finish() {
  for (const Pending& p : pending_) {
    if (p.uses > 0) throw Error("param_grad", "{} announced uses of a parameter did not arrive", p.uses);
  }
  if (options_.gates != nullptr) touch_admitted();
  if (options_.groups == nullptr || runs_.profile.empty()) return;
  enter_first_group();
  if (runs_.profile.size() == 1) return;
  // What nothing in this micro-batch added to leaves its group all the same.
  for (size_t i = 0; i < set_->size(); ++i) {
    if (summed_[i]) continue;
    Parameter& p = (*set_)[i];
    for (size_t k = 0; k < p.slices_.size(); ++k) {
      const float w = options_.groups->open_[static_cast<size_t>(p.slices_[k].block)];
      ProfileGroups::fold(p, k, w, options_.withheld, *backend_);
    }
  }
  options_.groups->open_ = runs_.profile.back();
}

// Of a parameter that stands behind closed gates no use arrives where the tape left them out; its gradient is 0, and
// its block is stepped all the same.
void ParamGrad::touch_admitted() {
  for (size_t i = 0; i < set_->size(); ++i) {
    Parameter& p = (*set_)[i];
    for (size_t k = 0; k < p.slices_.size(); ++k) {
      if (admits_[static_cast<size_t>(p.slices_[k].block)]) p.touched_[k] = true;
    }
  }
}

void ParamGrad::enter_first_group() {
  if (entered_) return;
  entered_ = true;
  const std::vector<float>& first = runs_.profile.front();
  if (options_.groups->open_ != first) options_.groups->close(*set_, *backend_);
  options_.groups->open_ = first;
  options_.groups->withheld_ = options_.withheld;
}

void ParamGrad::contract_groups(Parameter& p, const std::vector<Factor>& factors, const Rows& rows) {
  enter_first_group();
  summed_[static_cast<size_t>(p.index())] = true;
  std::vector<float> members(static_cast<size_t>(rows.examples()));
  for (size_t k = 0; k < p.slices_.size(); ++k) {
    const Parameter::Slice& s = p.slices_[k];
    const auto b = static_cast<size_t>(s.block);
    for (size_t g = 0; g < runs_.profile.size(); ++g) {
      const float w = runs_.profile[g][b];
      if (w != 0.0f || (options_.withheld && w < 1.0f)) {
        for (size_t e = 0; e < members.size(); ++e) members[e] = runs_.of[e] == static_cast<int>(g) ? 1.0f : 0.0f;
        Contraction how;
        how.weight = members;
        if (options_.norms) how.norm2 = norms_of(b, members.size());
        contract_slice(p, s, factors, rows, how, p.group_);
        p.grouped_[k] = true;
      }
      if (g + 1 < runs_.profile.size()) ProfileGroups::fold(p, k, w, options_.withheld, *backend_);
    }
  }
}

void ProfileGroups::fold(Parameter& p, size_t slice, float weight, bool withheld, Backend& backend) {
  if (slice >= p.grouped_.size() || !p.grouped_[slice]) return;
  const Parameter::Slice& s = p.slices_[slice];
  const MutView sum = rectangle(p.group_, s);
  if (withheld && weight < 1.0f) {
    Tensor rest(sum.rows, sum.cols, backend.allocator());
    backend.scale_rows(sum, std::vector<float>(static_cast<size_t>(sum.rows), 1.0f - weight), rest.view());
    backend.accumulate(rest.cview(), rectangle(p.withheld_, s));
    p.withholds_[slice] = true;
  }
  if (weight != 0.0f) {
    const Scaling weighted{sum, weight};
    if (weight != 1.0f) backend.scale({&weighted, 1});
    backend.accumulate(sum, rectangle(p.grad_, s));
    p.touched_[slice] = true;
  }
  backend.fill({&sum, 1}, 0.0f);
  p.grouped_[slice] = false;
}

void ProfileGroups::close(ParameterSet& set, Backend& backend) {
  if (open_.empty()) return;
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    for (size_t k = 0; k < p.slices_.size(); ++k) {
      fold(p, k, open_[static_cast<size_t>(p.slices_[k].block)], withheld_, backend);
    }
  }
  open_.clear();
}

std::function<std::vector<double>()> ParamGrad::realised_norms_later() const {
  if (!routed_ || !options_.norms) throw Error("param_grad", "realised norms; expected a routed pass with norms");
  return [weight = weight_, norm2 = norm2_->later()] {
    const size_t blocks = weight.size();
    const size_t examples = blocks == 0 ? 0 : weight.front().size();
    std::vector<double> out(examples * blocks, 0.0);
    for (size_t b = 0; b < blocks; ++b) {
      for (size_t e = 0; e < examples; ++e) {
        const float w = weight[b][e];
        if (w == 0.0f) continue;
        out[e * blocks + b] = std::abs(static_cast<double>(w)) * std::sqrt(norm2.get()[b * examples + e]);
      }
    }
    return out;
  };
}

}  // namespace govtrain
