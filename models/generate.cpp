#include "models/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"

namespace govtrain {
namespace {

// Token of one row of logits. `u` is uniform on [0, 1).
int32_t pick(const float* logits, int64_t vocab, const GenerateOptions& o, double u) {
  if (o.temperature == 0.0) return static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
  std::vector<int32_t> order(static_cast<size_t>(vocab));
  std::iota(order.begin(), order.end(), 0);
  const auto above = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  const int64_t kept = o.top_k > 0 ? std::min(o.top_k, vocab) : vocab;
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), above);
  order.resize(static_cast<size_t>(kept));
  std::vector<double> upto;
  double sum = 0;
  const double top = logits[order[0]];
  for (const int32_t token : order) {
    sum += std::exp((static_cast<double>(logits[token]) - top) / o.temperature);
    upto.push_back(sum);
  }
  const auto at = std::upper_bound(upto.begin(), upto.end(), u * sum) - upto.begin();
  return order[static_cast<size_t>(std::min<int64_t>(at, kept - 1))];
}

}  // namespace

std::vector<std::vector<int32_t>> generate(Transformer& model, Backend& backend,
                                           const std::vector<std::vector<int32_t>>& prompts,
                                           const GenerateOptions& options) {
  if (!(options.temperature >= 0.0 && std::isfinite(options.temperature))) {
    throw Error("generate", "temperature; expected >= 0, got {}", options.temperature);
  }
  if (options.max_new_tokens < 0 || options.top_k < 0) {
    throw Error("generate", "expected max_new_tokens and top_k >= 0, got {} and {}", options.max_new_tokens,
                options.top_k);
  }
  const auto context = static_cast<size_t>(model.config().context);
  std::vector<std::vector<int32_t>> text = prompts;
  std::vector<std::vector<int32_t>> out(prompts.size());
  std::vector<size_t> open(prompts.size());
  std::iota(open.begin(), open.end(), size_t{0});
  for (const auto& prompt : prompts) {
    if (prompt.empty()) throw Error("generate", "expected prompts of at least one token, got an empty one");
  }
  const auto ended = [&](size_t j) { return options.proceed && !options.proceed(j, out[j]); };
  std::erase_if(open, ended);
  for (int64_t n = 0; n < options.max_new_tokens && !open.empty(); ++n) {
    std::vector<int32_t> lengths;
    std::vector<int32_t> tokens;
    std::vector<int32_t> last;
    for (const size_t j : open) {
      const size_t length = std::min(text[j].size(), context);
      tokens.insert(tokens.end(), text[j].end() - static_cast<std::ptrdiff_t>(length), text[j].end());
      lengths.push_back(static_cast<int32_t>(length));
      last.push_back(static_cast<int32_t>(tokens.size()) - 1);
    }
    const Rows rows = Rows::of_lengths(lengths);
    Tape tape(backend, rows, Mode::eval);
    const Tensor logits = model.head(take_rows(model.hidden(tape, {tokens, {}}), last)).value().host();
    std::vector<size_t> still;
    for (size_t i = 0; i < open.size(); ++i) {
      const size_t j = open[i];
      const Rng rng(options.seed, Stream::generate, j);
      const double u = rng.uniform(static_cast<uint64_t>(n));
      const int32_t token = pick(logits.cview().row(static_cast<int64_t>(i)), logits.cols(), options, u);
      if (token == options.end_token) continue;
      text[j].push_back(token);
      out[j].push_back(token);
      if (!ended(j)) still.push_back(j);
    }
    open = std::move(still);
  }
  return out;
}

}  // namespace govtrain
