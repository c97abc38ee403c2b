#include "tools/govtrain/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace govtrain {

struct Trainer::MicroBatch {
  int first_example = 0;
  std::span<const int32_t> tokens, targets;
  Rows rows;
  std::vector<uint64_t> example_ids;
  RouteTable route;
  std::vector<float> share;  // [n] factors of the losses, of a later term of Enforcement::loss; empty: 1
  bool forward = true;       // false: nobody learns from it and nobody asks for its losses
};

double StepResult::mean_loss() const {
  double sum = 0;
  int64_t tokens = 0;
  for (size_t e = 0; e < nll.size(); ++e) {
    sum += nll[e];
    tokens += counts[e];
  }
  return tokens == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(tokens);
}

double StepResult::gradient_norm() const {
  double sum = 0;
  for (const BlockClip& c : clips) sum += c.norm * c.norm;
  return std::sqrt(sum);
}

Trainer::Trainer(Transformer& model, Backend& backend, const OptimizerOptions& optimizer, const TrainerOptions& options)
    : model_(&model),
      backend_(&backend),
      options_(options),
      plan_(model.parameters(), model.gates(), options.enforcement == Enforcement::optimizer),
      optimizer_(model.parameters(), backend, optimizer) {
  if (options.loss_denominator < 1) {
    throw Error("trainer", "expected a loss denominator >= 1, got {}", options.loss_denominator);
  }
  if (options.enforcement == Enforcement::backward) return;
  if (!options.routed) throw Error("trainer", "enforcement points are those of routed training");
  if (model.gates() != nullptr) throw Error("trainer", "this enforcement point needs the technique 'scale' alone");
  if (options.enforcement == Enforcement::loss && options.withheld) {
    throw Error("trainer", "what is withheld is not part of the loss; expected another enforcement point");
  }
}

Trainer::MicroBatch Trainer::part(const TrainBatch& batch, const RouteTable& route, int first, int last) const {
  MicroBatch part;
  part.first_example = first;
  const auto begin = static_cast<size_t>(batch.rows.begin(first));
  const auto count = static_cast<size_t>(batch.rows.end(last - 1)) - begin;
  part.tokens = batch.tokens.subspan(begin, count);
  part.targets = batch.targets.subspan(begin, count);
  std::vector<int32_t> lengths;
  for (int e = first; e < last; ++e) lengths.push_back(batch.rows.length(e));
  part.rows = Rows::of_lengths(lengths);
  part.example_ids.assign(batch.example_ids.begin() + first, batch.example_ids.begin() + last);
  if (options_.routed) {
    const auto blocks = static_cast<size_t>(route.blocks);
    part.route = RouteTable(last - first, route.blocks, 0);
    const auto from = static_cast<ptrdiff_t>(static_cast<size_t>(first) * blocks);
    const auto to = static_cast<ptrdiff_t>(static_cast<size_t>(last) * blocks);
    part.route.weight.assign(route.weight.begin() + from, route.weight.begin() + to);
    part.route.rule.assign(route.rule.begin() + from, route.rule.begin() + to);
  }
  return part;
}

// At most the limit's rows in each. Examples that are not forwarded stand apart.
std::vector<Trainer::MicroBatch> Trainer::cut(const TrainBatch& batch, const RouteTable& route,
                                              bool forward_excluded) const {
  const int64_t limit = options_.micro_batch_rows > 0 ? options_.micro_batch_rows : batch.rows.total();
  const int examples = batch.rows.examples();
  const bool skip = options_.routed && options_.skip && !options_.withheld;  // what is withheld is computed
  std::vector<bool> forward(static_cast<size_t>(examples), true);
  for (int e = 0; skip && !forward_excluded && e < examples; ++e) {
    const auto i = static_cast<size_t>(e);
    forward[i] = plan_.below(route.row(i)) != plan_.nothing();
  }
  const auto rows = [&](int first, int last) { return batch.rows.end(last - 1) - batch.rows.begin(first); };
  std::vector<MicroBatch> parts;
  for (int first = 0; first < examples;) {
    const bool forwarded = forward[static_cast<size_t>(first)];
    int last = first + 1;
    while (last < examples && rows(first, last + 1) <= limit && forward[static_cast<size_t>(last)] == forwarded) ++last;
    parts.push_back(part(batch, route, first, last));
    parts.back().forward = forwarded;
    first = last;
  }
  return parts;
}

void Trainer::accumulate(MicroBatch& part, uint64_t step, bool watch, const CompleteRoute& complete, StepResult& result,
                         Arrivals& later) {
  const auto examples = static_cast<size_t>(part.rows.examples());
  if (part.forward) {
    forward_and_back(part, step, watch, complete, result, later);
  } else {
    result.counts.resize(result.counts.size() + examples, 0);
    later.push_back([examples, norms = options_.norms ? part.route.weight.size() : 0](StepResult& r) {
      r.nll.resize(r.nll.size() + examples, 0.0);
      r.norms.resize(r.norms.size() + norms, 0.0);
    });
  }
  if (!options_.routed) return;
  result.route.examples += part.route.examples;
  result.route.blocks = part.route.blocks;
  result.route.weight.insert(result.route.weight.end(), part.route.weight.begin(), part.route.weight.end());
  result.route.rule.insert(result.route.rule.end(), part.route.rule.begin(), part.route.rule.end());
}

void Trainer::forward_and_back(MicroBatch& part, uint64_t step, bool watch, const CompleteRoute& complete,
                               StepResult& result, Arrivals& later) {
  ParamGradOptions how{options_.norms, options_.withheld, model_->gates()};
  if (options_.enforcement == Enforcement::optimizer) how.groups = &groups_;
  const auto routed = [&](const RouteTable& route) {
    return ParamGrad(model_->parameters(), *backend_, part.rows, route, how);
  };
  const bool by_loss = options_.enforcement == Enforcement::loss;
  LossTerm term;
  const auto decided = [&] {
    if (!by_loss) return routed(part.route);
    term = loss_term(part.route, 0);
    return routed(term.reaches);
  };
  ParamGrad grads = options_.routed ? decided() : ParamGrad::plain(model_->parameters(), *backend_, part.rows);
  const ParamGrad known = by_loss && complete ? routed(part.route) : grads;
  Tape tape(*backend_, part.rows, Mode::train, {options_.seed, step, part.example_ids},
            options_.skip ? &known : nullptr);
  if (watch) tape.watch_finite();
  const Losses losses = model_->loss(tape, {part.tokens, {}}, part.targets);
  std::vector<float> coefficient(static_cast<size_t>(part.rows.examples()),
                                 1.0f / static_cast<float>(options_.loss_denominator));
  if (complete && options_.routed) {
    complete({part.first_example, losses.nll(), losses.counts}, part.route);
    grads = decided();
  }
  for (size_t e = 0; e < coefficient.size(); ++e) {
    if (by_loss) coefficient[e] *= part.share.empty() ? term.share[e] : part.share[e];
  }
  tape.backward(losses, coefficient, grads);
  result.counts.insert(result.counts.end(), losses.counts.begin(), losses.counts.end());
  later.push_back(
      [sums = losses.sums](StepResult& r) { r.nll.insert(r.nll.end(), sums.get().begin(), sums.get().end()); });
  if (options_.routed && options_.norms) {
    later.push_back([norms_of = grads.realised_norms_later()](StepResult& r) {
      const std::vector<double> norms = norms_of();
      r.norms.insert(r.norms.end(), norms.begin(), norms.end());
    });
  }
  if (watch && !result.non_finite && tape.first_non_finite()) {
    result.non_finite = tape.first_non_finite();
    if (result.non_finite->example >= 0) result.non_finite->example += part.first_example;
  }
}

// Every sum over examples runs through the whole step, term after term, however the batch is cut.
Trainer::Arrivals Trainer::add_gradients(const TrainBatch& batch, std::vector<MicroBatch>& parts, uint64_t step,
                                         bool watch, const CompleteRoute& complete, StepResult& result) {
  Arrivals later;
  for (MicroBatch& part : parts) accumulate(part, step, watch, complete, result, later);
  groups_.close(model_->parameters(), *backend_);
  if (options_.enforcement != Enforcement::loss) return later;
  const int terms = loss_terms(result.route);
  for (int l = 1; l < terms; ++l) {
    const LossTerm term = loss_term(result.route, l);
    StepResult more;
    Arrivals of_term;
    for (MicroBatch& part : cut(batch, term.reaches, false)) {
      part.share.assign(term.share.begin() + part.first_example,
                        term.share.begin() + part.first_example + part.rows.examples());
      accumulate(part, step, watch, {}, more, of_term);
    }
    if (!result.non_finite) result.non_finite = more.non_finite;
    later.push_back([of_term](StepResult& r) {
      StepResult of;
      for (const auto& arrive : of_term) arrive(of);
      for (size_t j = 0; j < r.norms.size(); ++j) r.norms[j] += of.norms[j];
    });
  }
  return later;
}

// The step is deterministic: running it again with every value checked finds the first that is not finite.
NonFinite Trainer::locate(const TrainBatch& batch, std::vector<MicroBatch>& parts, uint64_t step) {
  zero_grad(model_->parameters(), *backend_);
  StepResult again;
  add_gradients(batch, parts, step, true, {}, again);  // the routes of the parts are complete by now
  zero_grad(model_->parameters(), *backend_);
  NonFinite unknown;
  unknown.op = "parameter gradient";
  return again.non_finite.value_or(unknown);
}

void Trainer::rehearse(const TrainBatch& batch, const RouteTable& route) {
  StepResult ignored;
  std::vector<MicroBatch> parts = cut(batch, route, options_.forward_excluded);
  for (const auto& arrive : add_gradients(batch, parts, 0, false, {}, ignored)) arrive(ignored);
  zero_grad(model_->parameters(), *backend_);
  zero_withheld(model_->parameters(), *backend_);
}

StepResult Trainer::step(const TrainBatch& batch, const RouteTable& route, uint64_t step, double lr,
                         const CompleteRoute& complete) {
  if (options_.routed && (route.examples != batch.rows.examples() || route.blocks != model_->parameters().blocks())) {
    throw Error("trainer", "expected a route table of [{}, {}], got [{}, {}]", batch.rows.examples(),
                model_->parameters().blocks(), route.examples, route.blocks);
  }
  StepResult result;
  if (options_.routed) result.route = RouteTable(0, route.blocks, 0);
  zero_grad(model_->parameters(), *backend_);
  zero_withheld(model_->parameters(), *backend_);
  groups_.forget();
  std::vector<MicroBatch> parts = cut(batch, route, options_.forward_excluded);
  const Arrivals later = add_gradients(batch, parts, step, false, complete, result);
  result.clips = clip_blocks(model_->parameters(), *backend_, options_.clip);  // the wait
  for (const auto& arrive : later) arrive(result);

  const auto finite = [](double v) { return std::isfinite(v); };
  for (size_t e = 0; options_.routed && e < result.nll.size(); ++e) {
    if (finite(result.nll[e]) || plan_.below(result.route.row(e)) != plan_.nothing()) continue;
    result.nll[e] = 0;  // it teaches nothing, and stops nobody
    result.counts[e] = 0;
  }
  const bool sound =
      std::all_of(result.nll.begin(), result.nll.end(), finite) &&
      std::all_of(result.norms.begin(), result.norms.end(), finite) &&
      std::all_of(result.clips.begin(), result.clips.end(), [&](const BlockClip& c) { return finite(c.norm); });
  if (!sound) {
    result.non_finite = locate(batch, parts, step);
    return result;
  }
  if (options_.withheld) result.withheld = clip_withheld(model_->parameters(), *backend_, options_.withheld_clip);
  result.stepped = optimizer_.step(lr);
  return result;
}

}  // namespace govtrain
