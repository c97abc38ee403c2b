// Text that the model writes: prompts in, continuations out, keyed by a seed. For looking at, not for serving.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/generate.h"
#include "tools/govtrain/data/tokenizer.h"

namespace govtrain {

struct TextSample {
  std::string prompt;
  std::string text;  // the continuation; bytes that are not UTF-8 are replaced by U+FFFD
};

// options.end_token is set to the tokenizer's eos.
std::vector<TextSample> write_text(Transformer& model, Backend& backend, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& prompts, GenerateOptions options);

// One JSON object on one line: {"prompt":..,"step":..,"text":..}.
std::string sample_line(int64_t step, const TextSample& sample);

}  // namespace govtrain
