#include "autograd/param_grad.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace govtrain {
namespace {

const char* kind_name(Factor::Kind kind) {
  switch (kind) {
    case Factor::Kind::outer:
      return "outer";
    case Factor::Kind::gain:
      return "gain";
    case Factor::Kind::bias:
      return "bias";
    case Factor::Kind::scatter:
      return "scatter";
  }
  return "?";
}

void check_factor(const Parameter& p, const Factor& f, const Rows& rows) {
  const bool vector = f.kind == Factor::Kind::gain || f.kind == Factor::Kind::bias;
  const bool uses_x = f.kind == Factor::Kind::outer || f.kind == Factor::Kind::gain;
  const int64_t dy_cols = f.kind == Factor::Kind::outer ? p.rows() : p.cols();
  if (vector != p.is_vector() || f.dy.rows != rows.total() || f.dy.cols != dy_cols ||
      (uses_x && (f.x.rows != rows.total() || f.x.cols != p.cols()))) {
    throw Error("param_grad", "{} factor for '{}' [{}, {}]; expected dy [{}, {}], got dy [{}, {}], x [{}, {}]",
                kind_name(f.kind), p.name(), p.rows(), p.cols(), rows.total(), dy_cols, f.dy.rows, f.dy.cols, f.x.rows,
                f.x.cols);
  }
}

bool covers(const Parameter::Slice& s, const Parameter& p) {
  return s.row_begin == 0 && s.col_begin == 0 && s.row_end == p.rows() && s.col_end == p.cols();
}

MutView rectangle(const Tensor& t, const Parameter::Slice& s) {
  return t.view().block(s.row_begin, s.row_end - s.row_begin, s.col_begin, s.col_end - s.col_begin);
}

// Calls body(contiguous span) over the slice, row by row unless the rows are whole.
template <class Body>
void for_spans(const Tensor& t, const Parameter::Slice& s, Body body) {
  const MutView v = rectangle(t, s);
  if (v.contiguous()) {
    body(std::span<float>(v.data, static_cast<size_t>(v.size())));
  } else {
    for (int64_t r = 0; r < v.rows; ++r) body(std::span<float>(v.row(r), static_cast<size_t>(v.cols)));
  }
}

Tensor zeros_like(const Parameter& p, Backend& backend) {
  Tensor t(p.rows(), p.cols(), backend.allocator());
  backend.fill({t.data(), static_cast<size_t>(t.size())}, 0.0f);
  return t;
}

}  // namespace

ParamGrad::ParamGrad(ParameterSet& set, Backend& backend, const Rows& rows)
    : backend_(&backend), rows_(&rows), blocks_(set.blocks()), active_(set.size(), true), pending_(set.size()) {
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
      options.gates->parameter_weights({route.weight.data() + e * n, n}, {own.weight.data() + e * n, n});
    }
  }
  const std::vector<double> zeros(options.norms ? examples * static_cast<size_t>(blocks_) : 0, 0.0);
  norm2_ = std::make_shared<Buffer<double>>(zeros, backend.allocator());
  for (int b = 0; b < blocks_; ++b) {
    weight_.push_back(own.column(b));
    std::vector<float> rest;
    for (size_t e = 0; e < examples; ++e) {
      const float w = weight_.back()[e];
      if (!std::isfinite(w)) throw Error("param_grad", "weight of example {} in block {} is not finite", e, b);
      if (options.withheld) rest.push_back(w < 1.0f ? 1.0f - w : 0.0f);
    }
    const auto some = [](const std::vector<float>& v) {
      return std::any_of(v.begin(), v.end(), [](float w) { return w != 0.0f; });
    };
    admits_.push_back(some(weight_.back()));
    withholds_.push_back(some(rest));
    withheld_.push_back(std::move(rest));
  }
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    active_[i] = std::any_of(p.slices_.begin(), p.slices_.end(), [&](const Parameter::Slice& s) {
      return admits_[static_cast<size_t>(s.block)] || withholds_[static_cast<size_t>(s.block)];
    });
    if (options.withheld && !p.withheld_.defined()) p.withheld_ = zeros_like(p, backend);
    if (options.withheld && p.withholds_.size() != p.slices_.size()) p.withholds_.assign(p.slices_.size(), false);
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
  check_factor(p, factor, *rows_);
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
  contract(p, pending.factors);
  pending = {};
}

void ParamGrad::contract(Parameter& p, const std::vector<Factor>& factors) {
  for (size_t k = 0; k < p.slices_.size(); ++k) {
    const Parameter::Slice& s = p.slices_[k];
    const auto b = static_cast<size_t>(s.block);
    if (!admits_[b] && !withholds_[b]) continue;
    Contraction how;
    how.weight = weight_[b];
    if (options_.norms) how.norm2 = norm2_->span().subspan(b * weight_[b].size(), weight_[b].size());
    if (withholds_[b]) {
      how.withheld = withheld_[b];
      how.withheld_grad = rectangle(p.withheld_, s);
    }
    if (covers(s, p)) {
      backend_->contract(factors, *rows_, how, p.grad_.view());
    } else if (factors.size() == 1 && factors[0].kind == Factor::Kind::scatter) {
      contract_scattered(s, factors[0], how, rectangle(p.grad_, s));
    } else {
      std::vector<Tensor> copies;
      std::vector<std::vector<int32_t>> indices;
      const std::vector<Factor> part = restrict_to(p, s, factors, copies, indices);
      backend_->contract(part, *rows_, how, rectangle(p.grad_, s));
    }
    if (admits_[b]) p.touched_[k] = true;
    if (withholds_[b]) p.withholds_[k] = true;
  }
}

// Only the rows that fall into the slice are looked at: all slices together cost what the whole parameter does.
void ParamGrad::contract_scattered(const Parameter::Slice& s, const Factor& factor, const Contraction& how,
                                   MutView grad) const {
  std::vector<int32_t> lengths, index, from;
  std::vector<size_t> examples;
  for (int e = 0; e < rows_->examples(); ++e) {
    const size_t before = index.size();
    for (int t = rows_->begin(e); t < rows_->end(e); ++t) {
      if (factor.index[t] < s.row_begin || factor.index[t] >= s.row_end) continue;
      index.push_back(static_cast<int32_t>(factor.index[t] - s.row_begin));
      from.push_back(t);
    }
    if (index.size() == before) continue;
    lengths.push_back(static_cast<int32_t>(index.size() - before));
    examples.push_back(static_cast<size_t>(e));
  }
  if (index.empty()) return;
  const View columns = factor.dy.block(0, factor.dy.rows, s.col_begin, s.col_end - s.col_begin);
  Tensor compact(static_cast<int64_t>(index.size()), columns.cols, backend_->allocator());
  backend_->embedding(columns, from, compact.view(), false);
  Factor part = factor;
  part.dy = compact.cview();
  part.index = index.data();
  std::vector<float> weight, withheld;
  std::vector<double> norm2, all(how.norm2.size());  // on the host
  if (!all.empty()) backend_->allocator().read(all.data(), how.norm2.data(), how.norm2.size_bytes());
  for (const size_t e : examples) {
    weight.push_back(how.weight[e]);
    if (!how.withheld.empty()) withheld.push_back(how.withheld[e]);
    if (!all.empty()) norm2.push_back(all[e]);
  }
  const Buffer<double> inner_norm2(norm2, backend_->allocator());
  Contraction inner = how;
  inner.weight = weight;
  inner.withheld = withheld;
  inner.norm2 = inner_norm2.span();
  const Rows rows = Rows::of_lengths(lengths);
  backend_->contract({&part, 1}, rows, inner, grad);
  norm2 = inner_norm2.host();
  for (size_t k = 0; k < norm2.size(); ++k) all[examples[k]] = norm2[k];
  if (!all.empty()) backend_->allocator().write(how.norm2.data(), all.data(), how.norm2.size_bytes());
}

// The factors whose contraction is the slice's rectangle of the gradient. Columns of dy and x select; for scatter, rows
// of dy whose index lies outside become 0.
std::vector<Factor> ParamGrad::restrict_to(const Parameter& p, const Parameter::Slice& s,
                                           const std::vector<Factor>& factors, std::vector<Tensor>& copies,
                                           std::vector<std::vector<int32_t>>& indices) const {
  std::vector<Factor> out = factors;
  const int64_t cols = s.col_end - s.col_begin;
  for (Factor& f : out) {
    if (f.kind == Factor::Kind::outer) {
      f.dy = f.dy.block(0, f.dy.rows, s.row_begin, s.row_end - s.row_begin);
    } else {
      f.dy = f.dy.block(0, f.dy.rows, s.col_begin, cols);
    }
    if (f.kind == Factor::Kind::outer || f.kind == Factor::Kind::gain) f.x = f.x.block(0, f.x.rows, s.col_begin, cols);
    if (f.kind == Factor::Kind::scatter && (s.row_begin != 0 || s.row_end != p.rows())) {
      const auto n = static_cast<size_t>(f.dy.rows);
      std::vector<int32_t> index(n, 0);
      std::vector<float> inside(n, 0.0f);
      for (size_t t = 0; t < n; ++t) {
        if (f.index[t] < s.row_begin || f.index[t] >= s.row_end) continue;
        index[t] = static_cast<int32_t>(f.index[t] - s.row_begin);
        inside[t] = 1.0f;
      }
      copies.emplace_back(f.dy.rows, cols, backend_->allocator());
      backend_->scale_rows(f.dy, inside, copies.back().view());
      indices.push_back(std::move(index));
      f.dy = copies.back().cview();
      f.index = indices.back().data();
    }
  }
  return out;
}

void ParamGrad::finish() const {
  for (const Pending& p : pending_) {
    if (p.uses > 0) throw Error("param_grad", "{} announced uses of a parameter did not arrive", p.uses);
  }
}

std::vector<double> ParamGrad::realised_norms() const {
  if (!routed_ || !options_.norms) throw Error("param_grad", "realised norms; expected a routed pass with norms");
  const auto examples = static_cast<size_t>(rows_->examples());
  const auto blocks = static_cast<size_t>(blocks_);
  std::vector<double> out(examples * blocks, 0.0);
  const std::vector<double> norm2 = norm2_->host();
  for (size_t b = 0; b < blocks; ++b) {
    for (size_t e = 0; e < examples; ++e) {
      const float w = weight_[b][e];
      if (w != 0.0f) out[e * blocks + b] = std::abs(static_cast<double>(w)) * std::sqrt(norm2[b * examples + e]);
    }
  }
  return out;
}

void zero_grad(ParameterSet& set, Backend& backend) {
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    if (std::find(p.touched_.begin(), p.touched_.end(), true) == p.touched_.end()) continue;  // still 0
    backend.fill({p.grad_.data(), static_cast<size_t>(p.grad_.size())}, 0.0f);
    p.touched_.assign(p.touched_.size(), false);
  }
}

void zero_withheld(ParameterSet& set, Backend& backend) {
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    if (std::find(p.withholds_.begin(), p.withholds_.end(), true) == p.withholds_.end()) continue;  // still 0
    backend.fill({p.withheld_.data(), static_cast<size_t>(p.withheld_.size())}, 0.0f);
    p.withholds_.assign(p.withholds_.size(), false);
  }
}

namespace {

// Calls body(slice number, slice, its block's clip) for the slices that `present` holds of parameter p.
template <class Body>
void for_present(const Parameter& p, const std::vector<bool>& present, std::vector<BlockClip>& clips, Body body) {
  for (size_t k = 0; k < present.size(); ++k) {
    const Parameter::Slice& s = p.slices()[k];
    if (present[k]) body(k, s, clips[static_cast<size_t>(s.block)]);
  }
}

void add_squares(const Tensor& grad, const Parameter::Slice& s, Backend& backend, BlockClip& clip) {
  for_spans(grad, s, [&](std::span<float> g) { clip.norm += backend.sum_of_squares(g); });
}

void scale_slice(const Tensor& grad, const Parameter::Slice& s, Backend& backend, const BlockClip& clip) {
  if (clip.factor == 1.0f) return;
  for_spans(grad, s, [&](std::span<float> g) { backend.scale(g, clip.factor); });
}

// From sums of squares to norms and factors.
void settle(std::vector<BlockClip>& clips, double max_norm) {
  for (BlockClip& clip : clips) {
    clip.norm = std::sqrt(clip.norm);
    const double factor = max_norm > 0 ? max_norm / (clip.norm + 1e-6) : 1.0;
    if (factor < 1.0) clip.factor = static_cast<float>(factor);
  }
}

}  // namespace

std::vector<BlockClip> clip_blocks(ParameterSet& set, Backend& backend, double max_norm) {
  std::vector<BlockClip> out(static_cast<size_t>(set.blocks()));
  const auto for_touched = [&](auto body) {
    for (size_t i = 0; i < set.size(); ++i) {
      Parameter& p = set[i];
      for_present(p, p.touched_, out, [&](size_t, const auto& s, BlockClip& clip) { body(p.grad_, s, backend, clip); });
    }
  };
  for_touched(add_squares);
  settle(out, max_norm);
  for_touched(scale_slice);
  return out;
}

std::vector<BlockClip> clip_withheld(ParameterSet& set, Backend& backend, double max_norm) {
  std::vector<BlockClip> out(static_cast<size_t>(set.blocks()));
  const auto for_withheld = [&](auto body) {
    for (size_t i = 0; i < set.size(); ++i) {
      Parameter& p = set[i];
      for_present(p, p.withholds_, out, [&](size_t k, const auto& s, BlockClip& clip) { body(p, k, s, clip); });
    }
  };
  for_withheld(
      [&](Parameter& p, size_t, const auto& s, BlockClip& clip) { add_squares(p.withheld_, s, backend, clip); });
  settle(out, max_norm);
  for_withheld([&](Parameter& p, size_t k, const auto& s, const BlockClip& clip) {
    if (std::isfinite(clip.norm)) {
      scale_slice(p.withheld_, s, backend, clip);
    } else {
      for_spans(p.withheld_, s, [&](std::span<float> g) { backend.fill(g, 0.0f); });
      p.withholds_[k] = false;
    }
  });
  return out;
}

void set_gradient(ParameterSet& set, Backend& backend, std::span<const Tensor> gradient, float scale) {
  if (gradient.size() != set.size()) {
    throw Error("param_grad", "set_gradient; expected {} tensors, got {}", set.size(), gradient.size());
  }
  std::vector<bool> touched(static_cast<size_t>(set.blocks()), false);
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    const Tensor& from = gradient[i];
    if (from.rows() != p.rows() || from.cols() != p.cols()) {
      throw Error("param_grad", "set_gradient of '{}'; expected [{}, {}], got [{}, {}]", p.name(), p.rows(), p.cols(),
                  from.rows(), from.cols());
    }
    if (!p.grad_.defined()) p.grad_ = zeros_like(p, backend);
    p.grad_.assign(from.host().values());
    backend.scale({p.grad_.data(), static_cast<size_t>(p.grad_.size())}, scale);
    for (const Parameter::Slice& s : p.slices_) {
      for_spans(p.grad_, s, [&](std::span<float> g) {
        if (backend.sum_of_squares(g) != 0) touched[static_cast<size_t>(s.block)] = true;
      });
    }
  }
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    for (size_t k = 0; k < p.slices_.size(); ++k) p.touched_[k] = touched[static_cast<size_t>(p.slices_[k].block)];
  }
}

}  // namespace govtrain
