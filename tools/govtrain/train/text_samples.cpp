#include "tools/govtrain/train/text_samples.h"

#include <nlohmann/json.hpp>

namespace govtrain {
namespace {

// What nlohmann-json's replacing error handler makes of the bytes.
std::string valid_utf8(const std::string& bytes) {
  const auto handler = nlohmann::json::error_handler_t::replace;
  return nlohmann::json::parse(nlohmann::json(bytes).dump(-1, ' ', false, handler)).get<std::string>();
}

}  // namespace

std::vector<TextSample> write_text(Transformer& model, Backend& backend, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& prompts, GenerateOptions options) {
  options.end_token = tokenizer.eos();
  std::vector<std::vector<int32_t>> encoded;
  for (const std::string& prompt : prompts) {
    std::vector<int32_t> ids{tokenizer.bos()};
    const std::vector<int32_t> text = tokenizer.encode(prompt);
    ids.insert(ids.end(), text.begin(), text.end());
    encoded.push_back(std::move(ids));
  }
  const auto continuations = generate(model, backend, encoded, options);
  std::vector<TextSample> samples;
  for (size_t i = 0; i < prompts.size(); ++i) {
    samples.push_back({prompts[i], valid_utf8(tokenizer.decode(continuations[i]))});
  }
  return samples;
}

std::string sample_line(int64_t step, const TextSample& sample) {
  return nlohmann::json{{"step", step}, {"prompt", sample.prompt}, {"text", sample.text}}.dump() + "\n";
}

}  // namespace govtrain
