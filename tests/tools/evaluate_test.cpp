// Validation losses that are not finite: whose they are is told, and who is kept out has none.
#include "tools/govtrain/train/evaluate.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/tools/data_fixture.h"

using namespace govtrain;
using namespace govtrain::test;

TEST_CASE(
    "a validation loss that is not finite names its example, and does not come to be where its document is kept out") {
  const TempDir dir;
  std::vector<Item> list = items(60);
  for (size_t i = 0; i < list.size(); i += 4) list[i].text += " Z";
  const Dataset data = open_dataset(prepare_items(dir, list, byte_options(0.4)).folder);
  const auto marked = [&](int32_t document) {
    const std::string source = data.documents()[static_cast<size_t>(document)].provenance.at(0).at("source");
    return std::stoi(source.substr(3)) % 4 == 0;
  };
  TransformerConfig config;
  config.vocab = data.tokenizer().vocab_size();
  config.context = 64;
  config.layers = 1;
  config.width = 16;
  config.heads = 2;
  config.tied_head = false;
  Transformer model(config, 3);
  const Evaluator evaluator(data, "license", 64, 256, 0);
  const auto run = [&](const Sampler::Keep& keep) { return evaluator.run(model, cpu_backend(), keep); };
  const auto unmarked = [&](int32_t document) { return !marked(document); };
  const EvalResult sound = run(unmarked);
  CHECK_FALSE(sound.non_finite);

  Parameter& embedding = model.parameters()[0];
  REQUIRE(embedding.rows() == config.vocab);
  embedding.value().data()['Z' * embedding.cols()] = std::numeric_limits<float>::infinity();
  const EvalResult kept_out = run(unmarked);
  CHECK_FALSE(kept_out.non_finite);
  CHECK(std::isfinite(kept_out.all.nll));
  CHECK(kept_out.kept_out > 0);
  CHECK(kept_out.all.tokens == sound.all.tokens);
  CHECK(kept_out.all.nll == sound.all.nll);

  const EvalResult all = run({});
  REQUIRE(all.non_finite);
  CHECK(marked(all.non_finite->example.document));
  CHECK(all.non_finite->example.rows() > 0);
  CHECK(data.documents()[static_cast<size_t>(all.non_finite->example.document)].provenance.at(0).at("license") ==
        all.non_finite->source);
  CHECK_FALSE(std::isfinite(all.all.nll));
  CHECK(all.all.tokens > sound.all.tokens);
}
