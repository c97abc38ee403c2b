// Sampling from a transformer. The whole context is computed again for each token: for samples, not for serving.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/transformer.h"

namespace govtrain {

struct GenerateOptions {
  int64_t max_new_tokens = 64;
  double temperature = 1.0;  // 0: greedy, the lowest token number among equals
  int64_t top_k = 0;         // 0: all
  int32_t end_token = -1;    // stops a continuation, and is not part of it; -1: none
  uint64_t seed = 0;         // token n of prompt j is drawn by (seed, j, n)
  // Asked with prompt j's continuation before its first token and after each; false: it ends here. Sees, never touches:
  // the tokens are those that come without it.
  std::function<bool(size_t j, const std::vector<int32_t>& continuation)> proceed = {};
};

// The continuation of each prompt. A prompt's result does not depend on the other prompts' content or number, only on
// its own index. Beyond the context the oldest tokens are dropped. Throws Error on an empty prompt or a bad token.
std::vector<std::vector<int32_t>> generate(Transformer& model, Backend& backend,
                                           const std::vector<std::vector<int32_t>>& prompts,
                                           const GenerateOptions& options);

}  // namespace govtrain
