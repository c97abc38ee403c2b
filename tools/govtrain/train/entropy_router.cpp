#include "tools/govtrain/train/entropy_router.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {

using nlohmann::json;

std::string slope_key(const std::string& by, uint64_t example_id, const json& provenances,
                      const std::optional<std::string>& classes) {
  if (by == "example") return fmt::format("{:016x}", example_id);
  if (by == "class" && classes) return *classes;
  std::set<std::string> values;
  for (const json& meta : provenances) {
    const Meta strings = policy_meta(meta);
    if (const auto found = strings.find(by); found != strings.end() && !found->second.empty()) {
      values.insert(found->second);
    }
  }
  return fmt::format("{}", fmt::join(values, " + "));
}

EntropyRouter::EntropyRouter(const Governance& governance, const Dataset& dataset,
                             std::unique_ptr<ReferenceModel> reference, int64_t micro_batch_rows)
    : governance_(&governance),
      reference_(std::move(reference)),
      dataset_(&dataset),
      micro_batch_rows_(micro_batch_rows),
      bands_(governance.policy().policy().entropy.value()),
      totals_(static_cast<size_t>(rules().cells()) + 1) {
  follow_policy();
  json head = record(0);
  head["reference"] = rules().source == SurprisalSource::model     ? json("model")
                      : rules().source == SurprisalSource::average ? json{{"ema", rules().decay}}
                                                                   : json{{"model", reference_->digest()}};
  report(std::move(head));
}

json EntropyRouter::record(int64_t step) const {
  json blocks = json::array();
  for (size_t b = 0; b < differing_.size(); ++b) {
    if (differing_[b]) blocks.push_back(b);
  }
  json out = bands_.describe();
  out["step"] = step;
  out["differ"] = blocks;
  return out;
}

void EntropyRouter::report(json payload) { events_.push_back({"bands", std::move(payload), ""}); }

// Profiles may be given other weights while a run is under way. When the bands come to differ in a block in which they
// did not, examples that this block keeps out may have moved the edges: what was observed is forgotten.
void EntropyRouter::follow_policy() {
  const BoundPolicy& policy = governance_->policy();
  std::vector<std::vector<float>> cells;
  for (int c = 0; c < rules().cells(); ++c) cells.push_back(policy.weights(rules().profile(c)));
  if (cells == cells_) return;
  const bool first = cells_.empty();
  cells_ = std::move(cells);
  const std::vector<bool> before = std::exchange(differing_, differing_blocks(cells_));
  if (first || before == differing_) return;
  bool more = false;
  for (size_t b = 0; b < differing_.size(); ++b) more = more || (differing_[b] && !before[b]);
  if (more) bands_ = EntropyBands(EntropyRules(rules()));
  json change = record(step_);
  if (more) change["restart"] = true;
  report(std::move(change));
}

void EntropyRouter::judge(size_t example, double nll, int64_t counts, RouteTable& route, int row) {
  EntropyMark& mark = marks_[example];
  mark = bands_.judge(surprisal_of(nll, counts), keys_[example]);
  const std::optional<int> cell = bands_.cell(mark);
  if (!cell) return;
  const auto blocks = static_cast<size_t>(route.blocks);
  const size_t at = static_cast<size_t>(row) * blocks;
  restrict_row({route.weight.data() + at, blocks}, {route.rule.data() + at, blocks}, cells_[static_cast<size_t>(*cell)],
               governance_->policy().policy().entropy_index(*cell));
}

bool EntropyRouter::begin(const Batch& batch, RouteTable& route) {
  follow_policy();
  const size_t examples = batch.examples.size();
  marks_.assign(examples, {});
  keys_.assign(examples, {});
  teaches_.assign(examples, 0);
  std::vector<uint8_t> admitted(examples, 0);
  for (size_t e = 0; e < examples; ++e) {
    const Example& example = batch.examples[e];
    const std::span<const float> weights = route.row(e);
    teaches_[e] = may_teach_bands(weights, differing_) ? 1 : 0;
    admitted[e] = std::any_of(weights.begin(), weights.end(), [](float w) { return w != 0; }) ? 1 : 0;
    if (!rules().slope) continue;
    const auto document = static_cast<size_t>(example.document);
    const DocumentLabel& label = governance_->label(example.document);
    keys_[e] = slope_key(rules().slope->by, example.id, dataset_->documents()[document].provenance,
                         label.clv ? std::optional(label.cls) : std::nullopt);
  }
  if (!reference_) return false;
  const ReferenceModel::Measured measured =
      reference_->measure(Session::train_batch(batch), admitted, micro_batch_rows_);
  for (size_t e = 0; e < examples; ++e) {
    if (admitted[e] == 0) continue;
    if (!std::isfinite(measured.nll[e])) {
      throw Failure(exit_failure,
                    fmt::format("step {}: the reference model's loss of example {} is not finite; the update was not "
                                "made, the last checkpoint is unharmed",
                                step_ + 1, governance_->label(batch.examples[e].document).ex));
    }
    judge(e, measured.nll[e], measured.counts[e], route, static_cast<int>(e));
  }
  return true;
}

void EntropyRouter::reorder(const std::vector<size_t>& order) {
  const auto marks = marks_;
  const auto keys = keys_;
  const auto teaches = teaches_;
  for (size_t e = 0; e < order.size(); ++e) {
    marks_[e] = marks.at(order[e]);
    keys_[e] = keys.at(order[e]);
    teaches_[e] = teaches.at(order[e]);
  }
}

CompleteRoute EntropyRouter::complete() {
  if (reference_) return {};
  return [this](const ForwardResult& forward, RouteTable& route) {
    for (int i = 0; i < route.examples; ++i) {
      const auto at = static_cast<size_t>(i);
      judge(static_cast<size_t>(forward.first_example) + at, forward.nll[at], forward.counts[at], route, i);
    }
  };
}

void EntropyRouter::end(const Batch& batch, int64_t step, const Transformer& model) {
  step_ = step;
  const double time =
      rules().slope && rules().slope->over_epochs ? static_cast<double>(batch.epoch) : static_cast<double>(step);
  for (size_t e = 0; e < marks_.size(); ++e) {
    if (teaches_[e] != 0) bands_.observe(marks_[e], keys_[e], time);
    if (!marks_[e].ent) continue;
    const std::optional<int> cell = bands_.cell(marks_[e]);
    Total& total = cell ? totals_[static_cast<size_t>(*cell)] : totals_.back();
    ++total.examples;
    total.surprisal += static_cast<double>(*marks_[e].ent);
  }
  if (bands_.end_step(step)) report(record(step));
  if (reference_) reference_->follow(model);
}

std::vector<std::pair<std::string, double>> EntropyRouter::metrics() const {
  std::vector<Total> bands(static_cast<size_t>(rules().banding.bands()) + 1);
  for (const EntropyMark& mark : marks_) {
    if (!mark.ent) continue;
    Total& total = mark.band ? bands[static_cast<size_t>(*mark.band)] : bands.back();
    ++total.examples;
    total.surprisal += static_cast<double>(*mark.ent);
  }
  std::vector<std::pair<std::string, double>> out;
  for (size_t b = 0; b < bands.size(); ++b) {
    const std::string name = b + 1 < bands.size() ? fmt::format("band/{}", b) : "band/none";
    out.emplace_back(name + "/examples", static_cast<double>(bands[b].examples));
    if (bands[b].examples == 0) continue;
    out.emplace_back(name + "/surprisal", bands[b].surprisal / static_cast<double>(bands[b].examples));
  }
  return out;
}

std::string EntropyRouter::summary() const {
  std::string out = fmt::format("  {:<26} {:<20} {:>10} {:>16}\n", "band", "profile", "examples", "mean surprisal");
  const Policy& policy = governance_->policy().policy();
  for (size_t c = 0; c < totals_.size(); ++c) {
    const bool none = c + 1 == totals_.size();
    if (none && totals_[c].examples == 0) continue;
    const int cell = static_cast<int>(c);
    const std::string name = none ? "no band (warm-up)" : rules().cell_name(cell);
    const std::string profile =
        none ? "the policy alone" : policy.profiles[static_cast<size_t>(rules().profile(cell))].name;
    const std::string mean =
        totals_[c].examples == 0
            ? "-"
            : fmt::format("{:.4f}", totals_[c].surprisal / static_cast<double>(totals_[c].examples));
    out += fmt::format("  {:<26} {:<20} {:>10} {:>16}\n", name, profile, grouped(totals_[c].examples), mean);
  }
  return out;
}

json EntropyRouter::part() const {
  json totals = json::array();
  for (const Total& t : totals_) totals.push_back({t.examples, t.surprisal});
  return {{"bands", bands_.to_json()},
          {"step", step_},
          {"cells", cells_},
          {"totals", totals},
          {"reference", reference_ ? reference_->digest() : ""}};
}

std::vector<NamedTensor> EntropyRouter::average() const {
  if (rules().source != SurprisalSource::average) return {};
  return reference_->tensors();
}

void EntropyRouter::load(const json& parts, const std::string& folder) {
  try {
    if (!parts.contains(entropy_part)) throw Error("entropy", "state: 'parts' has no 'entropy'");
    set_state(parts.at(entropy_part));
    if (rules().source == SurprisalSource::average) {
      reference_->set_tensors(require(read_tensors(join_path(folder, entropy_file))));
    }
  } catch (const Error& e) {
    throw Failure(exit_data, fmt::format("{}: {}", folder, e.what()));
  }
}

void EntropyRouter::set_state(const json& state) {
  try {
    const std::string digest = reference_ ? reference_->digest() : "";
    if (state.at("reference") != digest) {
      throw Error("entropy", "the run was made with the reference model {}, found {}", state.at("reference").dump(),
                  digest);
    }
    if (state.at("totals").size() != totals_.size()) throw Error("entropy", "state: it is of other bands");
    bands_.from_json(state.at("bands"));
    step_ = state.at("step").get<int64_t>();
    cells_ = state.at("cells").get<std::vector<std::vector<float>>>();
    differing_ = differing_blocks(cells_);
    for (size_t c = 0; c < totals_.size(); ++c) {
      totals_[c] = {state.at("totals").at(c).at(0).get<int64_t>(), state.at("totals").at(c).at(1).get<double>()};
    }
  } catch (const json::exception& e) {
    throw Error("entropy", "state: {}", e.what());
  }
  events_.clear();
}

}  // namespace govtrain
