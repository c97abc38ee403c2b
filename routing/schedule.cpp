#include "routing/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/config/scalar.h"
#include "core/error.h"

namespace govtrain {
namespace {

int64_t steps(const YamlNode* node, const std::string& what, Diagnostics& diagnostics) {
  int64_t out = 1;
  if (node == nullptr) return out;
  const auto problem = node->kind == YamlNode::Kind::scalar
                           ? parse_integer({node->text, node->quoted}, "", out)
                           : Problem{"expected a whole number, found " + describe(*node), ""};
  if (problem) diagnostics.error(node->at, fmt::format("{}: {}", what, problem->message), problem->hint);
  if (!problem && (out < 1 || out > int64_t{1} << 40))
    diagnostics.error(node->at, fmt::format("{} is {}; expected steps, at least 1", what, out));
  return out;
}

ScheduleEntry read_entry(const YamlNode& node, size_t number, const ProfileIndex& profile, Diagnostics& diagnostics) {
  ScheduleEntry out;
  out.at = node.at;
  std::string what = fmt::format("schedule {}", number);
  if (const YamlNode* name = node.find("name"); name != nullptr && !name->text.empty())
    what += fmt::format(" {}", in_quotes(name->text));
  MapReader reader(node, what, diagnostics);
  if (!reader.ok()) return out;
  if (const auto name = reader.required_text("name")) out.name = *name;
  const YamlNode* from = reader.required("profile", "the profile whose weights change");
  if (from != nullptr) out.profile = profile(*from, what);
  const YamlNode* to = reader.required("to", "the profile whose weights it takes");
  if (to != nullptr) out.to = profile(*to, what + ": 'to'");
  if (from != nullptr && from->text == "none")
    diagnostics.error(from->at, fmt::format("{}: the profile 'none' never changes", what));
  if (from != nullptr && to != nullptr && from->text == to->text)
    diagnostics.error(to->at, fmt::format("{}: 'to' is the profile itself", what));
  if (const YamlNode* when = reader.required("when", "for example 'when: {epoch: 1}'")) {
    if (auto condition = read_state_condition(*when, what + ": 'when'", diagnostics)) out.when = std::move(*condition);
  }
  if (const YamlNode* back = reader.optional("back"))
    out.back = read_state_condition(*back, what + ": 'back'", diagnostics);
  out.over = steps(reader.optional("over"), what + ": 'over'", diagnostics);
  out.hold = steps(reader.optional("hold"), what + ": 'hold'", diagnostics);
  reader.finish();
  return out;
}

}  // namespace

std::vector<ScheduleEntry> read_schedule(const YamlNode& node, const ProfileIndex& profile, Diagnostics& diagnostics) {
  std::vector<ScheduleEntry> out;
  if (node.kind != YamlNode::Kind::list) {
    diagnostics.error(node.at, fmt::format("'schedule' must be a list ('- name: ...'), found {}", describe(node)));
    return out;
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    ScheduleEntry entry = read_entry(node.items[i], i + 1, profile, diagnostics);
    for (const ScheduleEntry& other : out) {
      if (entry.name.empty() || other.name != entry.name) continue;
      diagnostics.error(node.items[i].find("name")->at,
                        fmt::format("schedule {}: the name is taken by the entry at {}", i + 1, to_string(other.at)),
                        "rename one");
    }
    out.push_back(std::move(entry));
  }
  return out;
}

std::string schedule_text(const std::vector<ScheduleEntry>& entries, const std::vector<std::string>& names) {
  const auto quoted = [](const std::string& text) { return nlohmann::json(text).dump(); };
  std::vector<std::string> items;
  for (const ScheduleEntry& e : entries) {
    std::vector<std::string> parts = {
        "\"name\": " + quoted(e.name), "\"profile\": " + quoted(names[static_cast<size_t>(e.profile)]),
        "\"to\": " + quoted(names[static_cast<size_t>(e.to)]), "\"when\": " + to_flow(e.when)};
    if (e.back) parts.push_back("\"back\": " + to_flow(*e.back));
    if (e.over != 1) parts.push_back(fmt::format("\"over\": {}", e.over));
    if (e.hold != 1) parts.push_back(fmt::format("\"hold\": {}", e.hold));
    items.push_back("{" + join(parts) + "}");
  }
  return "[" + join(items) + "]";
}

Scheduler::Scheduler(std::vector<ScheduleEntry> entries, std::vector<std::vector<float>> weights,
                     std::vector<std::string> blocks)
    : entries_(std::move(entries)), weights_(std::move(weights)), blocks_(std::move(blocks)) {
  state_.entries.resize(entries_.size());
}

std::vector<Scheduler::Change> Scheduler::advance(const TrainingState& state,
                                                  const std::function<std::vector<float>(int profile)>& now) {
  const int64_t step = state.step + 1;
  std::map<int, Evidence> begun;  // by profile
  for (size_t i = 0; i < entries_.size(); ++i) {
    const ScheduleEntry& e = entries_[i];
    Entry& s = state_.entries[i];
    if (s.thrown && !e.back) continue;
    Evidence evidence;
    s.held = holds(s.thrown ? *e.back : e.when, state, blocks_, evidence).value_or(false) ? s.held + 1 : 0;
    if (s.held < e.hold) continue;
    state_.moves[e.profile] = {i, s.thrown, step, now(e.profile)};
    begun[e.profile] = std::move(evidence);
    s = {!s.thrown, 0};
  }
  std::vector<Change> out;
  for (auto move = state_.moves.begin(); move != state_.moves.end();) {
    const auto& [profile, m] = *move;
    const ScheduleEntry& e = entries_[m.entry];
    const std::vector<float>& target = weights_[static_cast<size_t>(m.back ? e.profile : e.to)];
    const int64_t done = step - m.first + 1;
    Change change{profile, target, m.entry, m.back, false, {}};
    if (const auto found = begun.find(profile); found != begun.end()) {
      change.begins = true;
      change.evidence = std::move(found->second);
    }
    if (done < e.over) {
      const double share = static_cast<double>(done) / static_cast<double>(e.over);
      for (size_t b = 0; b < target.size(); ++b) {
        const double from = static_cast<double>(m.from[b]);
        change.weights[b] = static_cast<float>(from + share * (static_cast<double>(target[b]) - from));
      }
    }
    out.push_back(std::move(change));
    move = done >= e.over ? state_.moves.erase(move) : std::next(move);
  }
  return out;
}

void Scheduler::restore(State state) {
  bool fits = state.entries.size() == entries_.size();
  for (const auto& [profile, move] : state.moves) {
    fits = fits && profile > 0 && static_cast<size_t>(profile) < weights_.size() && move.entry < entries_.size() &&
           entries_[move.entry].profile == profile && move.from.size() == blocks_.size();
  }
  if (!fits)
    throw Error("schedule", "the state belongs to another schedule; expected one of {} entries", entries_.size());
  state_ = std::move(state);
}

}  // namespace govtrain
