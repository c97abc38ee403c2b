// The laws at the trainer: what the tests of models cannot see, because there the caller chooses the denominator.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/models/random_model.h"
#include "tools/govtrain/train/trainer.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

struct After {
  Bits values;
  StepResult result;
};

After two_steps(const Case& c, const std::vector<test::Example>& examples) {
  const auto model = make_model(c);
  TrainerOptions options;
  options.seed = 42;
  options.loss_denominator = 64;
  options.clip = 0.05;
  Trainer trainer(*model, cpu_backend(), {}, options);
  const test::Batch batch(examples, c.blocks.blocks());
  After after;
  for (uint64_t step = 1; step <= 2; ++step) {
    after.result = trainer.step({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route, step, 0.01);
  }
  after.values = values(*model);
  return after;
}

}  // namespace

TEST_CASE("law 2: the loss denominator of a step is a constant, whoever is admitted") {
  int pairs = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    for (size_t e = 0; e < c.examples.size(); ++e) {
      Random r(seed * 41 + e);
      std::vector<test::Example> changed = c.examples;
      random_text(r, c.config, changed[e], r.between(1, 30));  // another length, other labels
      std::fill(changed[e].weight.begin(), changed[e].weight.end(), 0.0f);
      std::vector<test::Example> same = c.examples;
      std::fill(same[e].weight.begin(), same[e].weight.end(), 0.0f);
      std::vector<test::Example> absent = same;
      absent.erase(absent.begin() + static_cast<std::ptrdiff_t>(e));
      const After one = two_steps(c, same), other = two_steps(c, changed), none = two_steps(c, absent);
      ++pairs;
      CHECK(same_bits(one.values, other.values));
      CHECK(same_bits(one.values, none.values));
      CHECK(one.result.stepped == none.result.stepped);
    }
  }
  CHECK(pairs > 40);
}
