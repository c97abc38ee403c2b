#include "tools/govtrain/train/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "core/parallel.h"
#include "routing/reach.h"
#include "tools/govtrain/base/build_info.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

constexpr uint64_t leaf_bytes = 420, leaf_bytes_per_block = 20, tile_bytes = 33;

int64_t open_blocks(const std::vector<float>& weights) {
  return std::count_if(weights.begin(), weights.end(), [](float w) { return w != 0; });
}

// What the documents of a share are given when the run begins, and how many blocks they may come to teach.
struct Prospect {
  std::vector<float> weights;  // [B]
  int64_t least = 0, most = 0;
};

// Looks each kind of document up once: what rules, privacy and exclusions say of it decides everything.
class Prospects {
 public:
  // `begins`: nothing has been trained yet; otherwise what is in force now counts as the start.
  Prospects(const Session& s, bool begins)
      : session_(s), begins_(begins), changes_(!profile_ends(s.governance->policy()).empty()) {}

  Prospect of(const Governance::Share& share) {
    Prospect out{share.weights, open_blocks(share.weights), open_blocks(share.weights)};
    for (const int32_t d : changes_ ? share.members : std::vector<int32_t>()) {
      const Prospect& one = of(d);
      const bool first = d == share.members.front();
      if (begins_) out.weights = one.weights;
      out.least = first ? one.least : std::min(out.least, one.least);
      out.most = first ? one.most : std::max(out.most, one.most);
    }
    return out;
  }

  bool changes() const { return changes_; }

 private:
  const Prospect& of(int32_t document) {
    std::vector<std::pair<int32_t, bool>> kind;
    const Decision& decision = session_.governance->decision(document);
    for (const Match& m : decision.matched) kind.emplace_back(m.rule, m.in_window);
    const auto [found, is_new] = known_.try_emplace(std::move(kind));
    Prospect& out = found->second;
    if (!is_new) return out;
    const DatasetDocument& d = session_.dataset.documents()[static_cast<size_t>(document)];
    const DocumentReach reach =
        reach_of(session_.governance->policy(), facts_of(d.origins(), d.digest), session_.governance->date());
    out.weights = begins_ ? reach.start.weights : decision.weights;
    out.least = out.most = open_blocks(out.weights);
    for (const DocumentReach::End& end : reach.ends) {
      out.least = std::min(out.least, open_blocks(end.weights));
      out.most = std::max(out.most, open_blocks(end.weights));
    }
    return out;
  }

  const Session& session_;
  const bool begins_, changes_;
  std::map<std::vector<std::pair<int32_t, bool>>, Prospect> known_;
};

std::string data_table(const Session& s, Prospects& prospects) {
  std::string out;
  const std::vector<std::string>& blocks = s.policy.blocks();
  const auto row = [&](const Governance::Share& share) {
    const Prospect prospect = prospects.of(share);
    const int64_t now = open_blocks(prospect.weights);
    out += fmt::format("    {:<34} {:<18} {:>7} {:>9}   {} of {} {}", share.value.substr(0, 34),
                       share.profile.substr(0, 18), grouped(share.documents),
                       human_count(static_cast<double>(share.tokens)), now, blocks.size(),
                       noun(static_cast<int64_t>(blocks.size()), "block"));
    if (prospect.least < now) out += fmt::format(", may fall to {}", prospect.least);
    if (prospect.most > now) out += fmt::format(", may rise to {}", prospect.most);
    out += "\n";
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

std::string model_table(const Session& s, Prospects& prospects, bool begins) {
  const std::vector<std::string>& names = s.policy.blocks();
  std::vector<double> admitted(names.size(), 0);
  double tokens = 0;
  for (const auto& share : s.governance->shares("package")) {
    tokens += static_cast<double>(share.tokens);
    const Prospect prospect = prospects.of(share);
    for (size_t b = 0; b < names.size(); ++b) {
      admitted[b] += static_cast<double>(share.tokens) * static_cast<double>(prospect.weights[b]);
    }
  }
  std::string out = fmt::format("  {:<36} {:>10}   mean weight over tokens{}\n", "block", "parameters",
                                !prospects.changes() ? ""
                                : begins             ? ", at the start"
                                                     : ", now");
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
  std::string out = fmt::format("{} | {} | {} {}, {} {}\n\n", version_line(), c.run.name, thread_count(),
                                noun(thread_count(), "thread"), s.backend.name(), s.backend.instruction_set());
  out += fmt::format("data    {}\n", describe(s.prepared));
  Prospects prospects(s, first_step == 0);
  out += data_table(s, prospects);
  if (s.classifier) out += fmt::format("classes {}\n", s.classifier->classification().id());
  out += fmt::format("policy  {} on {}\n", s.policy.policy().id(), s.date.text());
  out += fmt::format("model   {} parameters: {} {}, width {}, {} {}, {}, {}, {}, {} head, context {}, vocabulary {}\n",
                     human_count(static_cast<double>(s.model->parameters().elements())), m.layers,
                     noun(m.layers, "layer"), m.width, m.heads, noun(m.heads, "head"), name(m.norm), name(m.positions),
                     name(m.mlp), m.tied_head ? "tied" : "untied", m.context, m.vocab);
  out += model_table(s, prospects, first_step == 0);
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
