#include "tools/govtrain/data/baseline.h"

#include <cmath>

#include "tools/govtrain/data/sampler.h"

namespace govtrain {
namespace {

std::vector<uint64_t> target_counts(const Dataset& dataset, const std::vector<int32_t>& documents) {
  std::vector<uint64_t> counts(static_cast<size_t>(dataset.tokenizer().vocab_size()), 0);
  for (int32_t d : documents) {
    const DatasetDocument& doc = dataset.documents()[static_cast<size_t>(d)];
    for (uint64_t i = 0; i < doc.tokens; ++i) ++counts[static_cast<size_t>(dataset.token(doc.begin + i))];
    ++counts[static_cast<size_t>(dataset.tokenizer().eos())];
  }
  return counts;
}

}  // namespace

std::optional<double> unigram_loss(const Dataset& dataset, const std::vector<uint8_t>& admitted) {
  const auto train = target_counts(dataset, documents_of(dataset, Split::train, admitted));
  const auto validation = target_counts(dataset, documents_of(dataset, Split::validation, admitted));
  double train_total = static_cast<double>(train.size()), total = 0, loss = 0;
  for (uint64_t n : train) train_total += static_cast<double>(n);
  for (size_t v = 0; v < train.size(); ++v) {
    if (validation[v] == 0) continue;
    const double n = static_cast<double>(validation[v]);
    loss -= n * std::log((static_cast<double>(train[v]) + 1) / train_total);
    total += n;
  }
  if (total == 0) return std::nullopt;
  return loss / total;
}

}  // namespace govtrain
