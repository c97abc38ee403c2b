// What the enforcement points cost: one training step of the same batch under each, against `backward`. Interleaved in
// one process; medians and their spread. Memory is of tensors: parameters, gradients, moments and group buffers, and
// the most that a step adds to them. Checks of each batch that losses have the same bits, and that the gradients differ
// by no more than 1e-5 of their norm in any block.
//   bench_enforcement [LAYERS] [WIDTH] [ROUNDS]
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <vector>

#include "core/parallel.h"
#include "core/rng.h"
#include "kernels/backend.h"
#include "models/transformer.h"
#include "tools/bench/statistics.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/skip_plan.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {
namespace {

constexpr int examples = 32;
constexpr int length = 128;
constexpr int64_t vocab = 512;
constexpr const char* names[] = {"backward", "optimizer", "loss"};

struct Mix {
  std::string name;
  std::function<float(int example, int block, int blocks)> weight;
};

struct Setup {
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Trainer> trainer;
  size_t before = 0;  // bytes of tensors when there was none of this
};

Setup make(int64_t layers, int64_t width, Enforcement point) {
  TransformerConfig c;
  c.vocab = vocab;
  c.context = length;
  c.layers = layers;
  c.width = width;
  c.heads = width / 64;
  c.mlp = MlpKind::gelu;
  c.tied_head = false;
  TrainerOptions o;
  o.loss_denominator = examples * length;
  o.clip = 1;
  o.enforcement = point;
  Setup s;
  s.before = host_allocator().live_bytes();
  s.model = std::make_unique<Transformer>(c, 1);
  s.model->parameters().assign_blocks(blocks_by_layer(s.model->parameters().infos()));
  s.trainer = std::make_unique<Trainer>(*s.model, cpu_backend(), OptimizerOptions{}, o);
  return s;
}

Batch make_batch() {
  const Rng rng(11, Stream::test, 0);
  Batch batch;
  batch.rows = Rows::of_lengths(std::vector<int32_t>(examples, length));
  for (uint64_t t = 0; t < examples * length; ++t) {
    batch.tokens.push_back(static_cast<int32_t>(rng.bits(2 * t) % vocab));
    batch.targets.push_back(static_cast<int32_t>(rng.bits(2 * t + 1) % vocab));
  }
  for (int e = 0; e < examples; ++e) batch.examples.push_back({e, 0, length, static_cast<uint64_t>(e)});
  return batch;
}

float graded(int block, int blocks) { return block < blocks / 3 ? 1.0f : block < 2 * blocks / 3 ? 0.7f : 0.3f; }

// Full, graded, amplifying in the upper half, negative below, kept out.
float five(int profile, int block, int blocks) {
  const bool upper = block >= blocks / 2;
  switch (profile) {
    case 0:
      return 1;
    case 1:
      return graded(block, blocks);
    case 2:
      return upper ? 2.5f : 1.0f;
    case 3:
      return upper ? 1.0f : -0.2f;
    default:
      return 0;
  }
}

std::vector<Mix> mixes() {
  return {{"one profile, weights 1", [](int, int, int) { return 1.0f; }},
          {"two profiles, weights 0 and 1", [](int e, int b, int n) { return e % 2 == 0 || b >= n / 2 ? 1.0f : 0.0f; }},
          {"one profile of three levels", [](int, int b, int n) { return graded(b, n); }},
          {"five profiles", [](int e, int b, int n) { return five(e % 5, b, n); }},
          {"a profile for each example",
           [](int e, int b, int n) { return graded(b, n) * (1.0f + static_cast<float>(e) / examples); }}};
}

struct Measured {
  double seconds = 0;
  size_t peak = 0;  // bytes, all of this setup's
  StepResult result;
};

Measured step(Setup& s, const Batch& batch, const RouteTable& route, uint64_t number, size_t others) {
  host_allocator().reset_peak();
  const auto start = std::chrono::steady_clock::now();
  Measured m;
  m.result = s.trainer->step(Session::train_batch(batch), route, number, 1e-4);
  m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (m.result.non_finite) throw std::runtime_error("bench_enforcement: a value that is not finite");
  m.peak = host_allocator().peak_bytes() - others;
  return m;
}

void check(const std::string& mix, const char* point, const Setup& a, const Setup& b, const StepResult& ra,
           const StepResult& rb) {
  const auto fail = [&](const std::string& what) {
    throw std::runtime_error(fmt::format("bench_enforcement: check failed: {} under {}: {}", mix, point, what));
  };
  std::multiset<double> losses_a(ra.nll.begin(), ra.nll.end()), losses_b(rb.nll.begin(), rb.nll.end());
  if (losses_a != losses_b) fail("other losses");
  std::vector<double> difference(static_cast<size_t>(a.model->parameters().blocks())), norm = difference;
  for (size_t i = 0; i < a.model->parameters().size(); ++i) {
    const Parameter &p = a.model->parameters()[i], &q = b.model->parameters()[i];
    const auto block = static_cast<size_t>(p.slices().front().block);
    for (int64_t j = 0; j < p.grad().size(); ++j) {
      const double g = static_cast<double>(p.grad().data()[j]), h = static_cast<double>(q.grad().data()[j]);
      difference[block] += (g - h) * (g - h);
      norm[block] += g * g;
    }
  }
  for (size_t k = 0; k < norm.size(); ++k) {
    if (std::sqrt(difference[k]) > 1e-5 * std::sqrt(norm[k])) fail(fmt::format("another gradient of block {}", k));
  }
}

int run(int layers, int64_t width, int rounds) {
  fmt::print("{} layers of width {}, vocabulary {}, {} examples of {} tokens | {} threads, {} | {} rounds\n\n", layers,
             width, vocab, examples, length, thread_count(), cpu_backend().instruction_set(), rounds);
  fmt::print("{:<32}{:<11}{:>6}{:>7}{:>9}{:>14}{:>10}{:>8}\n", "", "", "runs", "passes", "time", "10%..90%", "peak MiB",
             "memory");
  for (const Mix& mix : mixes()) {
    std::vector<Batch> batches;
    std::vector<RouteTable> routes;
    std::vector<std::vector<double>> ratio(3);
    std::vector<size_t> peak(3, 0);
    // Memory and the check: each point alone, then all together in turn.
    std::vector<Setup> setups;
    std::vector<Measured> first;
    for (int p = 0; p < 3; ++p) {
      setups.push_back(make(layers, width, static_cast<Enforcement>(p)));
      Batch batch = make_batch();
      RouteTable route(examples, setups.back().model->parameters().blocks(), 0);
      for (int e = 0; e < examples; ++e) {
        for (int b = 0; b < route.blocks; ++b) route.at(e, b) = mix.weight(e, b, route.blocks);
      }
      arrange(batch, route, setups.back().trainer->skip_plan());
      batches.push_back(std::move(batch));
      routes.push_back(std::move(route));
      first.push_back(step(setups.back(), batches.back(), routes.back(), 0, setups.back().before));
      peak[static_cast<size_t>(p)] = first.back().peak;
    }
    for (size_t p = 1; p < 3; ++p) check(mix.name, names[p], setups[0], setups[p], first[0].result, first[p].result);
    for (int r = 0; r < rounds; ++r) {
      double base = 0;
      for (size_t p = 0; p < 3; ++p) {
        const double seconds = step(setups[p], batches[p], routes[p], 1, 0).seconds;
        if (p == 0) base = seconds;
        ratio[p].push_back(seconds / base);
      }
    }
    for (size_t p = 0; p < 3; ++p) {
      const int passes = p == 2 ? loss_terms(routes[p]) : 1;
      const auto runs = p == 1 ? std::to_string(profile_runs(routes[p], false).profile.size()) : "";
      fmt::print("{:<32}{:<11}{:>6}{:>7}{:>9.2f}{:>14}{:>10.1f}{:>8.2f}\n", p == 0 ? mix.name : "", names[p], runs,
                 passes, quantile(ratio[p], 0.5),
                 fmt::format("{:.2f}..{:.2f}", quantile(ratio[p], 0.1), quantile(ratio[p], 0.9)),
                 static_cast<double>(peak[p]) / (1 << 20), static_cast<double>(peak[p]) / static_cast<double>(peak[0]));
    }
  }
  return 0;
}

}  // namespace
}  // namespace govtrain

int main(int argc, char** argv) {
  try {
    const auto number = [&](int i, int value) { return argc > i ? std::stoi(argv[i]) : value; };
    return govtrain::run(number(1, 12), number(2, 256), number(3, 7));
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
