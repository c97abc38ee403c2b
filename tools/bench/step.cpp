// What governance costs: one training step of the quickstart model (a) plain: no routing, no norms, no log; (b) routed,
// with exact norms; (c) routed, with norms and the log. Interleaved in one process; medians and their spread. Checks
// that all weights 1 give the losses of (a) and that (b) and (c) end with the same bits.
//   bench_step [CONFIG] [ROUNDS] [whole] [KEY=VALUE...]
// whole: every example as long as the context, which is what step_torch.py trains on. run.device chooses the
// device, run.precision and run.determinism how its products are made.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include "core/parallel.h"
#include "core/rng.h"
#include "kernels/backend.h"
#include "models/transformer.h"
#include "tools/bench/statistics.h"
#include "tools/govtrain/base/device.h"
#include "tools/govtrain/train/run_log.h"
#include "tools/govtrain/train/setup.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {
namespace {

struct Input {
  std::vector<int32_t> tokens, targets;
  std::vector<Example> examples;
  TrainBatch batch;
  RouteTable route;
};

// Lengths as in a corpus of documents cut at the context: mostly whole chunks, some shorter ends.
Input make_input(const RunConfig& config, bool whole, int64_t vocab, int blocks, uint64_t round) {
  const Rng rng(7, Stream::test, round);
  Input in;
  std::vector<int32_t> lengths;
  int64_t rows = 0;
  for (uint64_t i = 0;; ++i) {
    const auto context = static_cast<int32_t>(config.data.context);
    const int32_t n = whole || rng.uniform(2 * i) < 0.7f
                          ? context
                          : 16 + static_cast<int32_t>(rng.uniform(2 * i + 1) * static_cast<float>(context - 16));
    if (rows + n > config.train.tokens_per_step) break;
    rows += n;
    lengths.push_back(n);
  }
  in.batch.rows = Rows::of_lengths(lengths);
  for (int64_t t = 0; t < rows; ++t) {
    in.tokens.push_back(static_cast<int32_t>(rng.bits(100000 + 2 * static_cast<uint64_t>(t)) % vocab));
    in.targets.push_back(static_cast<int32_t>(rng.bits(100001 + 2 * static_cast<uint64_t>(t)) % vocab));
  }
  for (int e = 0; e < in.batch.rows.examples(); ++e) {
    in.batch.example_ids.push_back(round * 1000 + static_cast<uint64_t>(e));
    in.examples.push_back({e, 0, static_cast<uint32_t>(lengths[static_cast<size_t>(e)]), in.batch.example_ids.back()});
  }
  in.batch.tokens = in.tokens;
  in.batch.targets = in.targets;
  in.route = RouteTable(in.batch.rows.examples(), blocks, 1.0f);
  return in;
}

struct Variant {
  std::string name;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Trainer> trainer;
  std::vector<double> seconds;
  double first_loss = 0, last_loss = 0;
  size_t peak = 0;
};

void fail(const std::string& why) { throw std::runtime_error("bench_step: check failed: " + why); }

bool same_weights(const Transformer& a, const Transformer& b) {
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    const Tensor x = a.parameters()[i].value().host();
    const Tensor y = b.parameters()[i].value().host();
    if (std::memcmp(x.data(), y.data(), static_cast<size_t>(x.size()) * sizeof(float)) != 0) return false;
  }
  return true;
}

int run(const std::string& path, int rounds, bool whole, const std::vector<std::string>& overrides) {
  const auto file = read_run_config(path, overrides);
  if (file->diagnostics.has_errors()) throw ConfigError(file->diagnostics);
  const RunConfig& config = file->config;
  const int64_t vocab = config.data.tokenizer.vocab_size;
  Backend& backend =
      device_backend(config.run.device, {"run.device"}, Products{config.run.precision, config.run.determinism});
  Allocator& memory = backend.allocator();
  const std::string folder = std::filesystem::temp_directory_path() / fmt::format("govtrain-bench-step-{}", ::getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);

  std::vector<Variant> variants(3);
  int blocks = 0;
  for (size_t i = 0; i < variants.size(); ++i) {
    Variant& v = variants[i];
    v.name = i == 0 ? "(a) plain" : i == 1 ? "(b) routing, norms" : "(c) routing, norms, log";
    v.model = std::make_unique<Transformer>(model_config(config, vocab), 1, memory);
    const BlockMap map = blocks_by_layer(v.model->parameters().infos());
    v.model->parameters().assign_blocks(map);
    blocks = map.blocks();
    TrainerOptions options = trainer_options(config);
    options.routed = options.norms = i > 0;
    v.trainer = std::make_unique<Trainer>(*v.model, backend, optimizer_options(config), options);
  }
  std::string notice;
  RunLogOptions log_options{folder + "/lineage", folder + "/bench.key", "govtrain.local/bench"};
  auto key = KeyMaker::at(real_file_system(), log_options.key_path);
  if (!key.ok()) fail(key.status().message());
  auto log = RunLog::create(real_file_system(), log_options, key.value(), notice);
  if (!log.ok()) fail(log.status().message());
  const auto require_ok = [](const Status& s) {
    if (!s.ok()) fail(s.message());
  };
  require_ok(log.value()->control("policy", {{"id", "bench@00000000"}}));
  const std::vector<DocumentLabel> labels(
      4096, {"sha256:" + std::string(64, '0'), "full", "bench", std::string(16, '0'), {}, {}});

  int64_t tokens = 0;
  for (int round = -2; round < rounds; ++round) {
    const Input in = make_input(config, whole, vocab, blocks, static_cast<uint64_t>(round + 2));
    tokens = in.batch.rows.total();
    for (size_t k = 0; k < 3; ++k) {
      Variant& v = variants[(k + static_cast<size_t>(round + 2)) % 3];
      memory.reset_peak();
      const auto start = std::chrono::steady_clock::now();
      const StepResult result = v.trainer->step(in.batch, in.route, static_cast<uint64_t>(round + 2), 1e-3);
      if (&v == &variants[2]) {
        Batch logged;
        logged.examples = in.examples;
        logged.rows = in.batch.rows;
        require_ok(log.value()->step(round + 2, logged, labels, "bench@00000000", result, 1e-3, {}));
      }
      float last = 0;  // waits for the device
      memory.read(&last, v.model->parameters()[v.model->parameters().size() - 1].value().data(), sizeof(last));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (result.non_finite) fail(v.name + " met a value that is not finite");
      v.last_loss = result.mean_loss();
      if (round == -2) v.first_loss = v.last_loss;
      if (round >= 0) {
        v.seconds.push_back(seconds);
        v.peak = std::max(v.peak, memory.peak_bytes());
      }
    }
  }
  require_ok(log.value()->flush());
  if (!same_weights(*variants[1].model, *variants[2].model)) fail("(b) and (c) end with different weights");
  if (std::abs(variants[0].last_loss - variants[1].last_loss) > 1e-3) fail("(a) and (b) end with different losses");

  fmt::print("{} | {} blocks, {} tokens a step, {} threads, {} {} | {} rounds\n\n", path, blocks, tokens,
             thread_count(), backend.name(), backend.instruction_set(), rounds);
  fmt::print("{:<26}{:>10}{:>18}{:>12}{:>12}{:>10}{:>10}\n", "", "ms/step", "10%..90%", "tok/s", "peak MiB", "time/(a)",
             "mem/(a)");
  for (const Variant& v : variants) {
    std::vector<double> ratio;
    for (size_t r = 0; r < v.seconds.size(); ++r) ratio.push_back(v.seconds[r] / variants[0].seconds[r]);
    const double m = quantile(v.seconds, 0.5);
    fmt::print("{:<26}{:>10.2f}{:>18}{:>12.0f}{:>12.1f}{:>10.3f}{:>10.3f}\n", v.name, 1e3 * m,
               fmt::format("{:.2f}..{:.2f}", 1e3 * quantile(v.seconds, 0.1), 1e3 * quantile(v.seconds, 0.9)),
               static_cast<double>(tokens) / m, static_cast<double>(v.peak) / (1 << 20), quantile(ratio, 0.5),
               static_cast<double>(v.peak) / static_cast<double>(variants[0].peak));
  }
  int64_t parameters = 0;
  for (const ParameterInfo& p : variants[0].model->parameters().infos()) parameters += p.rows * p.cols;
  fmt::print("\n{} parameters; loss of (a) {:.4f} in the first step, {:.4f} in the last\n", parameters,
             variants[0].first_loss, variants[0].last_loss);
  fmt::print("log: {} records, {:.3f} s waited for it in all\n", log.value()->size(), log.value()->blocked_seconds());
  log.value().reset();
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace govtrain

int main(int argc, char** argv) {
  try {
    std::string config = "configs/quickstart.yaml";
    int rounds = 30;
    bool whole = false;
    std::vector<std::string> overrides;
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument == "whole") {
        whole = true;
      } else if (argument.find('=') != std::string::npos) {
        overrides.push_back(argument);
      } else if (argument.find_first_not_of("0123456789") == std::string::npos) {
        rounds = std::stoi(argument);
      } else {
        config = argument;
      }
    }
    return govtrain::run(config, rounds, whole, overrides);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
