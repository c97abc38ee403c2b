#include "tools/govtrain/train/trainer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace govtrain {

struct Trainer::MicroBatch {
  int first_example = 0;
  std::span<const int32_t> tokens, targets;
  Rows rows;
  std::vector<uint64_t> example_ids;
  RouteTable route;
};

double StepResult::mean_loss() const {
  double sum = 0;
  int64_t tokens = 0;
  for (size_t e = 0; e < nll.size(); ++e) {
    sum += nll[e];
    tokens += counts[e];
  }
  return tokens == 0 ? 0 : sum / static_cast<double>(tokens);
}

double StepResult::gradient_norm() const {
  double sum = 0;
  for (const BlockClip& c : clips) sum += c.norm * c.norm;
  return std::sqrt(sum);
}

Trainer::Trainer(Transformer& model, Backend& backend, const OptimizerOptions& optimizer, const TrainerOptions& options)
    : model_(&model), backend_(&backend), options_(options), optimizer_(model.parameters(), backend, optimizer) {
  if (options.loss_denominator < 1) {
    throw Error("trainer", "expected a loss denominator >= 1, got {}", options.loss_denominator);
  }
}

std::vector<Trainer::MicroBatch> Trainer::cut(const TrainBatch& batch, const RouteTable& route) const {
  const int64_t limit = options_.micro_batch_rows > 0 ? options_.micro_batch_rows : batch.rows.total();
  const auto blocks = static_cast<size_t>(route.blocks);
  std::vector<MicroBatch> parts;
  for (int first = 0; first < batch.rows.examples();) {
    int last = first + 1;
    while (last < batch.rows.examples() && batch.rows.end(last) - batch.rows.begin(first) <= limit) ++last;
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
      part.route = RouteTable(last - first, route.blocks, 0);
      const auto from = static_cast<ptrdiff_t>(static_cast<size_t>(first) * blocks);
      const auto to = static_cast<ptrdiff_t>(static_cast<size_t>(last) * blocks);
      part.route.weight.assign(route.weight.begin() + from, route.weight.begin() + to);
      part.route.rule.assign(route.rule.begin() + from, route.rule.begin() + to);
    }
    parts.push_back(std::move(part));
    first = last;
  }
  return parts;
}

void Trainer::accumulate(MicroBatch& part, uint64_t step, bool watch, const CompleteRoute& complete,
                         StepResult& result) {
  Tape tape(*backend_, part.rows, Mode::train, {options_.seed, step, part.example_ids});
  if (watch) tape.watch_finite();
  const Losses losses = model_->loss(tape, {part.tokens, {}}, part.targets);
  const std::vector<float> coefficient(static_cast<size_t>(part.rows.examples()),
                                       1.0f / static_cast<float>(options_.loss_denominator));
  if (complete && options_.routed) complete({part.first_example, losses.nll, losses.counts}, part.route);
  ParamGrad grads = options_.routed ? ParamGrad(model_->parameters(), *backend_, part.rows, part.route,
                                                {options_.norms, options_.withheld})
                                    : ParamGrad::plain(model_->parameters(), *backend_, part.rows);
  tape.backward(losses, coefficient, grads);
  result.nll.insert(result.nll.end(), losses.nll.begin(), losses.nll.end());
  result.counts.insert(result.counts.end(), losses.counts.begin(), losses.counts.end());
  if (options_.routed) {
    result.route.examples += part.route.examples;
    result.route.blocks = part.route.blocks;
    result.route.weight.insert(result.route.weight.end(), part.route.weight.begin(), part.route.weight.end());
    result.route.rule.insert(result.route.rule.end(), part.route.rule.begin(), part.route.rule.end());
  }
  if (options_.routed && options_.norms) {
    const std::vector<double> norms = grads.realised_norms();
    result.norms.insert(result.norms.end(), norms.begin(), norms.end());
  }
  if (watch && !result.non_finite && tape.first_non_finite()) {
    result.non_finite = tape.first_non_finite();
    if (result.non_finite->example >= 0) result.non_finite->example += part.first_example;
  }
}

// The step is deterministic: running it again with every value checked finds the first that is not finite.
NonFinite Trainer::locate(std::vector<MicroBatch>& parts, uint64_t step) {
  zero_grad(model_->parameters(), *backend_);
  StepResult again;
  for (MicroBatch& part : parts) accumulate(part, step, true, {}, again);  // their routes are complete by now
  zero_grad(model_->parameters(), *backend_);
  NonFinite unknown;
  unknown.op = "parameter gradient";
  return again.non_finite.value_or(unknown);
}

void Trainer::rehearse(const TrainBatch& batch, const RouteTable& route) {
  StepResult ignored;
  for (MicroBatch& part : cut(batch, route)) accumulate(part, 0, false, {}, ignored);
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
  zero_grad(model_->parameters(), *backend_);
  zero_withheld(model_->parameters(), *backend_);
  std::vector<MicroBatch> parts = cut(batch, route);
  for (MicroBatch& part : parts) accumulate(part, step, false, complete, result);
  result.clips = clip_blocks(model_->parameters(), *backend_, options_.clip);

  const auto finite = [](double v) { return std::isfinite(v); };
  const bool sound =
      std::all_of(result.nll.begin(), result.nll.end(), finite) &&
      std::all_of(result.norms.begin(), result.norms.end(), finite) &&
      std::all_of(result.clips.begin(), result.clips.end(), [&](const BlockClip& c) { return finite(c.norm); });
  if (!sound) {
    result.non_finite = locate(parts, step);
    return result;
  }
  if (options_.withheld) result.withheld = clip_withheld(model_->parameters(), *backend_, options_.withheld_clip);
  result.stepped = optimizer_.step(lr);
  return result;
}

}  // namespace govtrain
