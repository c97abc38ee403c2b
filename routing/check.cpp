#include "routing/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "routing/glob.h"
#include "routing/license.h"

namespace govtrain {
namespace {

// Whether the weights of a profile may change while training.
bool changes(const Policy& policy, int profile) {
  const auto names = [&](const auto& section) {
    return section && std::any_of(section->profiles.begin(), section->profiles.end(),
                                  [&](const auto& entry) { return entry.profile == profile; });
  };
  const auto& entries = policy.schedule;
  return names(policy.adaptation) || names(policy.controller) ||
         std::any_of(entries.begin(), entries.end(), [&](const ScheduleEntry& e) { return e.profile == profile; });
}

// True when `other` has a say wherever `rule` has, and always wins: then `rule` never decides.
bool never_decides(const BoundPolicy& bound, const PolicyRule& rule, const PolicyRule& other, bool other_first) {
  if (!implies(rule.when, other.when)) return false;
  if (changes(bound.policy(), rule.profile) || changes(bound.policy(), other.profile)) return false;
  const std::vector<float>& mine = bound.weights(rule.profile);
  const std::vector<float>& theirs = bound.weights(other.profile);
  const auto zero = [](float w) { return w == 0; };
  const bool other_is_none = std::all_of(theirs.begin(), theirs.end(), zero);
  if ((rule.from || rule.until) && !other_is_none) return false;  // outside its window it gives zero
  for (size_t b = 0; b < mine.size(); ++b) {
    if (mine[b] < 0 || theirs[b] < 0) return false;
    if (theirs[b] > mine[b] || (theirs[b] == mine[b] && !other_first)) return false;
  }
  return true;
}

void check_rules(const BoundPolicy& bound, const Date& today, Diagnostics& diagnostics) {
  const std::vector<PolicyRule>& rules = bound.policy().rules;
  for (size_t i = 0; i < rules.size(); ++i) {
    const PolicyRule& rule = rules[i];
    if (rule.until && today >= *rule.until) {
      diagnostics.warning(rule.at, fmt::format("rule {} expired on {}: what it matches is kept out",
                                               in_quotes(rule.name), rule.until->text()));
    } else if (rule.from && today < *rule.from) {
      diagnostics.warning(rule.at, fmt::format("rule {} is not valid before {}: until then what it matches is kept out",
                                               in_quotes(rule.name), rule.from->text()));
    }
    for (size_t k = 0; k < rules.size(); ++k) {
      const bool same = k < i && rules[k].profile == rule.profile && rules[k].from == rule.from &&
                        rules[k].until == rule.until && to_flow(rules[k].when) == to_flow(rule.when);
      if (same) {
        diagnostics.warning(rule.at,
                            fmt::format("rule {} says the same as rule {} at {}", in_quotes(rule.name),
                                        in_quotes(rules[k].name), to_string(rules[k].at)),
                            "remove one");
        break;
      }
      if (k != i && never_decides(bound, rule, rules[k], k < i)) {
        diagnostics.warning(rule.at,
                            fmt::format("rule {} can never decide: rule {} at {} matches whenever it does and is at "
                                        "least as restrictive in every block",
                                        in_quotes(rule.name), in_quotes(rules[k].name), to_string(rules[k].at)));
        break;
      }
    }
  }
}

void check_profiles(const Policy& policy, Diagnostics& diagnostics) {
  std::set<int> used{0, policy.default_profile, policy.unlisted_privacy};
  for (const PolicyRule& rule : policy.rules) used.insert(rule.profile);
  for (const PrivacyClass& entry : policy.privacy) used.insert(entry.profile);
  if (policy.adaptation) {
    for (const auto& entry : policy.adaptation->profiles) used.insert(entry.broad);
  }
  if (policy.controller) {
    for (const auto& entry : policy.controller->profiles) used.insert({entry.floor, entry.ceiling});
  }
  for (const ScheduleEntry& entry : policy.schedule) used.insert(entry.to);
  for (int cell = 0; policy.entropy && cell < policy.entropy->cells(); ++cell) {
    used.insert(policy.entropy->profile(cell));
  }
  for (size_t i = 0; i < policy.profiles.size(); ++i) {
    if (used.count(static_cast<int>(i)) > 0) continue;
    diagnostics.warning(policy.profiles[i].at,
                        fmt::format("nothing uses the profile {}", in_quotes(policy.profiles[i].name)));
  }
}

std::set<std::string> license_terms(const std::set<std::string>& expressions) {
  std::set<std::string> out;
  for (const std::string& text : expressions) {
    std::vector<LicenseExpression> open{parse_license(text)};
    while (!open.empty()) {
      const LicenseExpression e = std::move(open.back());
      open.pop_back();
      if (e.kind == LicenseExpression::Kind::term) out.insert(e.term);
      open.insert(open.end(), e.parts.begin(), e.parts.end());
    }
  }
  return out;
}

void check_patterns(const Condition& c, const std::string& rule, const CorpusSummary& corpus,
                    Diagnostics& diagnostics) {
  for (const Condition& child : c.children) check_patterns(child, rule, corpus, diagnostics);
  if (c.kind != Condition::Kind::field || c.field == "id" || c.field == "digest") return;
  const auto found = corpus.find(c.field);
  if (found == corpus.end()) {
    std::vector<std::string> keys;
    for (const auto& [key, values] : corpus) keys.push_back(key);
    const std::string near = did_you_mean(c.field, keys);
    diagnostics.warning(
        c.at, fmt::format("rule {}: no document in the corpus has the key {}", in_quotes(rule), in_quotes(c.field)),
        near.empty() ? "keys: " + join(keys) : near);
    return;
  }
  std::vector<std::string> idle;
  for (const std::string& pattern : c.patterns) {
    const bool hit = std::any_of(found->second.begin(), found->second.end(),
                                 [&](const std::string& value) { return pattern_matches(c.field, pattern, value); });
    if (!hit) idle.push_back(in_quotes(pattern));
  }
  if (idle.empty()) return;
  const bool all = idle.size() == c.patterns.size();
  diagnostics.warning(
      c.at, fmt::format("rule {}: no {} in the corpus matches {}", in_quotes(rule), c.field, join(idle, " or ")),
      all ? did_you_mean(c.patterns[0], {found->second.begin(), found->second.end()}) : "");
}

}  // namespace

void check_policy(const BoundPolicy& bound, const Date& today, const CorpusSummary* corpus, Diagnostics& diagnostics) {
  const Policy& policy = bound.policy();
  for (const auto& [file, text] : policy.sources()) diagnostics.add_source(file, text);
  check_profiles(policy, diagnostics);
  check_rules(bound, today, diagnostics);
  if (corpus == nullptr) return;
  CorpusSummary known = *corpus;
  if (const auto licenses = known.find("license"); licenses != known.end())
    licenses->second = license_terms(licenses->second);
  for (const PolicyRule& rule : policy.rules) check_patterns(rule.when, rule.name, known, diagnostics);
  const auto sources = known.find("source");
  for (const Exclusion& e : policy.exclusions) {
    for (const std::string& pattern : e.sources) {
      const bool hit =
          sources != known.end() && std::any_of(sources->second.begin(), sources->second.end(),
                                                [&](const auto& value) { return glob_match(pattern, value); });
      if (!hit)
        diagnostics.warning(e.at, fmt::format("exclusion {}: {} matches no source in the corpus", in_quotes(e.name),
                                              in_quotes(pattern)));
    }
  }
}

}  // namespace govtrain
