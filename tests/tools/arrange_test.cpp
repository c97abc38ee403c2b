// The order in which a batch is computed: by what its examples can leave out, and nothing lost on the way.
#include <catch2/catch.hpp>
#include <numeric>
#include <set>

#include "autograd/enforcement.h"
#include "tests/tools/routed_case.h"
#include "tools/govtrain/train/trainer.h"

namespace train = govtrain;
using govtrain::RouteTable;
using govtrain::SkipPlan;
using namespace govtrain::test;

TEST_CASE("a batch is arranged by what its examples can leave out, stably, table and texts together") {
  for (uint64_t seed = 1; seed <= routed_cases; ++seed) {
    const Case c = routed_case(seed);
    INFO(describe(c));
    const SkipPlan plan(make_model(c)->parameters());
    const Batch from(c.examples, c.blocks.blocks());
    train::Batch batch;
    batch.tokens = from.tokens;
    batch.targets = from.target;
    batch.rows = from.rows;
    batch.epoch = 3;
    for (const Example& x : c.examples) batch.examples.push_back({1, 0, static_cast<uint32_t>(x.tokens.size()), x.id});
    RouteTable route = from.route;
    std::iota(route.rule.begin(), route.rule.end(), 0);
    const std::vector<int32_t> rules = route.rule;
    arrange(batch, route, plan);

    const std::vector<Example> want = arranged(c);
    REQUIRE(batch.examples.size() == want.size());
    CHECK(batch.epoch == 3);
    const auto blocks = static_cast<size_t>(c.blocks.blocks());
    for (size_t e = 0; e < want.size(); ++e) {
      const int i = static_cast<int>(e);
      CHECK(batch.examples[e].id == want[e].id);
      CHECK(std::vector<int32_t>(batch.tokens.begin() + batch.rows.begin(i),
                                 batch.tokens.begin() + batch.rows.end(i)) == want[e].tokens);
      CHECK(std::vector<int32_t>(batch.targets.begin() + batch.rows.begin(i),
                                 batch.targets.begin() + batch.rows.end(i)) == want[e].target);
      const size_t was = static_cast<size_t>(want[e].id) - 1000 * seed - 1;
      for (size_t b = 0; b < blocks; ++b) {
        CHECK(route.weight[e * blocks + b] == want[e].weight[b]);
        CHECK(route.rule[e * blocks + b] == rules[was * blocks + b]);
      }
      if (e > 0) CHECK(plan.below(want[e - 1].weight) <= plan.below(want[e].weight));
    }
  }
}

TEST_CASE("for the enforcement point optimizer equal profiles stand together, and are one run each") {
  for (uint64_t seed = 1; seed <= routed_cases; ++seed) {
    Case c = routed_case(seed);
    INFO(describe(c));
    for (size_t e = 4; e < c.examples.size(); ++e) c.examples[e].weight = c.examples[e % 3].weight;
    const auto model = make_model(c);
    const SkipPlan plan(model->parameters(), nullptr, true);
    const Batch from(c.examples, c.blocks.blocks());
    train::Batch batch;
    batch.tokens = from.tokens;
    batch.targets = from.target;
    batch.rows = from.rows;
    for (const Example& x : c.examples) batch.examples.push_back({1, 0, static_cast<uint32_t>(x.tokens.size()), x.id});
    RouteTable route = from.route;
    arrange(batch, route, plan);
    std::set<std::vector<float>> profiles;
    for (const Example& x : c.examples) {
      if (taught(x)) profiles.insert(x.weight);
    }
    CHECK(govtrain::profile_runs(route, false).profile.size() == profiles.size());
    const auto blocks = static_cast<size_t>(c.blocks.blocks());
    for (size_t e = 1; e < c.examples.size(); ++e) {
      const std::vector<float> last(route.weight.begin() + static_cast<std::ptrdiff_t>((e - 1) * blocks),
                                    route.weight.begin() + static_cast<std::ptrdiff_t>(e * blocks));
      const std::vector<float> next(route.weight.begin() + static_cast<std::ptrdiff_t>(e * blocks),
                                    route.weight.begin() + static_cast<std::ptrdiff_t>((e + 1) * blocks));
      CHECK(plan.below(last) <= plan.below(next));
      if (last == next) CHECK(batch.examples[e - 1].id < batch.examples[e].id);
    }
  }
}
