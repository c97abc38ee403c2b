// Surprisal in single training steps: law 2 with bands that are decided in the middle of a step, and what a reference
// model measures. Zero bits.
#include <catch2/catch.hpp>

#include "routing/bands.h"
#include "routing/policy.h"
#include "tests/models/random_model.h"
#include "tools/govtrain/train/reference_model.h"
#include "tools/govtrain/train/trainer.h"

using namespace govtrain;

TEST_CASE("law 2 with bands: what a confined example holds reaches neither edges nor the blocks that keep it out") {
  const uint64_t seed = GENERATE(range(uint64_t{1}, uint64_t{25}));
  Diagnostics diagnostics;
  const std::optional<Policy> policy = Policy::parse(
      "p",
      "policy: p\nversion: 1\ndefault: a\nprofiles: {a: {all: 1}, b: {all: 1}, c: {all: 1}}\n"
      "entropy: {warmup: 3, error: 0.1, slope: {edges: [-0.1], min_points: 2}, profiles: [[a, b], [b, c], c]}\n",
      diagnostics);
  REQUIRE(policy);
  test::Case c = test::random_case(seed);
  c.examples.resize(2);
  for (uint64_t i = 2; i < 6; ++i) c.examples.push_back(c.examples[i % 2]), c.examples.back().id += i;
  INFO(test::describe(c));
  const int blocks = c.blocks.blocks(), kept_out = static_cast<int>(seed) % blocks;
  const auto b = static_cast<size_t>(kept_out);
  // The cells differ in that block; the first example is kept out of it, the others are admitted everywhere.
  std::vector<std::vector<float>> cells(6, std::vector<float>(static_cast<size_t>(blocks), 1));
  for (size_t k = 0; k < cells.size(); ++k) cells[k][b] = static_cast<float>(k) * 0.2F;
  for (test::Example& x : c.examples) x.weight.assign(static_cast<size_t>(blocks), 1);
  c.examples[0].weight[b] = 0;
  const std::vector<bool> differing = differing_blocks(cells);
  CHECK(differing[b]);
  struct Left {
    std::vector<nlohmann::json> states;
    std::vector<float> block;
    double confined_nll = 0;
    int banded = 0;
  };
  const auto train = [&](uint64_t text) {
    std::vector<test::Example> examples = c.examples;
    test::Random random(1000 * seed + text);
    test::random_text(random, c.config, examples[0], static_cast<int>(examples[0].tokens.size()));
    EntropyBands bands(*policy->entropy);
    Left left;
    for (int64_t step = 1; step <= 4; ++step) {
      // The weights stand still: through them a confined example may reach others, in the blocks that admit it.
      const auto model = test::make_model(c);
      OptimizerOptions sgd;
      sgd.kind = OptimizerKind::sgd;
      Trainer trainer(*model, cpu_backend(), sgd, {.seed = 1, .loss_denominator = 64});
      const test::Batch batch(examples, blocks);
      std::vector<EntropyMark> marks(examples.size());
      const auto key = [](size_t e) { return "k" + std::to_string(e % 2); };
      const StepResult result = trainer.step(
          {batch.tokens, batch.target, batch.rows, batch.ids}, batch.route, static_cast<uint64_t>(step), 0.1,
          [&](const ForwardResult& forward, RouteTable& route) {
            for (size_t e = 0; e < examples.size(); ++e) {
              marks[e] = bands.judge(surprisal_of(forward.nll[e], forward.counts[e]), key(e));
              const std::optional<int> cell = bands.cell(marks[e]);
              if (!cell) continue;
              const size_t at = e * static_cast<size_t>(blocks);
              restrict_row({route.weight.data() + at, static_cast<size_t>(blocks)},
                           {route.rule.data() + at, static_cast<size_t>(blocks)}, cells[static_cast<size_t>(*cell)], 7);
              ++left.banded;
            }
          });
      CHECK(result.route.at(0, kept_out) == 0);
      left.confined_nll = result.nll[0];
      for (size_t e = 0; e < examples.size(); ++e) {
        if (may_teach_bands(examples[e].weight, differing)) bands.observe(marks[e], key(e), static_cast<double>(step));
      }
      bands.end_step(step);
      left.states.push_back(bands.to_json());
      const std::vector<float> now = test::of_block(*model, test::values(*model), kept_out);
      left.block.insert(left.block.end(), now.begin(), now.end());
    }
    return left;
  };
  const Left one = train(1), other = train(2);
  CHECK(one.states == other.states);
  CHECK(test::same_bits(one.block, other.block));
  CHECK(one.banded > 0);
  if (c.examples[0].tokens.size() > 4) CHECK(one.confined_nll != other.confined_nll);
}

TEST_CASE("a reference model measures only what is wanted, the same in any company, and follows by its decay") {
  const uint64_t seed = GENERATE(3, 4, 5, 6);
  test::Case c = test::random_case(seed);
  INFO(test::describe(c));
  const auto model = test::make_model(c);
  const auto reference = ReferenceModel::average(*model, 0.75, cpu_backend());
  const test::Batch batch(c.examples, c.blocks.blocks());
  const TrainBatch input{batch.tokens, batch.target, batch.rows, batch.ids};
  std::vector<uint8_t> wanted(c.examples.size(), 1);
  const ReferenceModel::Measured all = reference->measure(input, wanted, 0);
  CHECK(reference->rows() == batch.rows.total());
  CHECK(reference->measure(input, wanted, 7).nll == all.nll);
  wanted[0] = 0;
  const ReferenceModel::Measured some = reference->measure(input, wanted, 0);
  CHECK(reference->rows() == 3 * batch.rows.total() - batch.rows.length(0));
  CHECK(some.counts[0] == 0);
  for (size_t e = 1; e < wanted.size(); ++e) CHECK(some.nll[e] == all.nll[e]);

  const std::vector<NamedTensor> before = reference->tensors();
  std::vector<std::vector<float>> old;
  for (const NamedTensor& t : before) old.emplace_back(t.value.data(), t.value.data() + t.value.size());
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    Parameter& p = model->parameters()[i];
    for (int64_t j = 0; j < p.value().size(); ++j) p.value().data()[j] += 1;
  }
  reference->follow(*model);
  const std::vector<NamedTensor> after = reference->tensors();
  for (size_t i = 0; i < after.size(); ++i) {
    for (size_t j = 0; j < old[i].size(); ++j) {
      CHECK(after[i].value.data()[j] == Approx(old[i][j] + 0.25).margin(1e-6));
    }
  }
}
