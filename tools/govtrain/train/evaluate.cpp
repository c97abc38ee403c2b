#include "tools/govtrain/train/evaluate.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"

namespace govtrain {

Evaluator::Evaluator(const Dataset& dataset, const std::string& group, int context, int rows_per_batch,
                     int64_t max_rows) {
  const auto named = group_documents(dataset, documents_of(dataset, Split::validation), group);
  uint64_t total = 0;
  std::vector<uint64_t> sizes;
  for (const auto& [name, documents] : named) {
    uint64_t rows = 0;
    for (const int32_t d : documents) rows += dataset.documents()[static_cast<size_t>(d)].tokens + 1;
    sizes.push_back(rows);
    total += rows;
  }
  for (size_t i = 0; i < named.size(); ++i) {
    uint64_t limit = 0;
    if (max_rows > 0 && total > static_cast<uint64_t>(max_rows)) {
      limit = std::max<uint64_t>(1, sizes[i] * static_cast<uint64_t>(max_rows) / total);
    }
    groups_.push_back({named[i].first, FixedBatches(dataset, named[i].second, context, rows_per_batch, limit)});
  }
}

int64_t Evaluator::rows() const {
  int64_t rows = 0;
  for (const Group& g : groups_) rows += static_cast<int64_t>(g.batches.rows());
  return rows;
}

std::vector<std::string> Evaluator::groups() const {
  std::vector<std::string> names;
  for (const Group& g : groups_) names.push_back(g.name);
  return names;
}

EvalResult Evaluator::run(Transformer& model, Backend& backend, const Sampler::Keep& keep) const {
  EvalResult result;
  for (const Group& group : groups_) {
    EvalResult::Source source{group.name};
    result.kept_out += group.batches.kept_out(keep);
    for (size_t i = 0; i < group.batches.size(); ++i) {
      const Batch batch = group.batches.batch(i, keep);
      if (batch.empty()) continue;
      Tape tape(backend, batch.rows, Mode::eval);
      const Losses losses = model.loss(tape, {batch.tokens, {}}, batch.targets);
      for (size_t e = 0; e < batch.examples.size(); ++e) {
        const double nll = losses.nll()[e];
        if (!std::isfinite(nll) && !result.non_finite) result.non_finite = {group.name, batch.examples[e]};
        source.nll += nll;
        source.tokens += losses.counts[e];
      }
    }
    if (source.tokens == 0) continue;
    result.all.nll += source.nll;
    result.all.tokens += source.tokens;
    result.sources.push_back(source);
  }
  return result;
}

}  // namespace govtrain
