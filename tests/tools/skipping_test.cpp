// Skipping leaves out work, never bits: whole steps with and without it, on random models, batches and routes.
#include <limits>
#include <utility>

#include "tests/models/random_combination.h"
#include "tests/tools/routed_case.h"
#include "tools/govtrain/train/trainer.h"

namespace train = govtrain;
using govtrain::cpu_backend;
using govtrain::RouteTable;
using govtrain::StepResult;
using govtrain::Trainer;
using govtrain::TrainerOptions;
using govtrain::Transformer;
using namespace govtrain::test;

namespace {

struct Result {
  StepResult step;
  Bits grads, values;
};

// Two steps; with `open` the first one admits everybody everywhere, so that every block has moments.
Result run(const Case& c, const std::vector<Example>& examples, const TrainerOptions& options, bool open = false) {
  const auto model = make_model(c);
  Trainer trainer(*model, cpu_backend(), {}, options);
  Result out;
  for (uint64_t s = 1; s <= 2; ++s) {
    Batch batch(examples, c.blocks.blocks());
    if (s == 1 && open) std::fill(batch.route.weight.begin(), batch.route.weight.end(), 1.0f);
    out.step = trainer.step({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route, s, 0.01);
  }
  out.grads = gradients(*model);
  out.values = values(*model);
  return out;
}

const std::initializer_list<govtrain::Enforcement> points = {
    govtrain::Enforcement::backward, govtrain::Enforcement::optimizer, govtrain::Enforcement::loss};

TrainerOptions options(bool skip, int64_t micro_batch_rows = 0) {
  TrainerOptions o;
  o.seed = 5;
  o.loss_denominator = 64;
  o.clip = 0.05;
  o.skip = skip;
  o.micro_batch_rows = micro_batch_rows;
  return o;
}

}  // namespace

TEST_CASE("skipping changes no bit, whatever the order and the size of micro-batches, at every enforcement point") {
  const govtrain::Enforcement point = GENERATE(Catch::Generators::values(points));
  int left_out = 0;
  for (uint64_t seed = 1; seed <= routed_cases; ++seed) {
    const Case c = routed_case(seed);
    INFO(describe(c));
    for (const std::vector<Example>& examples : {c.examples, arranged(c)}) {
      TrainerOptions o = options(false);
      o.enforcement = point;
      const Result full = run(c, examples, o);
      for (const int64_t rows : {0, 1, 25}) {
        o = options(true, rows);
        o.enforcement = point;
        const Result skipped = run(c, examples, o);
        CHECK(same_bits(full.grads, skipped.grads));
        CHECK(same_bits(full.values, skipped.values));
        CHECK(same_bits(full.step.norms, skipped.step.norms));
        CHECK(same_bits(full.step.route.weight, skipped.step.route.weight));
        CHECK(full.step.stepped == skipped.step.stepped);
        for (size_t e = 0; e < examples.size(); ++e) {
          if (taught(examples[e])) {
            CHECK(full.step.nll[e] == skipped.step.nll[e]);
            CHECK(full.step.counts[e] == skipped.step.counts[e]);
          } else {
            ++left_out;
            CHECK(skipped.step.nll[e] == 0);
            CHECK(skipped.step.counts[e] == 0);
          }
        }
      }
    }
  }
  CHECK(left_out > 40);
}

TEST_CASE("skipping changes no bit under any technique, with gates that are shut for the whole batch") {
  int shut = 0;
  for_all_combinations(20000, [&](const Case& drawn) {
    Case c = drawn;
    Random r(c.seed + 29);
    for (int b = 0; b < c.blocks.blocks(); ++b) {
      if (r.coin()) continue;
      for (Example& x : c.examples) x.weight[static_cast<size_t>(b)] = 0;
      ++shut;
    }
    const Result full = run(c, c.examples, options(false), true);
    for (const int64_t rows : {0, 25}) {
      const Result skipped = run(c, c.examples, options(true, rows), true);
      CHECK(same_bits(full.grads, skipped.grads));
      CHECK(same_bits(full.values, skipped.values));
      CHECK(same_bits(full.step.norms, skipped.step.norms));
      CHECK(full.step.stepped == skipped.step.stepped);
    }
  });
  CHECK(shut > 200);
}

TEST_CASE("law 3: an example that may teach nothing leaves the bits of a batch in which it is not") {
  for (uint64_t seed = 1; seed <= routed_cases; ++seed) {
    const Case c = routed_case(seed);
    INFO(describe(c));
    std::vector<Example> present;
    for (const Example& x : c.examples) {
      if (taught(x)) present.push_back(x);
    }
    if (present.empty()) continue;
    for (const bool forward_excluded : {false, true}) {
      TrainerOptions o = options(true, 40);
      o.forward_excluded = forward_excluded;
      const Result with = run(c, c.examples, o);
      const Result without = run(c, present, o);
      CHECK(same_bits(with.grads, without.grads));
      CHECK(same_bits(with.values, without.values));
    }
  }
}

TEST_CASE("losses of excluded examples are those of a full step when they are asked for") {
  for (uint64_t seed = 1; seed <= routed_cases; ++seed) {
    const Case c = routed_case(seed);
    INFO(describe(c));
    TrainerOptions o = options(true);
    o.forward_excluded = true;
    const Result full = run(c, c.examples, options(false));
    const Result asked = run(c, c.examples, o);
    CHECK(same_bits(full.step.nll, asked.step.nll));
    CHECK(full.step.counts == asked.step.counts);
    CHECK(same_bits(full.values, asked.values));
  }
}

TEST_CASE("a decision that is completed after the forward pass skips by what was known before, with the same bits") {
  const govtrain::Enforcement point = GENERATE(Catch::Generators::values(points));
  for (uint64_t seed = 1; seed <= routed_cases; ++seed) {
    const Case c = routed_case(seed);
    INFO(describe(c));
    const auto step = [&](bool skip, int64_t rows) {
      const auto model = make_model(c);
      TrainerOptions o = options(skip, rows);
      o.enforcement = point;
      Trainer trainer(*model, cpu_backend(), {}, o);
      const Batch batch(c.examples, c.blocks.blocks());
      std::vector<int> seen;
      const auto complete = [&](const train::ForwardResult& forward, RouteTable& route) {
        for (int e = 0; e < route.examples; ++e) {
          seen.push_back(forward.first_example + e);
          const bool high =
              forward.nll[static_cast<size_t>(e)] > 3.0 * static_cast<double>(forward.counts[static_cast<size_t>(e)]);
          for (int b = 0; b < route.blocks / 2 && high; ++b) route.at(e, b) = 0;
        }
      };
      const StepResult result =
          trainer.step({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route, 1, 0.01, complete);
      if (skip) {
        for (const int e : seen) CHECK(taught(c.examples[static_cast<size_t>(e)]));
      }
      return std::pair{values(*model), result.route.weight};
    };
    const auto full = step(false, 0);
    for (const int64_t rows : {0, 20}) {
      const auto skipped = step(true, rows);
      CHECK(same_bits(full.first, skipped.first));
      CHECK(same_bits(full.second, skipped.second));
    }
  }
}

TEST_CASE("a value that is not finite is found at every enforcement point, and nothing is learnt from the step") {
  const govtrain::Enforcement point = GENERATE(Catch::Generators::values(points));
  Case c = routed_case(2);
  for (Example& x : c.examples) {
    std::fill(x.weight.begin(), x.weight.end(), 1.0f);
    x.weight.back() = 0.3f;  // two levels
  }
  const auto model = make_model(c);
  TrainerOptions o = options(true, 30);
  o.enforcement = point;
  Trainer trainer(*model, cpu_backend(), {}, o);
  const Batch batch(c.examples, c.blocks.blocks());
  const auto step = [&](uint64_t s) {
    return trainer.step({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route, s, 0.01);
  };
  const Bits before = values(*model);
  float& cell = model->parameters()[model->parameters().size() - 1].value().data()[0];
  const float was = std::exchange(cell, std::numeric_limits<float>::infinity());
  CHECK(step(1).non_finite.has_value());
  cell = was;
  CHECK(same_bits(before, values(*model)));
  const StepResult after = step(1);
  const auto fresh = make_model(c);
  Trainer other(*fresh, cpu_backend(), {}, o);
  other.step({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route, 1, 0.01);
  CHECK_FALSE(after.non_finite);
  CHECK(same_bits(values(*fresh), values(*model)));
}

TEST_CASE("law 2: an example that may teach nothing stops no step, whatever its loss is") {
  int met = 0;
  for (uint64_t seed = 1; seed <= routed_cases; ++seed) {
    Case c = routed_case(seed);
    c.config.positions = govtrain::PositionKind::learned;
    c.config.dropout = 0;
    INFO(describe(c));
    Random r(seed);
    c.blocks = govtrain::blocks_by_layer(Transformer(c.config, 0).parameters().infos());
    for (Example& x : c.examples) x.weight.assign(static_cast<size_t>(c.blocks.blocks()), 1.0f);
    std::vector<Example> with = c.examples;
    Example& kept_out = with[r.below(static_cast<int>(with.size()))];
    random_text(r, c.config, kept_out, static_cast<int>(c.config.context));  // to the last position
    kept_out.target.assign(kept_out.tokens.size(), 0);
    std::fill(kept_out.weight.begin(), kept_out.weight.end(), 0.0f);
    std::vector<Example> without;
    for (const Example& x : with) {
      if (taught(x)) without.push_back(x);
    }
    const auto step = [&](const std::vector<Example>& examples, bool skip) {
      const auto model = make_model(c);
      govtrain::Parameter& places =
          *model->parameters().find(c.config.is_gpt2() ? "transformer.wpe.weight" : "model.embed_positions.weight");
      std::fill_n(places.value().data() + (places.rows() - 1) * places.cols(), places.cols(),
                  std::numeric_limits<float>::infinity());
      TrainerOptions o = options(skip);
      o.forward_excluded = true;
      Trainer trainer(*model, cpu_backend(), {}, o);
      const Batch batch(examples, c.blocks.blocks());
      const StepResult result = trainer.step({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route, 1, 0.01);
      CHECK_FALSE(result.non_finite);
      CHECK(std::isfinite(result.mean_loss()));
      for (size_t e = 0; e < examples.size(); ++e) met += !taught(examples[e]) && result.counts[e] == 0 ? 1 : 0;
      return values(*model);
    };
    const Bits absent = step(without, true);
    CHECK(same_bits(step(with, true), absent));
    CHECK(same_bits(step(with, false), absent));
  }
  CHECK(met == 2 * static_cast<int>(routed_cases));
}

TEST_CASE("a step without examples changes nothing, and its table has the model's blocks") {
  const Case c = routed_case(1);
  const auto model = make_model(c);
  Trainer trainer(*model, cpu_backend(), {}, options(true));
  const Bits before = values(*model);
  const Batch none({}, c.blocks.blocks());
  const StepResult result = trainer.step({none.tokens, none.target, none.rows, none.ids}, none.route, 1, 0.01);
  CHECK(result.route.examples == 0);
  CHECK(result.route.blocks == c.blocks.blocks());
  CHECK(result.stepped == std::vector<bool>(static_cast<size_t>(c.blocks.blocks()), false));
  CHECK(same_bits(values(*model), before));
}

TEST_CASE("activations below the lowest admitted block, and inputs of projections that nobody teaches, are not kept") {
  govtrain::TransformerConfig config;
  config.vocab = 64;
  config.context = 128;
  config.layers = 8;
  config.width = 64;
  config.heads = 4;
  config.tied_head = false;
  Transformer model(config, 1);
  model.parameters().assign_blocks(govtrain::blocks_by_layer(model.parameters().infos()));
  const int blocks = model.parameters().blocks();
  Random r(3);
  std::vector<Example> examples(8);
  for (Example& x : examples) random_text(r, config, x, 128);
  const auto peak = [&](int from, int to) {
    for (Example& x : examples) {
      x.weight.assign(static_cast<size_t>(blocks), 0.0f);
      std::fill(x.weight.begin() + from, x.weight.begin() + to, 1.0f);
    }
    const Batch batch(examples, blocks);
    Trainer trainer(model, cpu_backend(), {}, options(true));
    trainer.rehearse({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route);
    const size_t before = govtrain::host_allocator().live_bytes();
    govtrain::host_allocator().reset_peak();
    trainer.rehearse({batch.tokens, batch.target, batch.rows, batch.ids}, batch.route);
    return govtrain::host_allocator().peak_bytes() - before;
  };
  const size_t all = peak(0, blocks), half = peak(1 + 4, blocks), top = peak(1 + 7, blocks);
  INFO("all blocks " << all << ", top half " << half << ", top layer " << top << " bytes");
  // What a layer keeps is at least its two norms' inputs and outputs, q, k, v, and three values of the MLP's width.
  const size_t layer = 8 * 128 * sizeof(float) * (7 * 64 + 3 * 192);
  CHECK(all - half > 4 * layer);
  CHECK(half - top > 3 * layer * 9 / 10);
  // Where the backward pass only goes through: not the outputs of the two norms and the MLP's inner values.
  const size_t bottom = peak(0, 1 + 4), inputs = 8 * 128 * sizeof(float) * (2 * 64 + 192);
  INFO("bottom half " << bottom << " bytes");
  CHECK(all - bottom > 4 * inputs * 8 / 10);
}
