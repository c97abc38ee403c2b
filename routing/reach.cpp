#include "routing/reach.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace govtrain {
namespace {

using Kind = StateCondition::Kind;

// When an entry has led where it leads.
std::string when_text(const ScheduleEntry& entry) {
  const StateCondition* when = &entry.when;
  while ((when->kind == Kind::all || when->kind == Kind::any) && when->children.size() == 1) when = &when->children[0];
  const int64_t rest = entry.hold - 1 + entry.over - 1;
  if (when->kind == Kind::step) return fmt::format("from step {} on", std::max<int64_t>(1, when->from) + rest);
  const std::string first = when->kind == Kind::epoch ? fmt::format("from epoch {}", when->from)
                                                      : fmt::format("once {} holds", to_flow(*when));
  return rest > 0 ? fmt::format("{} and {} steps on", first, rest) : first + " on";
}

// What a controller can make of one weight: 0 stays 0.
std::vector<float> within(const std::vector<float>& own, std::vector<float> bound) {
  for (size_t b = 0; b < own.size(); ++b) bound[b] = own[b] == 0 ? 0.0F : bound[b];
  return bound;
}

}  // namespace

std::vector<ProfileEnd> profile_ends(const BoundPolicy& bound) {
  const Policy& p = bound.policy();
  const auto name = [&](int profile) { return p.profiles[static_cast<size_t>(profile)].name; };
  std::vector<ProfileEnd> out;
  if (p.adaptation && p.adaptation->mode == AdaptMode::on) {
    for (const AdaptationSpec::Entry& e : p.adaptation->profiles) {
      out.push_back({e.profile, bound.stated_weights(e.broad), "adaptation",
                     fmt::format("{} adapts, broad end {}", name(e.profile), name(e.broad)), e.at});
      out.push_back({e.profile, bound.stated_weights(e.profile), "adaptation",
                     fmt::format("{} adapts, narrow end its own", name(e.profile)), e.at});
    }
  }
  if (p.controller && p.controller->mode == AdaptMode::on) {
    for (const ControllerSpec::Entry& e : p.controller->profiles) {
      const std::vector<float>& own = bound.stated_weights(e.profile);
      out.push_back({e.profile, within(own, bound.stated_weights(e.floor)), "controller",
                     fmt::format("{} goes down to {} at most", name(e.profile), name(e.floor)), e.at});
      out.push_back({e.profile, within(own, bound.stated_weights(e.ceiling)), "controller",
                     fmt::format("{} goes up to {} at most", name(e.profile), name(e.ceiling)), e.at});
    }
  }
  for (const ScheduleEntry& e : p.schedule) {
    out.push_back({e.profile, bound.stated_weights(e.to), "schedule " + in_quotes(e.name),
                   fmt::format("{} reaches {} {}{}", name(e.profile), name(e.to), when_text(e),
                               e.back ? ", and may go back" : ""),
                   e.at});
  }
  return out;
}

BoundPolicy at_start(const BoundPolicy& bound) {
  BoundPolicy out = bound;
  const auto& adaptation = bound.policy().adaptation;
  if (!adaptation || adaptation->mode != AdaptMode::on) return out;
  for (const AdaptationSpec::Entry& e : adaptation->profiles) out.set_weights(e.profile, bound.stated_weights(e.broad));
  return out;
}

DocumentReach reach_of(const BoundPolicy& bound, const DocumentFacts& facts, const Date& today) {
  DocumentReach out;
  if (bound.widest().resolve(facts, today).excluded) {
    out.start = bound.resolve(facts, today);
    return out;
  }
  const BoundPolicy start = at_start(bound);
  out.start = start.resolve(facts, today);
  out.start.excluded = false;
  const std::vector<TableEntry> table = bound.policy().table();
  std::set<std::string> saying;
  for (const Match& m : out.start.matched) {
    if (m.in_window) saying.insert(table[static_cast<size_t>(m.rule)].profile);
  }
  for (const ProfileEnd& end : profile_ends(bound)) {
    if (saying.count(bound.policy().profiles[static_cast<size_t>(end.profile)].name) == 0) continue;
    BoundPolicy there = start;
    there.set_weights(end.profile, end.weights);
    out.ends.push_back({end.section + ": " + end.text, there.resolve(facts, today).weights});
  }
  return out;
}

}  // namespace govtrain
