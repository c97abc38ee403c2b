// Slices of parameters: what they share with whole parameters, bit for bit, and what is theirs alone.
#include <cmath>

#include "tests/models/random_model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

constexpr uint64_t cases = 30;
constexpr float coefficient = 1.0f / 64;

}  // namespace

TEST_CASE("where the weights are equal, slices have the bits of the whole parameter's gradient") {
  for (uint64_t seed = 1; seed <= cases; ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    Case whole = c;
    whole.blocks = blocks_by_layer(Transformer::parameter_infos(c.config));
    for (size_t e = 0; e < c.examples.size(); ++e) {
      const float w = c.examples[e].weight.front();
      c.examples[e].weight.assign(static_cast<size_t>(c.blocks.blocks()), w);
      whole.examples[e].weight.assign(static_cast<size_t>(whole.blocks.blocks()), w);
    }
    const auto sliced = make_model(c), uncut = make_model(whole);
    const Outcome a = accumulate(*sliced, c.examples, coefficient);
    const Outcome b = accumulate(*uncut, whole.examples, coefficient);
    CHECK(same_bits(gradients(*sliced), gradients(*uncut)));
    CHECK(same_bits(a.nll, b.nll));
    for (size_t e = 0; e < c.examples.size(); ++e) {  // squares of the blocks add up to the squares of the model
      double mine = 0, all = 0;
      for (int k = 0; k < c.blocks.blocks(); ++k) {
        mine += std::pow(a.norms[e * static_cast<size_t>(c.blocks.blocks()) + static_cast<size_t>(k)], 2);
      }
      for (int k = 0; k < whole.blocks.blocks(); ++k) {
        all += std::pow(b.norms[e * static_cast<size_t>(whole.blocks.blocks()) + static_cast<size_t>(k)], 2);
      }
      CHECK(std::abs(mine - all) <= 1e-5 * all);
    }
  }
}

TEST_CASE("every block clips by its own norm, and no slice touches another") {
  for (uint64_t seed = 1; seed <= cases; ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const auto model = make_model(c);
    accumulate(*model, c.examples, coefficient);
    const Bits before = gradients(*model);
    const double limit = 0.01;
    const auto clips = clip_blocks(model->parameters(), cpu_backend(), limit);
    const Bits after = gradients(*model);
    for (int b = 0; b < c.blocks.blocks(); ++b) {
      const std::vector<float> was = of_block(*model, before, b), is = of_block(*model, after, b);
      double square = 0;
      for (const float g : was) square += static_cast<double>(g) * static_cast<double>(g);
      const BlockClip& clip = clips[static_cast<size_t>(b)];
      CHECK(clip.norm == Approx(std::sqrt(square)).epsilon(1e-9));
      CHECK((clip.factor < 1.0f) == (clip.norm + 1e-6 > limit));
      std::vector<float> want = was;
      for (float& g : want) g = clip.factor == 1.0f ? g : g * clip.factor;
      CHECK(same_bits(is, want));
    }
  }
}

TEST_CASE("the optimizer keeps one clock for every slice") {
  for (uint64_t seed = 1; seed <= cases; ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    const auto model = make_model(c);
    Optimizer optimizer(model->parameters(), cpu_backend(), {});
    std::vector<int64_t> steps(static_cast<size_t>(c.blocks.blocks()), 0);
    Random r(seed);
    for (int step = 0; step < 3; ++step) {
      for (size_t b = 0; b < steps.size(); ++b) {
        const bool open = r.coin();
        steps[b] += open ? 1 : 0;
        for (Example& x : c.examples) x.weight[b] = open ? 0.5f : 0.0f;
      }
      accumulate(*model, c.examples, coefficient);
      optimizer.step(0.01);
      zero_grad(model->parameters(), cpu_backend());
    }
    const OptimizerState state = optimizer.export_state();
    for (size_t i = 0; i < model->parameters().size(); ++i) {
      const Parameter& p = model->parameters()[i];
      REQUIRE(state.clocks[i].steps.size() == p.slices().size());
      for (size_t k = 0; k < p.slices().size(); ++k) {
        CHECK(state.clocks[i].steps[k] == steps[static_cast<size_t>(p.slices()[k].block)]);
      }
    }
  }
}

TEST_CASE("every granularity divides random models completely, with names that do not depend on the vocabulary") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Random r(seed), again(seed);
    TransformerConfig c = random_config(r);
    random_config(again);
    const int kind = 1 + static_cast<int>(seed % (block_kinds - 1));
    const auto infos = Transformer::parameter_infos(c);
    const BlockMap map = blocks_of_kind(kind, r, c, infos);
    INFO("seed " << seed << ", " << granularity_names()[static_cast<size_t>(kind - 1)]);
    CHECK_NOTHROW(check_partition(map, infos));
    REQUIRE(map.info.size() == map.names.size());
    int64_t elements = 0;
    for (const BlockInfo& info : map.info) {
      CHECK(info.elements > 0);
      elements += info.elements;
    }
    CHECK(elements == c.parameter_count());
    c.vocab += 7;
    const BlockMap larger = blocks_of_kind(kind, again, c, Transformer::parameter_infos(c));
    CHECK(larger.names == map.names);
    CHECK(block_map_digest(larger, Transformer::parameter_infos(c)) != block_map_digest(map, infos));
    if (c.tied_head) {  // the head's rows are the embedding's
      for (size_t b = 0; b < map.info.size(); ++b) {
        const auto& roles = map.info[b].roles;
        CHECK(std::find(roles.begin(), roles.end(), "head") == roles.end());
      }
    }
  }
}
