#include "routing/linear_classifier.h"

#include <algorithm>
#include <cmath>

namespace govtrain {
namespace {

uint64_t mixed(uint64_t h) {
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 33);
}

}  // namespace

SparseRow hashed_ngrams(std::string_view text, const NgramOptions& options) {
  std::vector<int64_t> sums(static_cast<size_t>(options.buckets), 0);
  for (size_t at = 0; at < text.size(); ++at) {
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t n = 1; n <= static_cast<size_t>(options.longest) && at + n <= text.size(); ++n) {
      hash = (hash ^ static_cast<unsigned char>(text[at + n - 1])) * 0x100000001b3ULL;
      if (n < static_cast<size_t>(options.shortest)) continue;
      const uint64_t h = mixed(hash + n);
      sums[(h >> 1) % static_cast<uint64_t>(options.buckets)] += (h & 1) != 0 ? 1 : -1;
    }
  }
  SparseRow out;
  int64_t squares = 0;  // of the roots: exact
  for (size_t b = 0; b < sums.size(); ++b) {
    if (sums[b] == 0) continue;
    const int64_t size = std::abs(sums[b]);
    squares += size;
    out.index.push_back(static_cast<uint32_t>(b));
    out.value.push_back(static_cast<float>(std::copysign(std::sqrt(static_cast<double>(size)), sums[b])));
  }
  const double length = std::sqrt(static_cast<double>(squares));
  for (float& value : out.value) value = static_cast<float>(static_cast<double>(value) / length);
  return out;
}

std::vector<float> LinearClassifier::probabilities(std::string_view text) const {
  const SparseRow row = hashed_ngrams(text, ngrams);
  std::vector<double> logits;
  for (size_t c = 0; c < classes.size(); ++c) {
    double sum = static_cast<double>(bias[c]);
    const float* w = weight.data() + c * static_cast<size_t>(ngrams.buckets);
    for (size_t j = 0; j < row.index.size(); ++j)
      sum += static_cast<double>(w[row.index[j]]) * static_cast<double>(row.value[j]);
    logits.push_back(sum);
  }
  const double top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (double& logit : logits) total += logit = std::exp(logit - top);
  std::vector<float> out;
  for (const double p : logits) out.push_back(static_cast<float>(std::round(p / total * 1e4) / 1e4));
  return out;
}

size_t largest(const std::vector<float>& probabilities) {
  return static_cast<size_t>(std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin());
}

}  // namespace govtrain
