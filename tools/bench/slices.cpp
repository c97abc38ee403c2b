// What slices cost: routed training steps of one model divided into 12 blocks (its layers), 102 and 1,002 (ranges of
// MLP channels), and 112 (its layers, the vocabulary in 101 ranges of rows). Interleaved in one process; medians and
// spread. Checks its own result: with equal weights every division gives the gradient of the layers, bit for bit, and
// the squares of an example's norms over all blocks add up to the same.
//   bench_slices [ROUNDS] [WIDTH]
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "core/parallel.h"
#include "core/rng.h"
#include "routing/block_file.h"
#include "tools/bench/statistics.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {
namespace {

constexpr int64_t layers = 10, vocabulary = 2048, context = 128, tokens_per_step = 2048;

struct Variant {
  std::string name;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Trainer> trainer;
  std::vector<double> seconds;
};

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error("bench_slices: check failed: " + why); }

BlockMap divide(Granularity by, int64_t ranges, const std::vector<ParameterInfo>& infos) {
  BlockSpec spec;
  spec.by = by;
  spec.ranges = ranges;
  Diagnostics diagnostics;
  if (by == Granularity::selectors) {
    std::string text = "blocks: words\nversion: 1\nlist:\n";
    for (int i = 0; i < 100; ++i) {
      text += fmt::format("  - {{name: words-{}, owns: {{role: embedding, rows: {}%-{}%}}}}\n", i, i, i + 1);
    }
    for (int i = 0; i < layers; ++i) text += fmt::format("  - {{name: inner-{}, owns: {{layers: {}}}}}\n", i, i);
    text += "  - {name: others, owns: rest}\n";
    if (auto file = parse_block_file("bench", text, diagnostics)) spec.file = std::make_shared<BlockFile>(*file);
    diagnostics.throw_if_errors();
  }
  BlockMap map = make_blocks(spec, infos, diagnostics);
  diagnostics.throw_if_errors();
  return map;
}

struct Input {
  std::vector<int32_t> tokens, targets;
  TrainBatch batch;
};

Input make_input(uint64_t round) {
  const Rng rng(7, Stream::test, round);
  Input in;
  in.batch.rows = Rows::of_lengths(std::vector<int32_t>(tokens_per_step / context, context));
  for (uint64_t t = 0; t < tokens_per_step; ++t) {
    in.tokens.push_back(static_cast<int32_t>(rng.bits(2 * t) % vocabulary));
    in.targets.push_back(static_cast<int32_t>(rng.bits(2 * t + 1) % vocabulary));
  }
  for (int e = 0; e < in.batch.rows.examples(); ++e) in.batch.example_ids.push_back(static_cast<uint64_t>(e));
  return in;
}

// Half of the examples have half the weight.
RouteTable make_route(int examples, int blocks) {
  RouteTable route(examples, blocks, 1.0f);
  for (int e = 0; e < examples; e += 2) {
    for (int b = 0; b < blocks; ++b) route.at(e, b) = 0.5f;
  }
  return route;
}

void check_same(const Variant& a, const Variant& b, const StepResult& x, const StepResult& y) {
  for (size_t i = 0; i < a.model->parameters().size(); ++i) {
    const Tensor &g = a.model->parameters()[i].grad(), &h = b.model->parameters()[i].grad();
    if (std::memcmp(g.data(), h.data(), static_cast<size_t>(g.size()) * sizeof(float)) != 0) {
      fail(b.name + ": another gradient of " + a.model->parameters()[i].name());
    }
  }
  const auto squares = [](const StepResult& r, size_t e) {
    const auto blocks = static_cast<size_t>(r.route.blocks);
    double sum = 0;
    for (size_t k = 0; k < blocks; ++k) sum += r.norms[e * blocks + k] * r.norms[e * blocks + k];
    return sum;
  };
  for (size_t e = 0; e < x.nll.size(); ++e) {
    if (std::abs(squares(x, e) / squares(y, e) - 1) > 1e-6) fail(b.name + ": the norms do not add up");
  }
}

int run(int rounds, int64_t width) {
  TransformerConfig shape;
  shape.vocab = vocabulary;
  shape.context = context;
  shape.layers = layers;
  shape.width = width;
  shape.heads = 4;
  shape.mlp_width = 4 * width;
  shape.tied_head = false;
  const std::vector<ParameterInfo> infos = Transformer::parameter_infos(shape);
  std::vector<Variant> variants(4);
  const std::vector<BlockMap> maps = {blocks_by_layer(infos), divide(Granularity::channels, 8, infos),
                                      divide(Granularity::channels, 98, infos),
                                      divide(Granularity::selectors, 0, infos)};
  const std::vector<std::string> names = {"layers", "channels / 8", "channels / 98", "vocabulary / 100"};
  TrainerOptions options;
  options.loss_denominator = tokens_per_step;
  for (size_t i = 0; i < variants.size(); ++i) {
    Variant& v = variants[i];
    v.name = names[i];
    v.model = std::make_unique<Transformer>(shape, 1);
    v.model->parameters().assign_blocks(maps[i]);
    v.trainer = std::make_unique<Trainer>(*v.model, cpu_backend(), OptimizerOptions{}, options);
  }
  for (int round = -1; round < rounds; ++round) {
    const Input in = make_input(static_cast<uint64_t>(round + 1));
    TrainBatch batch = in.batch;
    batch.tokens = in.tokens;
    batch.targets = in.targets;
    std::vector<StepResult> results(variants.size());
    for (size_t k = 0; k < variants.size(); ++k) {
      const size_t i = (k + static_cast<size_t>(round + 1)) % variants.size();
      Variant& v = variants[i];
      const RouteTable route = make_route(batch.rows.examples(), maps[i].blocks());
      const auto start = std::chrono::steady_clock::now();
      results[i] = v.trainer->step(batch, route, static_cast<uint64_t>(round + 1), 1e-3);
      if (round >= 0) {
        v.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
    }
    for (size_t i = 1; i < variants.size(); ++i) check_same(variants[0], variants[i], results[0], results[i]);
  }
  fmt::print("{} layers, width {}, {} parameters, {} tokens a step, {} threads, {} | {} rounds\n\n", layers, width,
             shape.parameter_count(), tokens_per_step, thread_count(), cpu_backend().instruction_set(), rounds);
  fmt::print("{:<20}{:>8}{:>8}{:>10}{:>18}{:>14}{:>20}{:>12}\n", "", "blocks", "slices", "ms/step", "10%..90%",
             "time/layers", "10%..90%", "us/slice");
  for (size_t i = 0; i < variants.size(); ++i) {
    std::vector<double> ratio;
    const Variant& v = variants[i];
    for (size_t r = 0; r < v.seconds.size(); ++r) ratio.push_back(v.seconds[r] / variants[0].seconds[r]);
    const double added = quantile(v.seconds, 0.5) - quantile(variants[0].seconds, 0.5);
    const auto more = static_cast<double>(maps[i].slices.size() - maps[0].slices.size());
    fmt::print("{:<20}{:>8}{:>8}{:>10.1f}{:>9.1f}..{:<7.1f}{:>14.3f}{:>12.3f}..{:<6.3f}{:>12}\n", v.name,
               maps[i].blocks(), maps[i].slices.size(), 1e3 * quantile(v.seconds, 0.5), 1e3 * quantile(v.seconds, 0.1),
               1e3 * quantile(v.seconds, 0.9), quantile(ratio, 0.5), quantile(ratio, 0.1), quantile(ratio, 0.9),
               i == 0 ? std::string("-") : fmt::format("{:.0f}", 1e6 * added / more));
  }
  fmt::print("\nchecked: the gradient of every division has the bits of the layers'\n");
  return 0;
}

}  // namespace
}  // namespace govtrain

int main(int argc, char** argv) {
  try {
    return govtrain::run(argc > 1 ? std::atoi(argv[1]) : 15, argc > 2 ? std::atoi(argv[2]) : 128);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
