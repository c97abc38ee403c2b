// How a run stops on values that are not finite: with the log durable, the checkpoints as they were, and a report.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/loop.h"

namespace govtrain {

using nlohmann::json;

namespace {

json named(const Session& s, const Example& example) {
  return {{"ex", s.governance->label(example.document).ex},
          {"span", {example.begin, example.end}},
          {"provenance", s.dataset.documents()[static_cast<size_t>(example.document)].provenance}};
}

std::string text_of(const json& named) { return named.at("ex").get<std::string>() + " " + named.at("span").dump(); }

}  // namespace

void Loop::stop(const json& report, const std::string& text) {
  const std::string path = join_path(config_.run.out, "non_finite.json");
  require(write_atomic(fs_, path, report.dump(1) + "\n"));
  if (log_) require(log_->flush());
  progress_.finish();
  throw Failure(exit_failure, fmt::format("step {}: {}\n  details: {}", step_, text, path));
}

void Loop::stop_on_non_finite(const Batch& batch, const StepResult& result) {
  const NonFinite& found = *result.non_finite;
  json ids = json::array();
  for (size_t e = 0; e < batch.examples.size(); ++e) {
    if (found.example < 0 || static_cast<size_t>(found.example) == e) ids.push_back(named(s_, batch.examples[e]));
  }
  const std::string block = found.block < 0 ? "none" : s_.policy.blocks()[static_cast<size_t>(found.block)];
  const json report = {{"step", step_ + 1},
                       {"op", found.op},
                       {"pass", found.in_backward ? "backward" : "forward"},
                       {"parameter", found.parameter},
                       {"block", block},
                       {"examples", ids},
                       {"sampler", {{"epoch", batch.epoch}, {"cursor", batch.cursor}}}};
  stop(report, fmt::format("a value that is not finite, first in op '{}' ({} pass), block {}, example {}; the update "
                           "was not made, the last checkpoint is unharmed",
                           found.op, found.in_backward ? "backward" : "forward", block,
                           found.example < 0 ? std::string("unknown") : text_of(ids.front())));
}

// Loss and update were finite, and so are the weights: they are so large that the next steps will hardly be.
void Loop::stop_on_validation(const EvalResult::NonFinite& found) {
  const json example = named(s_, found.example);
  const json report = {
      {"step", step_}, {"pass", "validation"}, {"source", found.source}, {"examples", json::array({example})}};
  stop(report, fmt::format("the validation loss of source '{}' is not finite, first for example {}; the weights of "
                           "this step were not saved, the last checkpoint is unharmed; train with a lower optim.lr, "
                           "or with optim.clip",
                           found.source, text_of(example)));
}

// An update can overflow although loss, norms and gradient were finite.
void Loop::refuse_non_finite_weights() {
  for (size_t i = 0; i < s_.model->parameters().size(); ++i) {
    const Parameter& p = s_.model->parameters()[i];
    if (s_.backend.first_non_finite_row(p.value().cview()) < 0) continue;
    if (log_) require(log_->flush());
    progress_.finish();
    const std::string& block = s_.policy.blocks()[static_cast<size_t>(p.slices().front().block)];
    throw Failure(exit_failure, fmt::format("step {}: the update left a value that is not finite in {} (block {}); "
                                            "nothing was saved, the last checkpoint is unharmed",
                                            step_, p.name(), block));
  }
}

}  // namespace govtrain
