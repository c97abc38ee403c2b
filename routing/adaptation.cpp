#include "routing/adaptation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "routing/evidence.h"
#include "routing/representation.h"

namespace govtrain {

using nlohmann::json;

double stratification(const AdaptationSpec& spec, const std::vector<double>& entropies) {
  return spec.measure == StratificationMeasure::spread ? entropy_spread(entropies) : entropy_order(entropies);
}

double adaptation_target(const AdaptationSpec& spec, double s) {
  return std::clamp((s - spec.begin) / (spec.full - spec.begin), 0.0, 1.0);
}

std::vector<float> between(const std::vector<float>& broad, const std::vector<float>& narrow, double position) {
  if (broad.size() != narrow.size()) {
    throw Error("adaptation", "bounds of {} and {} blocks; expected the same", broad.size(), narrow.size());
  }
  std::vector<float> out;
  for (size_t b = 0; b < broad.size(); ++b) {
    const auto from = static_cast<double>(broad[b]), to = static_cast<double>(narrow[b]);
    const double exact = position == 1 ? to : from + position * (to - from);
    const auto [low, high] = std::minmax(broad[b], narrow[b]);
    const float weight = std::clamp(static_cast<float>(exact), low, high);
    out.push_back(weight == 0 ? 0.0F : weight);
  }
  return out;
}

AdaptationEngine::AdaptationEngine(const BoundPolicy& policy) : spec_(policy.policy().adaptation.value()) {
  for (const AdaptationSpec::Entry& e : spec_.profiles) {
    names_.push_back(policy.policy().profiles[static_cast<size_t>(e.profile)].name);
    broad_.push_back(policy.stated_weights(e.broad));
    narrow_.push_back(policy.stated_weights(e.profile));
  }
}

std::vector<std::vector<float>> AdaptationEngine::weights(double position) const {
  std::vector<std::vector<float>> out;
  for (size_t i = 0; i < names_.size(); ++i) out.push_back(between(broad_[i], narrow_[i], position));
  return out;
}

AdaptationEngine::Step AdaptationEngine::change(const std::vector<double>& entropies, double position) {
  const double s = stratification(spec_, entropies);
  Step out;
  const auto before = state_.started ? weights(state_.position) : narrow_, after = weights(position);
  json profiles = json::object();
  for (size_t i = 0; i < names_.size(); ++i) {
    profiles[names_[i]] = {{"before", before[i]}, {"after", after[i]}};
    out.changes.push_back({spec_.profiles[i].profile, before[i], after[i]});
  }
  out.record = {{"event", state_.started ? "change" : "start"},
                {"entropy", entropies},
                {"measure", name(spec_.measure)},
                {"stratification", s},
                {"target", adaptation_target(spec_, s)},
                {"waited", state_.waited},
                {"position", {{"before", state_.position}, {"after", position}}},
                {"profiles", profiles}};
  state_ = {position, 0, true};
  return out;
}

std::optional<AdaptationEngine::Step> AdaptationEngine::observe(const std::vector<double>& entropies) {
  if (!state_.started) return spec_.mode == AdaptMode::on ? std::optional(change(entropies, 0)) : std::nullopt;
  ++state_.waited;
  if (spec_.mode != AdaptMode::on || state_.waited < spec_.wait) return std::nullopt;
  const double target = adaptation_target(spec_, stratification(spec_, entropies));
  const double gap = target - state_.position;
  const bool end = target == 0 || target == 1;
  if (gap == 0 || (std::abs(gap) <= spec_.dead_band && !end)) return std::nullopt;
  // A rest that is only rounding is not worth a change of its own.
  const bool reach = std::abs(gap) <= spec_.rate * (1 + 1e-9);
  return change(entropies, reach ? target : state_.position + std::copysign(spec_.rate, gap));
}

std::optional<std::string> outside_bounds(const BoundPolicy& policy, const std::string& profile,
                                          const std::vector<float>& weights) {
  const auto& [adaptation, controller] = std::tie(policy.policy().adaptation, policy.policy().controller);
  const auto is_it = [&](int index) { return policy.policy().profiles[static_cast<size_t>(index)].name == profile; };
  std::optional<std::pair<int, int>> ends;
  if (adaptation && adaptation->mode != AdaptMode::off) {
    for (const AdaptationSpec::Entry& e : adaptation->profiles)
      if (is_it(e.profile)) ends = {e.profile, e.broad};
  }
  if (controller && controller->mode != AdaptMode::off) {
    for (const ControllerSpec::Entry& e : controller->profiles)
      if (is_it(e.profile)) ends = {e.floor, e.ceiling};
  }
  if (!ends) return fmt::format("the policy {} has no profile '{}' that changes", policy.policy().id(), profile);
  const std::vector<float>&one = policy.stated_weights(ends->first), &other = policy.stated_weights(ends->second);
  if (weights.size() != one.size()) {
    return fmt::format("{} weights for the profile {}; expected {}", weights.size(), profile, one.size());
  }
  for (size_t b = 0; b < weights.size(); ++b) {
    const auto [low, high] = std::minmax(one[b], other[b]);
    if (weights[b] >= low && weights[b] <= high) continue;
    return fmt::format("it gives the profile {} the weight {} in {}; expected {} to {}", profile, weights[b],
                       policy.blocks()[b], low, high);
  }
  return std::nullopt;
}

std::optional<std::string> check_adaptation(const BoundPolicy& policy, const json& record) {
  if (!policy.policy().adaptation || policy.policy().adaptation->mode == AdaptMode::off) {
    return "the policy does not adapt";
  }
  try {
    AdaptationEngine engine(policy);
    const bool start = record.at("event") == "start";
    const int64_t waited = record.at("waited");
    engine.restore({record.at("position").at("before"), start ? 0 : waited - 1, !start});
    const auto again = engine.observe(record.at("entropy").get<std::vector<double>>());
    if (!again) return "its evidence calls for no change";
    return disagreement(record, again->record);
  } catch (const json::exception& e) {
    return lacking(e);
  }
}

}  // namespace govtrain
