#include "routing/controller.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "routing/evidence.h"
#include "routing/glob.h"

namespace govtrain {
namespace {

using nlohmann::json;

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mx += x[i] / n;
    my += y[i] / n;
  }
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
    xy += (x[i] - mx) * (y[i] - my);
  }
  return xx == 0 || yy == 0 ? 0 : std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

}  // namespace

Controller::Controller(const BoundPolicy& policy)
    : spec_(policy.policy().controller.value()), blocks_(policy.blocks().size()) {
  const std::vector<TableEntry> table = policy.policy().table();
  entry_of_rule_.assign(table.size(), -1);
  for (size_t i = 0; i < spec_.profiles.size(); ++i) {
    const ControllerSpec::Entry& e = spec_.profiles[i];
    names_.push_back(policy.policy().profiles[static_cast<size_t>(e.profile)].name);
    floor_.push_back(policy.stated_weights(e.floor));
    ceiling_.push_back(policy.stated_weights(e.ceiling));
    for (size_t r = 0; r < table.size(); ++r) {
      if (table[r].profile == names_.back()) entry_of_rule_[r] = static_cast<int>(i);
    }
  }
  norms_.assign(names_.size() * blocks_, 0);
}

bool Controller::protects(const std::string& group) const {
  return std::any_of(spec_.protect.begin(), spec_.protect.end(),
                     [&](const std::string& pattern) { return glob_match(pattern, group); });
}

void Controller::add_step(const RouteTable& route, const std::vector<double>& norms) {
  if (static_cast<size_t>(route.blocks) != blocks_ || norms.size() != route.rule.size()) {
    throw Error("controller", "norms of {} and {} rules; expected {} blocks of each example", norms.size(),
                route.rule.size(), blocks_);
  }
  ++steps_;
  for (size_t i = 0; i < norms.size(); ++i) {
    const int entry = entry_of_rule_.at(static_cast<size_t>(route.rule[i]));
    if (entry >= 0) norms_[static_cast<size_t>(entry) * blocks_ + i % blocks_] += norms[i];
  }
}

void Controller::restart() {
  last_loss_.reset();
  window_.clear();
  steps_ = 0;
  norms_.assign(norms_.size(), 0);
}

std::optional<ControllerProposal> Controller::evaluate(double loss, const BoundPolicy& policy) {
  std::optional<ControllerProposal> out;
  if (last_loss_ && *last_loss_ > 0 && steps_ > 0) {
    Interval interval{(loss - *last_loss_) / *last_loss_, norms_};
    for (double& x : interval.influence) x /= static_cast<double>(steps_);
    window_.push_back(std::move(interval));
    if (window_.size() > static_cast<size_t>(spec_.window)) window_.erase(window_.begin());
    std::vector<std::vector<float>> weights;
    for (const ControllerSpec::Entry& e : spec_.profiles) weights.push_back(policy.weights(e.profile));
    out = propose(weights);
  }
  last_loss_ = loss;
  steps_ = 0;
  norms_.assign(norms_.size(), 0);
  return out;
}

json Controller::evidence() const {
  json change = json::array(), influence = json::object();
  for (const Interval& k : window_) change.push_back(k.change);
  for (size_t i = 0; i < names_.size(); ++i) {
    json rows = json::array();
    for (const Interval& k : window_) {
      const auto at = k.influence.begin() + static_cast<ptrdiff_t>(i * blocks_);
      rows.push_back(std::vector<double>(at, at + static_cast<ptrdiff_t>(blocks_)));
    }
    influence[names_[i]] = rows;
  }
  return {{"loss_change", change}, {"influence", influence}};
}

std::optional<ControllerProposal> Controller::propose(const std::vector<std::vector<float>>& weights) {
  if (spec_.mode != AdaptMode::on || window_.size() < static_cast<size_t>(spec_.window)) return std::nullopt;
  const double now = window_.back().change;
  if (std::abs(now) <= spec_.tolerance) return std::nullopt;
  const bool rises = now > 0;
  std::vector<double> change;
  for (const Interval& k : window_) change.push_back(k.change);

  double best = 0;
  size_t chosen = 0;
  std::vector<double> credit;
  std::vector<float> proposed;
  for (size_t i = 0; i < names_.size(); ++i) {
    std::vector<double> c(blocks_);
    std::vector<float> after = weights[i];
    double sum = 0;
    for (size_t b = 0; b < blocks_; ++b) {
      std::vector<double> x;
      for (const Interval& k : window_) x.push_back(k.influence[i * blocks_ + b]);
      c[b] = pearson(x, change);
      const bool counts = rises ? c[b] >= spec_.correlation : c[b] <= -spec_.correlation;
      const bool room = rises || std::abs(weights[i][b]) < std::abs(ceiling_[i][b]);
      if (!counts || !room || weights[i][b] == 0) continue;
      after[b] = static_cast<float>(static_cast<double>(weights[i][b]) * (rises ? 1 - spec_.rate : 1 + spec_.rate));
      sum += std::abs(c[b]);
    }
    if (sum <= best) continue;
    best = sum;
    chosen = i;
    credit = std::move(c);
    proposed = std::move(after);
  }
  if (best == 0) return std::nullopt;

  ControllerProposal out;
  out.id = next_id_++;
  out.change = {spec_.profiles[chosen].profile, weights[chosen], proposed};
  json outside = json::array();
  for (size_t b = 0; b < blocks_; ++b) {
    const float size = std::abs(proposed[b]);
    const bool changed = proposed[b] != weights[chosen][b];
    if (changed && (size < std::abs(floor_[chosen][b]) || size > std::abs(ceiling_[chosen][b]))) outside.push_back(b);
  }
  out.refused = !outside.empty();
  json all = json::object();
  for (size_t i = 0; i < names_.size(); ++i) all[names_[i]] = weights[i];
  out.record = {{"id", out.id},
                {"profile", names_[chosen]},
                {"before", weights[chosen]},
                {"after", proposed},
                {"credit", credit},
                {"evidence", evidence()},
                {"weights", all},
                {"by", spec_.review && !out.refused ? "review" : "rule"},
                {"outcome", out.refused    ? "refused"
                            : spec_.review ? "pending"
                                           : "applied"},
                {"outside_bounds", outside}};
  window_.clear();
  return out;
}

json Controller::state() const {
  json window = json::array();
  for (const Interval& k : window_) window.push_back({{"change", k.change}, {"influence", k.influence}});
  return {{"last_loss", last_loss_ ? json(*last_loss_) : json()},
          {"steps", steps_},
          {"norms", norms_},
          {"window", window},
          {"next_id", next_id_}};
}

void Controller::restore(const json& state) {
  try {
    std::vector<double> norms = state.at("norms");
    std::vector<Interval> window;
    for (const json& k : state.at("window")) window.push_back({k.at("change"), k.at("influence")});
    const bool fits = norms.size() == norms_.size() && std::all_of(window.begin(), window.end(), [&](const auto& k) {
                        return k.influence.size() == norms_.size();
                      });
    if (!fits) throw Error("controller", "the state is of another policy; expected {} sums", norms_.size());
    last_loss_.reset();
    if (!state.at("last_loss").is_null()) last_loss_ = state.at("last_loss").get<double>();
    steps_ = state.at("steps");
    next_id_ = state.at("next_id");
    norms_ = std::move(norms);
    window_ = std::move(window);
  } catch (const json::exception& e) {
    throw Error("controller", "the state cannot be read ({})", e.what());
  }
}

std::optional<std::string> check_proposal(const BoundPolicy& policy, const json& record) {
  if (!policy.policy().controller || policy.policy().controller->mode != AdaptMode::on) {
    return "the policy has no controller that proposes";
  }
  try {
    Controller c(policy);
    const json& evidence = record.at("evidence");
    const std::vector<double> change = evidence.at("loss_change");
    std::vector<std::vector<float>> weights;
    for (const std::string& name : c.names_) weights.push_back(record.at("weights").at(name));
    for (size_t k = 0; k < change.size(); ++k) {
      Controller::Interval interval{change[k], {}};
      for (const std::string& name : c.names_) {
        const std::vector<double> x = evidence.at("influence").at(name).at(k);
        interval.influence.insert(interval.influence.end(), x.begin(), x.end());
      }
      if (interval.influence.size() != c.norms_.size()) return "its evidence is of another number of blocks";
      c.window_.push_back(std::move(interval));
    }
    c.next_id_ = record.at("id");
    const auto again = c.propose(weights);
    if (!again) return "its evidence calls for no proposal";
    return disagreement(record, again->record);
  } catch (const json::exception& e) {
    return lacking(e);
  }
}

}  // namespace govtrain
