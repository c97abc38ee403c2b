#include "tools/govtrain/train/text_samples.h"

#include <nlohmann/json.hpp>

namespace govtrain {

// What nlohmann-json's replacing error handler makes of the bytes.
std::string valid_utf8(const std::string& bytes) {
  const auto handler = nlohmann::json::error_handler_t::replace;
  return nlohmann::json::parse(nlohmann::json(bytes).dump(-1, ' ', false, handler)).get<std::string>();
}

std::vector<TextSample> write_text(Transformer& model, Backend& backend, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& prompts, GenerateOptions options, const Judge& judge,
                                   bool as_it_grows) {
  options.end_token = tokenizer.eos();
  std::vector<TextSample> samples;
  std::vector<std::vector<int32_t>> encoded;
  for (const std::string& prompt : prompts) {
    std::vector<int32_t> ids{tokenizer.bos()};
    const std::vector<int32_t> text = tokenizer.encode(prompt);
    ids.insert(ids.end(), text.begin(), text.end());
    encoded.push_back(std::move(ids));
    samples.push_back({prompt, "", static_cast<int64_t>(text.size())});
  }
  std::vector<size_t> passed(prompts.size(), 0);  // tokens that were judged and may stand
  const auto ask = [&](size_t j, const std::vector<int32_t>& written) {
    const bool good = judge(j, prompts[j] + valid_utf8(tokenizer.decode(written)));
    if (good) passed[j] = written.size();
    if (!good) (written.empty() ? samples[j].refused : samples[j].stopped) = true;
    return good;
  };
  if (judge) {
    options.proceed = [&](size_t j, const std::vector<int32_t>& written) {
      const bool due = written.empty() || (as_it_grows && written.size() % judged_every == 0);
      return !due || ask(j, written);
    };
  }
  auto continuations = generate(model, backend, encoded, options);
  for (size_t j = 0; j < prompts.size(); ++j) {
    std::vector<int32_t>& written = continuations[j];
    if (judge && as_it_grows && !samples[j].stopped && written.size() > passed[j]) (void)ask(j, written);
    if (samples[j].stopped) written.resize(passed[j]);
    samples[j].text = valid_utf8(tokenizer.decode(written));
    samples[j].tokens = static_cast<int64_t>(written.size());
  }
  return samples;
}

std::string sample_line(int64_t step, const TextSample& sample) {
  return nlohmann::json{{"step", step}, {"prompt", sample.prompt}, {"text", sample.text}}.dump() + "\n";
}

}  // namespace govtrain
