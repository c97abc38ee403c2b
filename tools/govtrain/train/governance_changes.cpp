// What changes between two steps: a newer policy, another day, revocations, the schedule; and what resuming needs of
// it.
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/governance.h"
#include "tools/govtrain/train/policy_version.h"
#include "tools/govtrain/train/run_head.h"

namespace govtrain {
namespace {

using nlohmann::json;

// Where some block gets less, or more, than before.
bool narrower(const Decision& before, const Decision& after) {
  for (size_t b = 0; b < before.weights.size(); ++b)
    if (std::abs(after.weights[b]) < std::abs(before.weights[b])) return true;
  return false;
}

std::string documents_are(const std::vector<std::string>& documents) {
  const auto n = static_cast<int64_t>(documents.size());
  return fmt::format("{} {} {}", n, noun(n, "document"), are(n));
}

// The modes that differ, by section.
json switched_modes(const Policy& before, const Policy& after) {
  json out = json::object();
  const auto tell = [&](const char* section, const auto& a, const auto& b) {
    if (a && b && a->mode != b->mode) out[section] = {{"before", name(a->mode)}, {"after", name(b->mode)}};
  };
  tell("adaptation", before.adaptation, after.adaptation);
  tell("controller", before.controller, after.controller);
  return out;
}

}  // namespace

Scheduler Governance::scheduler() const {
  std::vector<std::vector<float>> weights;
  for (size_t p = 0; p < policy_.policy().profiles.size(); ++p) weights.push_back(policy_.weights(static_cast<int>(p)));
  return {policy_.policy().schedule, std::move(weights), policy_.blocks()};
}

void Governance::record(const std::string& kind, const json& head, const Lists& lists, const std::string& text,
                        bool external, size_t part) {
  constexpr size_t most = 60000;  // bytes of a record
  json payload = head, rest = head;
  for (const char* key : {"rules", "text", "parts"}) rest.erase(key);
  size_t bytes = payload.dump().size();
  std::string said = text;
  bool empty = true;  // of lists
  const auto emit = [&] {
    if (part > 0) payload["part"] = part;
    events_.push_back({kind, std::exchange(payload, rest), std::exchange(said, ""), external});
    ++part;
    bytes = rest.dump().size();
    empty = true;
  };
  for (const auto& [name, items] : lists) {
    for (const std::string& item : items) {
      const size_t more = json(item).dump().size() + 1;
      if (bytes + more > most && !(empty && payload == rest)) emit();
      bytes += more;
      payload[name].push_back(item);
      empty = false;
    }
  }
  emit();
}

void Governance::begin_step(const TrainingState& state, const Observation& outside) {
  step_ = state.step;
  take_in(outside);
  schedule(state);
}

void Governance::take_in(const Observation& outside) {
  if (outside.day) advance_day(*outside.day, true);
  if (outside.policy) replace_policy(*outside.policy);
  if (outside.revocations) revoke(*outside.revocations);
}

void Governance::replace_policy(const SeenFile& seen) {
  const int64_t step = step_ + 1;
  const std::string old_id = policy_.policy().id();
  const auto refuse = [&](const std::string& problem) {
    record("policy",
           {{"id", old_id}, {"step", step}, {"day", date_.text()}, {"seen", seen.sha256}, {"problem", problem}}, {},
           fmt::format("step {} | the policy's file changed, but {} stays in force:\n{}", step, old_id, problem), true);
  };
  if (!seen.problem.empty()) return refuse(seen.problem);
  if (seen.content.empty() || seen.content.front() == file_text_) return;  // comments or layout
  Diagnostics diagnostics;
  const std::optional<Policy> policy = Policy::parse("policy", seen.content.front(), diagnostics);
  if (!policy) return refuse(diagnostics.render());
  const Policy& old = policy_.policy();
  if (policy->name != old.name) return refuse(fmt::format("it is another policy, {}", in_quotes(policy->name)));
  if (!is_newer(policy->version, old.version).value_or(false)) {
    return refuse(
        fmt::format("its version {} is not newer than {}", in_quotes(policy->version), in_quotes(old.version)));
  }
  const auto learned = [](const Policy& p) {  // sections that a part of the run was built from when it began
    Policy only;
    only.profiles = p.profiles;
    only.adaptation = p.adaptation;
    only.controller = p.controller;
    only.entropy = p.entropy;
    for (Profile& profile : only.profiles) profile.entries.clear();
    return only.unswitched();
  };
  const bool sections =
      old.adaptation || old.controller || old.entropy || policy->adaptation || policy->controller || policy->entropy;
  if (sections && learned(*policy) != learned(old))
    return refuse(
        "'adaptation' and 'controller' but for their modes, 'entropy', and the list of profiles cannot change while a "
        "run trains");
  std::optional<BoundPolicy> bound = BoundPolicy::bind(*policy, policy_.block_map(), diagnostics);
  if (!bound) return refuse(diagnostics.render());
  if (logged_) {
    if (const auto problem = too_large_record(*bound)) return refuse(*problem);
  }

  std::vector<Decision> before;
  for (size_t d = 0; d < facts_.size(); ++d) before.push_back(decision(static_cast<int32_t>(d)));
  const Policy in_file = Policy::parse("policy", file_text_, diagnostics).value();  // without the start's revocations
  switched_ = in_file.unswitched() == policy->unswitched();
  const json modes = switched_ ? switched_modes(in_file, *policy) : json();
  const auto kept = switched_ ? kept_by(*policy) : decltype(changed_)();
  policy_ = std::move(*bound);
  file_text_ = seen.content.front();
  if (!switched_) scheduler_ = scheduler();
  changed_.clear();
  for (const auto& [name, weights] : kept) change_profile(name, weights);
  invalidate();
  std::vector<std::string> restricted, widened;
  for (size_t d = 0; d < facts_.size(); ++d) {
    const Decision& now = decision(static_cast<int32_t>(d));
    if (now.weights == before[d].weights) continue;
    (narrower(before[d], now) ? restricted : widened).push_back(labels_[d].ex);
  }
  std::vector<json> heads = policy_records(policy_);
  for (json& head : heads) {
    head["step"] = step;
    head["day"] = date_.text();
    head["seen"] = seen.sha256;
  }
  heads.front()["replaces"] = old_id;
  if (switched_) heads.front()["switched"] = modes;
  for (size_t i = 0; i + 1 < heads.size(); ++i) events_.push_back({"policy", heads[i], "", true});
  std::string what;
  for (const auto& [section, mode] : modes.items())
    what += fmt::format("{} goes from {} to {}; ", section, mode.at("before").get<std::string>(),
                        mode.at("after").get<std::string>());
  const std::string text =
      fmt::format("step {} | policy {} replaces {}: {}{} restricted, {} widened; what the start excluded stays absent",
                  step, policy_.policy().id(), old_id, what, documents_are(restricted), widened.size());
  record("policy", heads.back(), {{"restricted", restricted}, {"widened", widened}}, text, true, heads.size() - 1);
  named_ = {};
  for (size_t p = 0; p < policy_.policy().profiles.size(); ++p) {
    const std::string& name = policy_.policy().profiles[p].name;
    named_.insert(name);
    events_.push_back(
        {"profile", {{"id", name}, {"step", step}, {"w", policy_.weights(static_cast<int>(p))}}, "", false});
  }
}

std::map<std::string, std::vector<float>> Governance::kept_by(const Policy& policy) const {
  auto out = changed_;
  const auto drop = [&](const auto& section) {
    if (!section || section->mode != AdaptMode::off) return;
    for (const auto& entry : section->profiles) out.erase(policy.profiles[static_cast<size_t>(entry.profile)].name);
  };
  drop(policy.adaptation);
  drop(policy.controller);
  return out;
}

void Governance::advance_day(const Date& day, bool external) {
  const Date was = date_;
  if (day <= was) return;
  const int64_t step = step_ + 1;
  const std::optional<Date> change = policy_.policy().next_change(was);
  std::vector<std::string> closed, opened;
  for (const PolicyRule& rule : policy_.policy().rules) {
    if (rule.until && *rule.until > was && *rule.until <= day) closed.push_back("rule " + rule.name);
    if (rule.from && *rule.from > was && *rule.from <= day) opened.push_back("rule " + rule.name);
  }
  if (change && *change <= day) {
    std::vector<Decision> before;
    for (size_t d = 0; d < facts_.size(); ++d) before.push_back(decision(static_cast<int32_t>(d)));
    date_ = day;
    invalidate();
    std::vector<std::string> restricted, widened;
    for (size_t d = 0; d < facts_.size(); ++d) {
      const Decision& now = decision(static_cast<int32_t>(d));
      if (now.weights == before[d].weights) continue;
      (narrower(before[d], now) ? restricted : widened).push_back(labels_[d].ex);
    }
    const auto tell = [&](const std::string& kind, const char* what, const std::vector<std::string>& rules,
                          const std::vector<std::string>& documents) {
      if (rules.empty() && documents.empty()) return;
      const json head = {{"step", step}, {"day", day.text()}, {"rules", rules}};
      record(kind, head, {{"documents", documents}},
             fmt::format("step {} | {}: {} {}; {} {}", step, day.text(), join(rules), what, documents.size(),
                         documents.size() == 1 ? "document changes" : "documents change"),
             external);
    };
    tell("expire", "expired", closed, restricted);
    tell("admit", "became valid", opened, widened);
  }
  date_ = day;
  std::vector<std::string> due;
  std::vector<Revocation> later;
  for (const Revocation& item : pending_) {
    if (*item.from <= day) due.push_back(item.entry);
    if (*item.from > day) later.push_back(item);
  }
  pending_ = std::move(later);
  if (due.empty()) return;
  const std::vector<std::string> documents = keep_out(due);
  record("revoke", {{"step", step}, {"day", day.text()}}, {{"due", due}, {"documents", documents}},
         fmt::format("step {} | {}: {} {}; {} kept out from now on", step, day.text(), due.size(),
                     due.size() == 1 ? "revocation takes effect" : "revocations take effect", documents_are(documents)),
         external);
}

std::vector<std::string> Governance::keep_out(const std::vector<std::string>& entries) {
  std::vector<std::string> documents;
  const Exclusion added = as_exclusion("revocations", entries);
  for (size_t d = 0; d < facts_.size(); ++d) {
    std::string now, before;
    if (excludes(added, facts_[d], now) && !excludes(kept_out_, facts_[d], before)) documents.push_back(labels_[d].ex);
  }
  revoked_.insert(entries.begin(), entries.end());
  kept_out_ = as_exclusion("revocations", {revoked_.begin(), revoked_.end()});
  invalidate();
  return documents;
}

void Governance::revoke(const SeenFile& seen) {
  const int64_t step = step_ + 1;
  json head = {{"step", step}, {"day", date_.text()}, {"seen", seen.sha256}};
  if (!seen.problem.empty()) {
    head["problem"] = seen.problem;
    record("revoke", head, {},
           fmt::format("step {} | the revocation list cannot be used; what was revoked stays "
                       "revoked:\n{}",
                       step, seen.problem),
           true);
    return;
  }
  std::vector<std::string> entries, later;
  std::vector<Revocation> pending;
  std::set<std::string> listed;
  for (const std::string& line : seen.content) {
    const size_t space = line.find(' ');
    Revocation item{space == std::string::npos ? std::nullopt : Date::parse(line.substr(0, space)), line};
    if (item.from) item.entry = line.substr(space + 1);
    if (item.from && *item.from > date_) {
      if (!revoked_.contains(item.entry)) pending.push_back(item), later.push_back(line);
    } else if (!revoked_.contains(item.entry) && listed.insert(item.entry).second) {
      entries.push_back(item.entry);
    }
  }
  const bool same = entries.empty() && pending == pending_;
  pending_ = std::move(pending);
  if (same) return;
  const std::vector<std::string> documents = keep_out(entries);
  record("revoke", head, {{"entries", entries}, {"pending", later}, {"documents", documents}},
         fmt::format("step {} | {} {}: {} kept out from now on; {} for a later day", step, entries.size(),
                     noun(static_cast<int64_t>(entries.size()), "revocation"), documents_are(documents), later.size()),
         true);
}

void Governance::schedule(const TrainingState& state) {
  const std::vector<Profile>& profiles = policy_.policy().profiles;
  const auto now = [&](int profile) { return policy_.weights(profile); };
  for (const Scheduler::Change& change : scheduler_.advance(state, now)) {
    const ScheduleEntry& entry = scheduler_.entries()[change.entry];
    const std::string& name = profiles[static_cast<size_t>(change.profile)].name;
    change_profile(name, change.weights);
    json payload = {{"id", name}, {"w", change.weights}, {"step", step_ + 1}, {"schedule", entry.name}};
    if (change.back) payload["back"] = true;
    std::string text;
    if (change.begins) {
      payload["evidence"] = change.evidence;
      std::string values;
      for (const auto& [what, value] : change.evidence) values += fmt::format(", {} {:.6g}", what, value);
      const std::string to = change.back ? "its own weights" : profiles[static_cast<size_t>(entry.to)].name;
      text = fmt::format("step {} | schedule {}: profile {} goes to {}{}{}", step_ + 1, entry.name, name, to,
                         entry.over > 1 ? fmt::format(" over {} steps", entry.over) : "", values);
    }
    events_.push_back({"profile", std::move(payload), std::move(text), false});
  }
}

json Governance::state() const {
  json entries = json::array(), moves = json::array(), pending = json::array();
  for (const Scheduler::Entry& e : scheduler_.state().entries) entries.push_back({e.thrown, e.held});
  for (const auto& [profile, m] : scheduler_.state().moves) {
    moves.push_back({{"profile", profile}, {"entry", m.entry}, {"back", m.back}, {"first", m.first}, {"from", m.from}});
  }
  for (const Revocation& item : pending_) pending.push_back({{"from", item.from->text()}, {"entry", item.entry}});
  return {{"named", named_},
          {"weights", changed_},
          {"start", start_text_},
          {"file", file_text_},
          {"policy", policy_.policy().canonical()},
          {"day", date_.text()},
          {"revoked", revoked_},
          {"pending", pending},
          {"schedule", {{"entries", entries}, {"moves", moves}}}};
}

void Governance::restore(const json& state) {
  try {
    const std::string text = state.at("policy");
    if (text != policy_.policy().canonical()) {
      Diagnostics diagnostics;
      std::optional<Policy> policy = Policy::parse("the checkpoint's policy", text, diagnostics);
      if (!policy) throw Error("governance", "the state in the checkpoint is damaged: {}", diagnostics.render());
      policy_ = BoundPolicy::bind(std::move(*policy), BlockMap(policy_.block_map()));
      scheduler_ = scheduler();
    }
    file_text_ = state.at("file");
    for (const auto& [name, weights] : state.at("weights").items()) {
      change_profile(name, weights.get<std::vector<float>>());
    }
    named_ = state.at("named").get<std::set<std::string>>();
    date_ = Date::parse(state.at("day").get<std::string>()).value_or(date_);
    (void)keep_out(state.at("revoked").get<std::vector<std::string>>());
    for (const json& item : state.at("pending")) {
      pending_.push_back({Date::parse(item.at("from").get<std::string>()).value_or(date_), item.at("entry")});
    }
    Scheduler::State s;
    for (const json& e : state.at("schedule").at("entries")) s.entries.push_back({e.at(0), e.at(1)});
    for (const json& m : state.at("schedule").at("moves")) {
      s.moves[m.at("profile")] = {m.at("entry"), m.at("back"), m.at("first"), m.at("from")};
    }
    scheduler_.restore(std::move(s));
    invalidate();
  } catch (const json::exception& e) {
    throw Error("governance", "the state in the checkpoint is damaged: {}", e.what());
  }
}

}  // namespace govtrain
