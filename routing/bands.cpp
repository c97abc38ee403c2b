#include "routing/bands.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "routing/resolve.h"

namespace govtrain {

using nlohmann::json;

std::optional<float> surprisal_of(double nll, int64_t counts) {
  if (counts <= 0) return std::nullopt;
  const auto value = static_cast<float>(nll / static_cast<double>(counts));
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

MovingEdges::MovingEdges(const Banding& banding) : banding_(banding) {
  if (banding.fixed()) {
    edges_ = banding.edges;
    in_force_ = true;
  } else {
    sketch_.emplace(banding.error);
    last_ = sketch_;
  }
}

int MovingEdges::band_of(float value) const {
  return static_cast<int>(std::upper_bound(edges_.begin(), edges_.end(), static_cast<double>(value)) - edges_.begin());
}

void MovingEdges::observe(float value) {
  if (!sketch_) return;
  sketch_->insert(static_cast<double>(value));
  ++seen_;
}

QuantileSketch MovingEdges::recent() const {
  QuantileSketch out = *last_;
  out.merge(*sketch_);
  return out;
}

bool MovingEdges::end_step(int64_t step) {
  if (!sketch_) return false;
  bool changed = false;
  if (seen_ >= static_cast<uint64_t>(banding_.warmup) && (!in_force_ || step % banding_.update_every == 0)) {
    const QuantileSketch sketch = recent();
    std::vector<double> now;
    for (const double q : banding_.quantiles) now.push_back(sketch.quantile(q));
    changed = !in_force_ || now != edges_;
    edges_ = std::move(now);
    in_force_ = true;
  }
  if (banding_.window > 0 && sketch_->count() >= static_cast<uint64_t>(banding_.window)) {
    last_ = std::exchange(sketch_, QuantileSketch(banding_.error));
  }
  return changed;
}

json MovingEdges::describe() const {
  if (!sketch_) return {{"edges", edges_}};
  const QuantileSketch sketch = recent();
  return {{"edges", in_force_ ? json(edges_) : json()},
          {"n", sketch.count()},
          {"tuples", sketch.size()},
          {"error", sketch.error()},
          {"rank_error", sketch.rank_error()}};
}

json MovingEdges::to_json() const {
  if (!sketch_) return json::object();
  return {{"edges", in_force_ ? json(edges_) : json()},
          {"seen", seen_},
          {"sketch", sketch_->to_json()},
          {"last", last_->to_json()}};
}

void MovingEdges::from_json(const json& state) {
  if (!sketch_) {
    if (state != json::object()) throw Error("bands", "state: found a sketch; expected given edges");
    return;
  }
  const bool shaped = state.is_object() && state.contains("edges") && state.contains("sketch") &&
                      state.contains("last") && state.contains("seen") && state["seen"].is_number_unsigned();
  if (!shaped) throw Error("bands", "state: expected 'edges', 'seen', 'sketch' and 'last'");
  QuantileSketch sketch = QuantileSketch::from_json(state["sketch"]);
  QuantileSketch last = QuantileSketch::from_json(state["last"]);
  const json& edges = state["edges"];
  const bool numbers = edges.is_array() && edges.size() == banding_.quantiles.size() &&
                       std::all_of(edges.begin(), edges.end(), [](const json& v) { return v.is_number(); });
  if (sketch.error() != banding_.error || last.error() != banding_.error || !(edges.is_null() || numbers)) {
    throw Error("bands", "state: it is of other bands than the policy's {}", banding_.bands());
  }
  sketch_ = std::move(sketch);
  last_ = std::move(last);
  seen_ = state["seen"].get<uint64_t>();
  in_force_ = numbers;
  edges_.clear();
  if (numbers) edges_ = edges.get<std::vector<double>>();
}

EntropyBands::EntropyBands(const EntropyRules& rules) : rules_(rules), edges_(rules.banding) {
  if (!rules.slope) return;
  slope_edges_.emplace(rules.slope->banding);
  slopes_.emplace(static_cast<uint64_t>(rules.slope->max_keys), static_cast<uint64_t>(rules.slope->min_points));
}

EntropyMark EntropyBands::judge(std::optional<float> ent, const std::string& key) const {
  EntropyMark mark;
  mark.ent = ent;
  if (slopes_ && !key.empty()) mark.slope = slopes_->slope(key);
  if (!ent || !edges_.in_force() || (slope_edges_ && !slope_edges_->in_force())) return mark;
  mark.band = edges_.band_of(*ent);
  if (slope_edges_) mark.slope_band = slope_edges_->band_of(mark.slope.value_or(0));
  return mark;
}

std::optional<int> EntropyBands::cell(const EntropyMark& mark) const {
  if (!mark.band) return std::nullopt;
  return *mark.band * rules_.columns() + mark.slope_band.value_or(0);
}

void EntropyBands::observe(const EntropyMark& mark, const std::string& key, double time) {
  if (!mark.ent) return;
  edges_.observe(*mark.ent);
  if (!slopes_ || key.empty()) return;
  if (mark.slope) slope_edges_->observe(*mark.slope);
  slopes_->add(key, time, static_cast<double>(*mark.ent));
}

bool EntropyBands::end_step(int64_t step) {
  const bool changed = edges_.end_step(step);
  const bool slope_changed = slope_edges_ && slope_edges_->end_step(step);
  return changed || slope_changed;
}

json EntropyBands::describe() const {
  json out = {{"surprisal", edges_.describe()}};
  if (slope_edges_) {
    out["slope"] = slope_edges_->describe();
    out["slope"]["keys"] = slopes_->size();
    out["slope"]["points_without_room"] = slopes_->refused();
  }
  return out;
}

json EntropyBands::to_json() const {
  json out = {{"surprisal", edges_.to_json()}};
  if (slope_edges_) out["slope"] = {{"edges", slope_edges_->to_json()}, {"fits", slopes_->to_json()}};
  return out;
}

void EntropyBands::from_json(const json& state) {
  const bool shaped =
      state.is_object() && state.contains("surprisal") && state.contains("slope") == slopes_.has_value();
  if (!shaped) throw Error("bands", "state: expected the surprisal{} of the bands", slopes_ ? " and slopes" : "");
  edges_.from_json(state["surprisal"]);
  if (!slopes_) return;
  const json& slope = state["slope"];
  if (!slope.is_object() || !slope.contains("edges") || !slope.contains("fits")) {
    throw Error("bands", "state: expected 'edges' and 'fits' of the slopes");
  }
  slope_edges_->from_json(slope["edges"]);
  slopes_->from_json(slope["fits"]);
}

std::vector<bool> differing_blocks(const std::vector<std::vector<float>>& weights) {
  std::vector<bool> out(weights.empty() ? 0 : weights.front().size(), false);
  for (const std::vector<float>& w : weights) {
    for (size_t b = 0; b < w.size(); ++b) out[b] = out[b] || w[b] != weights.front()[b];
  }
  return out;
}

bool may_teach_bands(std::span<const float> weights, const std::vector<bool>& differing) {
  bool any = false;
  for (size_t b = 0; b < weights.size(); ++b) {
    if (weights[b] == 0 && differing[b]) return false;
    any = any || weights[b] != 0;
  }
  return any;
}

void restrict_row(std::span<float> weights, std::span<int32_t> rules, const std::vector<float>& cell, int32_t entry) {
  for (size_t b = 0; b < weights.size(); ++b) restrict_weight(weights[b], rules[b], cell[b], entry);
}

}  // namespace govtrain
