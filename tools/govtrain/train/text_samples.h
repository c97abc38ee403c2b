// Text that the model writes: prompts in, continuations out, keyed by a seed. For looking at, not for serving.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/generate.h"
#include "tools/govtrain/data/tokenizer.h"

namespace govtrain {

struct TextSample {
  std::string prompt;
  std::string text;  // the continuation; bytes that are not UTF-8 are replaced by U+FFFD
  int64_t prompt_tokens = 0, tokens = 0;
  bool refused = false;  // by the judge: nothing was written
  bool stopped = false;  // by the judge: what comes next was not let pass
};

// Whether `text`, prompt `j` with what has been written so far, may stand.
using Judge = std::function<bool(size_t j, const std::string& text)>;

// A text that grows is judged after so many tokens.
inline constexpr size_t judged_every = 16;

// options.end_token is set to the tokenizer's eos. With a judge each prompt is judged before anything is computed, and,
// with `as_it_grows`, the text after every `judged_every` tokens and at its end: a continuation that is not let pass is
// cut where it last was. What is let pass has the same bits as without a judge.
std::vector<TextSample> write_text(Transformer& model, Backend& backend, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& prompts, GenerateOptions options,
                                   const Judge& judge = {}, bool as_it_grows = false);

// Bytes that are not UTF-8 replaced by U+FFFD.
std::string valid_utf8(const std::string& bytes);

// One JSON object on one line: {"prompt":..,"step":..,"text":..}.
std::string sample_line(int64_t step, const TextSample& sample);

}  // namespace govtrain
