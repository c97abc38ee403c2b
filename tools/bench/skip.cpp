// What skipping is worth: steps in which examples may teach only some layers, against plain training of the same batch,
// for the usual patterns; time, and bytes of tensors at the peak of the step. Interleaved in one process; medians and
// their spread. The measured gain is set against the count of matrix products:
//   plain = 3 (L + h);  cost of an example = F (L + h) + dX (L - l + 0.75 + h) + dW a;  0 when it is not forwarded,
// l its lowest admitted layer (from 1), a the number of admitted ones, h what stands outside the layers, in layers:
// measured here by the same model with half as many. Checks of each pattern that skipping changes no bit.
//   bench_skip [LAYERS] [WIDTH] [ROUNDS] [PATTERN]   PATTERN: part of a pattern's name; empty: all
#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <memory>
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

using Admit = std::function<bool(int example, int layer)>;  // layer from 1

struct Pattern {
  std::string name;
  Admit admit;
  bool forward_excluded = false;
};

struct Setup {
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Trainer> trainer;
};

Setup make(int64_t layers, int64_t width, const TrainerOptions& options) {
  TransformerConfig c;
  c.vocab = vocab;
  c.context = length;
  c.layers = layers;
  c.width = width;
  c.heads = width / 64;
  c.mlp = MlpKind::gelu;
  c.tied_head = false;
  Setup s;
  s.model = std::make_unique<Transformer>(c, 1);
  s.model->parameters().assign_blocks(blocks_by_layer(s.model->parameters().infos()));
  s.trainer = std::make_unique<Trainer>(*s.model, cpu_backend(), OptimizerOptions{}, options);
  return s;
}

TrainerOptions options(bool routed, bool skip, bool forward_excluded) {
  TrainerOptions o;
  o.loss_denominator = examples * length;
  o.clip = 1;
  o.routed = o.norms = routed;
  o.skip = skip;
  o.forward_excluded = forward_excluded;
  return o;
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

// Embedding and head keep everyone out: the layers alone decide.
RouteTable make_route(const Pattern& pattern, int layers) {
  RouteTable route(examples, layers + 2, 0);
  for (int e = 0; e < examples; ++e) {
    for (int l = 1; l <= layers; ++l) route.at(e, l) = pattern.admit(e, l) ? 1.0f : 0.0f;
  }
  return route;
}

double formula(const Pattern& pattern, int layers, double outside) {
  double cost = 0;
  for (int e = 0; e < examples; ++e) {
    int lowest = 0, admitted = 0;
    for (int l = layers; l >= 1; --l) {
      if (!pattern.admit(e, l)) continue;
      lowest = l;
      ++admitted;
    }
    if (admitted > 0) {
      cost += 2 * (layers + outside) - lowest + 0.75 + admitted;
    } else if (pattern.forward_excluded) {
      cost += layers + outside;
    }
  }
  return 3 * (layers + outside) * examples / cost;
}

std::vector<Pattern> patterns(int layers) {
  const auto drawn = [](uint64_t seed, float q) {
    return [rng = Rng(seed, Stream::test, 1), q](int e, int l) {
      return rng.uniform(static_cast<uint64_t>(e * 1000 + l)) < q;
    };
  };
  const auto from = [layers](int count) { return [=](int, int l) { return l > layers - count; }; };
  const auto first = [](int count) { return [=](int, int l) { return l <= count; }; };
  return {{"top half", from(layers / 2)},
          {"top quarter", from(layers / 4)},
          {"top layer only", from(1)},
          {"bottom half", first(layers / 2)},
          {"bottom layer only", first(1)},
          {"every other layer", [](int, int l) { return l % 2 == 1; }},
          {"independent, 50 %", drawn(1, 0.5f)},
          {"independent, 25 %", drawn(2, 0.25f)},
          {"independent, 10 %", drawn(3, 0.1f)},
          {"half excluded, dropped", [](int e, int) { return e % 2 == 0; }},
          {"half excluded, forwarded", [](int e, int) { return e % 2 == 0; }, true}};
}

struct Measured {
  double seconds = 0;
  size_t peak = 0;
};

Measured step(Setup& s, const Batch& batch, const RouteTable& route, uint64_t number) {
  const size_t before = host_allocator().live_bytes();
  host_allocator().reset_peak();
  const auto start = std::chrono::steady_clock::now();
  const StepResult result = s.trainer->step(Session::train_batch(batch), route, number, 1e-4);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (result.non_finite) throw std::runtime_error("bench_skip: a value that is not finite");
  return {seconds, host_allocator().peak_bytes() - before};
}

void check_bits(const Pattern& pattern, int layers, int64_t width, const Batch& batch, const RouteTable& route) {
  Setup with = make(layers, width, options(true, true, pattern.forward_excluded));
  Setup without = make(layers, width, options(true, false, true));
  step(with, batch, route, 0);
  step(without, batch, route, 0);
  for (size_t i = 0; i < with.model->parameters().size(); ++i) {
    const Tensor& a = with.model->parameters()[i].value();
    const Tensor& b = without.model->parameters()[i].value();
    if (std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(float)) != 0) {
      throw std::runtime_error("bench_skip: check failed: skipping changed bits of " +
                               with.model->parameters()[i].name());
    }
  }
}

int run(int layers, int64_t width, int rounds, const std::string& only) {
  const Batch base = make_batch();
  const RouteTable none;
  Setup plain = make(layers, width, options(false, false, false));
  Setup shallow = make(layers / 2, width, options(false, false, false));
  step(plain, base, none, 0);
  step(shallow, base, none, 0);
  std::vector<double> share;
  for (int r = 0; r < rounds; ++r) {
    const double deep = step(plain, base, none, 1).seconds, half = step(shallow, base, none, 1).seconds;
    const double layer = (deep - half) / (layers - layers / 2);
    share.push_back((deep - layers * layer) / layer);
  }
  shallow = {};
  const double outside = std::max(0.0, quantile(share, 0.5));
  fmt::print("{} layers of width {}, vocabulary {}, {} examples of {} tokens | {} threads, {} | {} rounds\n", layers,
             width, vocab, examples, length, thread_count(), cpu_backend().instruction_set(), rounds);
  fmt::print("outside of the layers: {:.2f} layers ({:.1f} % of a plain step)\n\n", outside,
             100 * outside / (layers + outside));
  fmt::print("{:<26}{:>10}{:>10}{:>16}{:>9}{:>11}{:>10}\n", "", "formula", "measured", "10%..90%", "reached",
             "peak MiB", "mem/plain");
  for (const Pattern& pattern : patterns(layers)) {
    if (pattern.name.find(only) == std::string::npos) continue;
    Batch batch = base;
    RouteTable route = make_route(pattern, layers);
    Setup routed = make(layers, width, options(true, true, pattern.forward_excluded));
    arrange(batch, route, routed.trainer->skip_plan());
    check_bits(pattern, layers, width, batch, route);
    step(routed, batch, route, 0);
    std::vector<double> gain;
    Measured a, b;
    for (int r = 0; r < rounds; ++r) {
      a = step(plain, base, none, 2);
      b = step(routed, batch, route, 2);
      gain.push_back(a.seconds / b.seconds);
    }
    const double want = formula(pattern, layers, outside), got = quantile(gain, 0.5);
    fmt::print("{:<26}{:>10.2f}{:>10.2f}{:>16}{:>8.0f}%{:>11.1f}{:>10.2f}\n", pattern.name, want, got,
               fmt::format("{:.2f}..{:.2f}", quantile(gain, 0.1), quantile(gain, 0.9)), 100 * got / want,
               static_cast<double>(b.peak) / (1 << 20), static_cast<double>(b.peak) / static_cast<double>(a.peak));
  }
  return 0;
}

}  // namespace
}  // namespace govtrain

int main(int argc, char** argv) {
  try {
    const auto number = [&](int i, int value) { return argc > i ? std::stoi(argv[i]) : value; };
    return govtrain::run(number(1, 12), number(2, 256), number(3, 7), argc > 4 ? argv[4] : "");
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
