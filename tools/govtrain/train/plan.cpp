#include "tools/govtrain/train/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/parallel.h"
#include "tools/govtrain/base/build_info.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

constexpr uint64_t leaf_bytes = 420, leaf_bytes_per_block = 20, tile_bytes = 33;

std::string data_table(const Session& s) {
  std::string out;
  const std::vector<std::string>& blocks = s.policy.blocks();
  const auto row = [&](const Governance::Share& share) {
    double admitted = 0;
    for (const float w : share.weights) admitted += w != 0 ? 1 : 0;
    out += fmt::format("    {:<34} {:<18} {:>7} {:>9}   {:.0f} of {} blocks\n", share.value.substr(0, 34),
                       share.profile.substr(0, 18), grouped(share.documents),
                       human_count(static_cast<double>(share.tokens)), admitted, blocks.size());
  };
  out += fmt::format("  {:<36} {:<18} {:>7} {:>9}   {}\n", "source", "profile", "docs", "tokens", "may teach");
  for (const auto& share : s.governance->shares("package")) row(share);
  out += fmt::format("  {:<36} {:<18} {:>7} {:>9}\n", "licence", "profile", "docs", "tokens");
  std::vector<Governance::Share> licences = s.governance->shares("license");
  std::stable_sort(licences.begin(), licences.end(), [](const auto& a, const auto& b) { return a.tokens > b.tokens; });
  constexpr size_t shown = 8;
  Governance::Share rest;
  for (size_t i = shown; i < licences.size(); ++i) {
    rest.documents += licences[i].documents;
    rest.tokens += licences[i].tokens;
  }
  const size_t others = licences.size() > shown ? licences.size() - shown : 0;
  if (others > 0) licences.resize(shown);
  for (const auto& share : licences) row(share);
  if (others > 0) {
    out += fmt::format("    {:<34} {:<18} {:>7} {:>9}\n", fmt::format("({} more)", others), "", grouped(rest.documents),
                       human_count(static_cast<double>(rest.tokens)));
  }
  return out;
}

std::string model_table(const Session& s) {
  const std::vector<std::string>& names = s.policy.blocks();
  std::vector<double> admitted(names.size(), 0);
  double tokens = 0;
  for (const auto& share : s.governance->shares("package")) {
    tokens += static_cast<double>(share.tokens);
    for (size_t b = 0; b < names.size(); ++b) {
      admitted[b] += static_cast<double>(share.tokens) * static_cast<double>(share.weights[b]);
    }
  }
  std::string out = fmt::format("  {:<36} {:>10}   {}\n", "block", "parameters", "mean weight over tokens");
  constexpr size_t shown = 40;
  for (size_t b = 0; b < std::min(names.size(), shown); ++b) {
    out += fmt::format("    {:<34} {:>10}   {:.2f}\n", names[b],
                       human_count(static_cast<double>(s.blocks.info[b].elements)),
                       tokens == 0 ? 0 : admitted[b] / tokens);
  }
  if (names.size() > shown) out += fmt::format("    ({} more: govtrain blocks show)\n", names.size() - shown);
  return out;
}

}  // namespace

PlanCosts measure_costs(Session& s, int64_t steps_left) {
  PlanCosts costs;
  const SamplerState state = s.sampler->state();
  Batch batch = s.sampler->next();
  s.sampler->set_state(state);
  RouteTable route = s.route(batch);
  arrange(batch, route, s.trainer->skip_plan());
  const TrainBatch input = Session::train_batch(batch);
  Allocator& memory = s.backend.allocator();
  memory.reset_peak();
  s.trainer->rehearse(input, route);  // the first one also touches all memory for the first time
  const auto start = std::chrono::steady_clock::now();
  s.trainer->rehearse(input, route);
  costs.seconds_per_step = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  costs.peak_bytes = memory.peak_bytes();

  const auto parameters = static_cast<uint64_t>(s.model->parameters().elements());
  const bool plain_sgd = s.config.optim.kind == "sgd";
  const std::string& withheld = s.config.routing.withheld;
  const uint64_t kept_copies = withheld == "quarantine" ? (plain_sgd ? 2 : 3) : withheld == "shadow" ? 2 : 0;
  costs.checkpoint_bytes = parameters * sizeof(float) * ((plain_sgd ? 2 : 3) + kept_copies);
  const uint64_t per_step = batch.examples.size() + 1;
  const uint64_t record = leaf_bytes + leaf_bytes_per_block * s.policy.blocks().size() + tile_bytes;
  if (s.config.lineage.enabled) costs.log_bytes = static_cast<uint64_t>(steps_left) * per_step * record;
  const auto& save = s.config.save;
  uint64_t kept = static_cast<uint64_t>(save.keep_last > 0 ? save.keep_last : 1) + 1;  // one more while saving
  if (save.keep_last == 0 && save.every > 0) kept = static_cast<uint64_t>(steps_left / save.every + 1);
  if (save.keep_every > 0) kept += static_cast<uint64_t>(steps_left / save.keep_every);
  costs.disk_bytes = costs.log_bytes + kept * costs.checkpoint_bytes;
  if (withheld == "shadow") {
    costs.disk_bytes +=
        static_cast<uint64_t>(steps_left / s.config.routing.shadow.every + 1) * parameters * sizeof(float);
  }
  return costs;
}

std::string plan_text(const Session& s, const PlanCosts& costs, int64_t first_step) {
  const RunConfig& c = s.config;
  const TransformerConfig& m = s.model->config();
  const int64_t left = c.train.steps - first_step;
  const double rows = static_cast<double>(s.sampler->rows_per_epoch());
  std::string out = fmt::format("{} | {} | {} threads, {} {}\n\n", version_line(), c.run.name, thread_count(),
                                s.backend.name(), s.backend.instruction_set());
  out += fmt::format("data    {}\n", describe(s.prepared));
  out += data_table(s);
  if (s.classifier) out += fmt::format("classes {}\n", s.classifier->classification().id());
  out += fmt::format("policy  {} on {}\n", s.policy.policy().id(), s.date.text());
  out += fmt::format(
      "model   {} parameters: {} layers, width {}, {} heads, {}, {}, {}, {} head, context {}, vocabulary {}\n",
      human_count(static_cast<double>(s.model->parameters().elements())), m.layers, m.width, m.heads, name(m.norm),
      name(m.positions), name(m.mlp), m.tied_head ? "tied" : "untied", m.context, m.vocab);
  out += model_table(s);
  const double tokens = static_cast<double>(left) * static_cast<double>(c.train.tokens_per_step);
  out += fmt::format("steps   {} of up to {} tokens: {} tokens, {:.1f} epochs of {}\n", left,
                     grouped(c.train.tokens_per_step), human_count(tokens), tokens / rows, human_count(rows));
  out += fmt::format("memory  {} of tensors at the peak of a step (measured)\n", human_bytes(costs.peak_bytes));
  out += fmt::format("disk    about {}: checkpoints of {}, log {}\n", human_bytes(costs.disk_bytes),
                     human_bytes(costs.checkpoint_bytes), human_bytes(costs.log_bytes));
  out += fmt::format("time    about {} ({} a step, measured), evaluations and samples not counted\n",
                     human_duration(costs.seconds_per_step * static_cast<double>(left)),
                     human_duration(costs.seconds_per_step));
  return out;
}

}  // namespace govtrain
