#include "routing/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "routing/confinement.h"
#include "routing/glob.h"
#include "routing/license.h"

namespace govtrain {
namespace {

const Meta no_meta;

std::vector<const Meta*> provenances(const DocumentFacts& facts) {
  std::vector<const Meta*> out;
  for (const Meta& meta : facts.provenances) out.push_back(&meta);
  if (out.empty()) out.push_back(&no_meta);
  return out;
}

std::string text_of(const Meta& meta, const std::string& key) {
  const auto found = meta.find(key);
  return found == meta.end() ? "" : found->second;
}

void terms_of(const LicenseExpression& e, std::vector<std::string>& out) {
  if (e.kind == LicenseExpression::Kind::term && std::find(out.begin(), out.end(), e.term) == out.end()) {
    out.push_back(e.term);
  }
  for (const LicenseExpression& part : e.parts) terms_of(part, out);
}

// What a licence expression (or a part of it) adds to the decision.
struct Say {
  bool covered = false;                // some rule matches, for AND: every part
  std::map<int32_t, std::string> why;  // table entry -> reason
};

void add(Say& into, const Say& from) { into.why.insert(from.why.begin(), from.why.end()); }

// `of_term` gives the say of one term.
template <class OfTerm>
Say say_of(const LicenseExpression& e, const OfTerm& of_term) {
  if (e.kind == LicenseExpression::Kind::term) return of_term(e.term);
  std::vector<Say> parts;
  for (const LicenseExpression& part : e.parts) parts.push_back(say_of(part, of_term));
  const auto covered = [](const Say& say) { return say.covered; };
  const bool either = e.kind == LicenseExpression::Kind::any_of;
  Say out;
  out.covered =
      either ? std::any_of(parts.begin(), parts.end(), covered) : std::all_of(parts.begin(), parts.end(), covered);
  for (const Say& part : parts) {
    if (!either || !out.covered || part.covered) add(out, part);
  }
  return out;
}

std::string join_profiles(const std::vector<std::string>& names) {
  std::vector<std::string> unique;
  for (const std::string& name : names) {
    if (std::find(unique.begin(), unique.end(), name) == unique.end()) unique.push_back(name);
  }
  return join(unique, "+");
}

}  // namespace

void restrict_weight(float& weight, int32_t& rule, float other, int32_t other_rule) {
  const bool opposite = (other < 0 && weight > 0) || (other > 0 && weight < 0);
  if (!opposite && std::abs(other) >= std::abs(weight)) return;
  weight = opposite || other == 0 ? 0.0F : other;
  rule = other_rule;
}

std::vector<MetaView> views_of(const DocumentFacts& facts) {
  std::vector<MetaView> out;
  for (const Meta* meta : provenances(facts)) {
    std::vector<std::string> terms;
    const std::string license = text_of(*meta, "license");
    if (!license.empty()) terms_of(parse_license(license), terms);
    if (terms.empty()) terms.emplace_back();
    for (const std::string& term : terms) out.push_back({&facts, meta, term});
  }
  return out;
}

std::optional<BoundPolicy> BoundPolicy::bind(Policy policy, const BlockMap& map, Diagnostics& diagnostics) {
  const int errors = diagnostics.errors();
  for (const auto& [file, text] : policy.sources()) diagnostics.add_source(file, text);
  BoundPolicy out;
  out.map_ = {map.names, {}, map.info, map.layers};
  for (const Profile& profile : policy.profiles) {
    out.weights_.push_back(bind_profile(profile, map, policy.depth_origin, diagnostics));
  }
  out.stated_ = out.weights_;
  if (diagnostics.errors() > errors) return {};
  const auto name = [&](int profile) { return policy.profiles[static_cast<size_t>(profile)].name; };
  const auto stated = [&](int profile) -> const std::vector<float>& { return out.stated_weights(profile); };
  if (policy.adaptation) check_bounds(*policy.adaptation, out.map_.names, name, stated, diagnostics);
  if (policy.controller) check_bounds(*policy.controller, out.map_.names, name, stated, diagnostics);
  for (const ScheduleEntry& entry : policy.schedule) {
    const std::string what = "schedule " + in_quotes(entry.name);
    check_state_condition(entry.when, what + ": 'when'", out.map_.names, diagnostics);
    if (entry.back) check_state_condition(*entry.back, what + ": 'back'", out.map_.names, diagnostics);
  }
  if (diagnostics.errors() > errors) return {};
  out.profile_of_.push_back(policy.default_profile);
  for (const PolicyRule& rule : policy.rules) out.profile_of_.push_back(rule.profile);
  for (const PrivacyClass& entry : policy.privacy) out.profile_of_.push_back(entry.profile);
  if (!policy.privacy.empty()) out.profile_of_.push_back(policy.unlisted_privacy);
  out.profile_of_.resize(out.profile_of_.size() + policy.exclusions.size(), 0);
  for (int cell = 0; policy.entropy && cell < policy.entropy->cells(); ++cell) {
    out.profile_of_.push_back(policy.entropy->profile(cell));
  }
  out.policy_ = std::move(policy);
  check_confinement(out, diagnostics);
  if (diagnostics.errors() > errors) return {};
  return out;
}

BoundPolicy BoundPolicy::bind(Policy policy, const BlockMap& map) {
  Diagnostics diagnostics;
  std::optional<BoundPolicy> out = bind(std::move(policy), map, diagnostics);
  diagnostics.throw_if_errors();
  return std::move(*out);
}

std::vector<int32_t> BoundPolicy::matching_rules(const MetaView& view) const {
  std::vector<int32_t> out;
  for (size_t i = 0; i < policy_.rules.size(); ++i) {
    if (matches(policy_.rules[i].when, view)) out.push_back(policy_.rule_index(i));
  }
  return out;
}

void BoundPolicy::set_weights(int profile, std::vector<float> weights) {
  const bool finite = std::all_of(weights.begin(), weights.end(), [](float w) { return std::isfinite(w); });
  if (profile == 0 || weights.size() != map_.names.size() || !finite) {
    throw Error("policy", "weights of profile {}; expected {} finite weights of a profile other than 'none', got {}",
                profile, map_.names.size(), weights.size());
  }
  weights_.at(static_cast<size_t>(profile)) = std::move(weights);
}

BoundPolicy BoundPolicy::widest() const {
  BoundPolicy out = *this;
  if (policy_.schedule.empty()) return out;
  for (std::vector<float>& weights : out.weights_) {
    for (float& w : weights) w = std::abs(w);
  }
  for (const ScheduleEntry& entry : policy_.schedule) {
    for (size_t b = 0; b < map_.names.size(); ++b) {
      float& w = out.weights_[static_cast<size_t>(entry.profile)][b];
      w = std::max(w, std::abs(weights(entry.to)[b]));
    }
  }
  return out;
}

Decision BoundPolicy::resolve(const DocumentFacts& facts, const Date& today) const {
  Say say;
  std::map<int32_t, std::string> privacy;
  for (const Meta* meta : provenances(facts)) {
    const std::string license = text_of(*meta, "license");
    const auto of_term = [&](const std::string& term) {
      Say one;
      for (const int32_t rule : matching_rules({&facts, meta, term})) one.why.emplace(rule, "matches");
      one.covered = !one.why.empty();
      if (!one.covered) {
        one.why.emplace(0, term.empty() ? "no rule matches, and there is no licence"
                                        : "no rule matches license " + in_quotes(term));
      }
      return one;
    };
    add(say, license.empty() ? of_term("") : say_of(parse_license(license), of_term));
    const std::string cls = text_of(*meta, "privacy");
    if (cls.empty() || policy_.privacy.empty()) continue;
    const auto listed =
        std::find_if(policy_.privacy.begin(), policy_.privacy.end(), [&](const auto& p) { return p.name == cls; });
    privacy.emplace(policy_.privacy_index(static_cast<size_t>(listed - policy_.privacy.begin())),
                    fmt::format("privacy is {}{}", in_quotes(cls),
                                listed == policy_.privacy.end() ? ", which the policy does not list" : ""));
  }

  Decision out;
  for (size_t i = 0; i < policy_.exclusions.size(); ++i) {
    std::string reason;
    if (excludes(policy_.exclusions[i], facts, reason))
      out.matched.push_back({policy_.exclusion_index(i), true, reason});
  }
  for (const auto& [entry, reason] : privacy) out.matched.push_back({entry, true, reason});
  for (const auto& [entry, reason] : say.why) {
    if (entry == 0) continue;
    Match match{entry, true, reason};
    const PolicyRule& rule = policy_.rules[static_cast<size_t>(entry) - 1];
    if (rule.until && today >= *rule.until) match.reason = "matches, but expired on " + rule.until->text();
    if (rule.from && today < *rule.from) match.reason = "matches, but is not valid before " + rule.from->text();
    match.in_window = match.reason == reason;
    out.matched.push_back(std::move(match));
  }
  if (const auto found = say.why.find(0); found != say.why.end()) out.matched.push_back({0, true, found->second});

  const auto profile = [&](const Match& m) { return m.in_window ? profile_of_[static_cast<size_t>(m.rule)] : 0; };
  std::vector<std::string> labels;
  for (size_t b = 0; b < map_.names.size(); ++b) {
    const auto of = [&](int32_t m) { return weights(profile(out.matched[static_cast<size_t>(m)]))[b]; };
    const auto label = [&](int32_t m) {
      return policy_.profiles[static_cast<size_t>(profile(out.matched[static_cast<size_t>(m)]))].name;
    };
    float weight = of(0);
    int32_t best = 0, before = 0;  // indices into matched
    for (int32_t m = 1; m < static_cast<int32_t>(out.matched.size()); ++m) {
      const int32_t last = best;
      restrict_weight(weight, best, of(m), m);
      if (best == m) before = last;
    }
    if (weight == 0 && of(best) != 0) labels.push_back(label(before));  // the signs of two are opposite
    labels.push_back(label(best));
    out.weights.push_back(weight == 0 ? 0.0F : weight);
    out.rule.push_back(out.matched[static_cast<size_t>(best)].rule);
  }
  const auto alone = std::find_if(out.matched.begin(), out.matched.end(),
                                  [&](const Match& m) { return weights(profile(m)) == out.weights; });
  if (alone != out.matched.end()) {
    out.rule.assign(map_.names.size(), alone->rule);
    labels = {policy_.profiles[static_cast<size_t>(profile(*alone))].name};
  }
  out.profile = join_profiles(labels);
  out.excluded = std::all_of(out.weights.begin(), out.weights.end(), [](float w) { return w == 0; });
  return out;
}

}  // namespace govtrain
