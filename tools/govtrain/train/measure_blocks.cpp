#include "tools/govtrain/train/measure_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/hash.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/places.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain {
namespace {

// Squared gradient norms [E,B] of a batch, every weight 1.
std::vector<double> square_norms(Transformer& model, Backend& backend, const Batch& batch, int64_t denominator,
                                 uint64_t seed) {
  const TrainBatch input = Session::train_batch(batch);
  Tape tape(backend, input.rows, Mode::train, {seed, 0, input.example_ids});
  const Losses losses = model.loss(tape, {input.tokens, {}}, input.targets);
  const RouteTable route(input.rows.examples(), model.parameters().blocks(), 1.0f);
  ParamGrad grads(model.parameters(), backend, input.rows, route);
  const std::vector<float> coefficient(static_cast<size_t>(input.rows.examples()),
                                       1.0f / static_cast<float>(denominator));
  tape.backward(losses, coefficient, grads);
  std::vector<double> out = grads.realised_norms();
  for (double& norm : out) norm *= norm;
  zero_grad(model.parameters(), backend);
  return out;
}

}  // namespace

LearnedBlocks measure_blocks(FileSystem& fs, const RunConfig& config, const MeasureOptions& options) {
  RunConfig by_unit = config;
  by_unit.blocks = {options.unit, 2, options.ranges, {}, ""};
  Session session(fs, by_unit, policy_date(by_unit));
  if (session.dataset.documents().empty()) throw Failure(exit_data, "the policy leaves no document to measure");
  LearnedBlocks out;
  out.unit = static_cast<Granularity>(std::find(granularity_names().begin(), granularity_names().end(), options.unit) -
                                      granularity_names().begin());
  out.ranges = out.unit == Granularity::channels ? options.ranges : 0;
  out.key = options.key;
  out.data_sha256 = hex(session.dataset.digest());
  out.model = "initial";
  out.config_sha256 = hex(sha256(training_config(by_unit).dump()));
  std::unique_ptr<Transformer> loaded;
  if (!options.checkpoint.empty()) {
    const std::string folder = checkpoint_folder(options.checkpoint);
    require(verify_checkpoint_folder(fs, folder));
    loaded = require(load_model(fs, folder, session.backend.allocator()));
    loaded->parameters().assign_blocks(session.blocks);
    out.model = hex(sha256(require(fs.read(join_path(folder, "model.safetensors")))));
  }
  Transformer& model = loaded ? *loaded : *session.model;
  std::map<std::string, std::pair<int64_t, std::vector<double>>> classes;  // examples, sums [B]
  const size_t blocks = session.blocks.names.size();
  int64_t measured = 0;
  while (measured < options.examples) {
    const Batch batch = session.sampler->next();
    if (batch.epoch > 0 || batch.examples.empty()) break;
    const std::vector<double> squares = square_norms(model, session.backend, batch, config.train.tokens_per_step,
                                                     static_cast<uint64_t>(config.run.seed));
    for (size_t e = 0; e < batch.examples.size() && measured < options.examples; ++e) {
      const auto& document = session.dataset.documents()[static_cast<size_t>(batch.examples[e].document)];
      const Meta meta = facts_of(document.origins(), document.digest).provenances.front();
      const auto value = meta.find(options.key);
      if (value == meta.end() || value->second.empty()) continue;
      auto& [count, sums] = classes[value->second];
      sums.resize(blocks, 0.0);
      for (size_t b = 0; b < blocks; ++b) sums[b] += squares[e * blocks + b];
      ++count;
      ++measured;
    }
  }
  if (classes.size() < 2) {
    throw Failure(exit_data,
                  fmt::format("{} of {} examples have a value of '{}', of {} classes; expected two classes or "
                              "more; choose another --key ('govtrain data stats' lists them)",
                              measured, options.examples, options.key, classes.size()));
  }
  for (const auto& [name, found] : classes) {
    out.classes.push_back(name);
    out.examples.push_back(found.first);
  }
  const auto units = learnable_units(out.unit, options.ranges, session.model->parameters().infos());
  for (size_t b = 0; b < blocks; ++b) {
    const std::string& name = session.blocks.names[b];
    if (std::none_of(units.begin(), units.end(), [&](const NamedSlices& u) { return u.name == name; })) continue;
    out.units.push_back(name);
    out.matrix.emplace_back();
    for (const auto& [label, found] : classes) {
      out.matrix.back().push_back(std::sqrt(found.second[b] / static_cast<double>(found.first)));
    }
  }
  constexpr size_t most_values = 15'000;  // a YAML file holds 20,000
  if (out.units.size() * (out.classes.size() + 2) > most_values) {
    throw Failure(exit_usage,
                  fmt::format("{} units and {} classes are too many for one file; choose a coarser --unit or "
                              "another --key",
                              out.units.size(), out.classes.size()));
  }
  return out;
}

}  // namespace govtrain
