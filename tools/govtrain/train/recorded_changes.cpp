#include "tools/govtrain/train/recorded_changes.h"

#include <fmt/format.h>

#include "lineage/log_format.h"
#include "lineage/reader.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/run_head.h"

namespace govtrain {
namespace {

using nlohmann::json;

void add_change(RecordedChanges& out, uint64_t index, const ControlRecord& record) {
  const json& p = record.payload;
  if (out.policies.empty()) {
    throw Failure(exit_unverified,
                  fmt::format("entry {} of {} changes a profile before there is a policy", index, out.origin));
  }
  RecordedChange change{p.at("step").get<int64_t>(), index, out.policies.back().id, record, {}};
  if (record.kind == "adapt") {
    for (const auto& [name, weights] : p.at("profiles").items()) {
      change.weights[name] = weights.at("after").get<std::vector<float>>();
    }
  } else {
    change.weights[p.at("profile")] = p.at("after").get<std::vector<float>>();
  }
  const std::string outcome = p.value("outcome", "");
  if (record.kind == "review") out.verdicts[p.at("proposal")] = outcome;
  if (record.kind == "proposal") out.proposals.push_back(change);
  if (record.kind == "adapt" || outcome == "applied") out.changes.push_back(std::move(change));
}

void add_record(RecordedChanges& out, uint64_t index, const ControlRecord& record) {
  const json& p = record.payload;
  out.adapts = out.adapts || record.kind == "adapt";
  if (record.kind == "run" || record.kind == "blocks") {
    for (const json& block : p.at("blocks")) out.blocks.push_back(block.at("name"));
  } else if (record.kind == "policy" && p.contains("text")) {
    if (p.value("part", 0) == 0) {
      RecordedPolicy next{p.at("id"), "", {}};
      // Where only modes were switched, the log states what was reached, not what the profiles have of their own.
      if (p.contains("switched") && !out.policies.empty()) next.profiles = out.policies.back().profiles;
      out.policies.push_back(std::move(next));
    }
    add_policy_text(p, out.policies.back().text);
  } else if (record.kind == "profile" && !out.policies.empty()) {
    out.policies.back().profiles.try_emplace(p.at("id"), p.at("w").get<std::vector<float>>());
  } else if (record.kind == "step") {
    out.steps = p.at("step");
  } else if (record.kind == "adapt" && p.value("event", "") == "skipped") {
    return;  // nothing was measured, nothing changed
  } else if (record.kind == "adapt" || record.kind == "proposal" ||
             (record.kind == "review" && p.contains("proposal"))) {
    add_change(out, index, record);
  }
}

}  // namespace

BoundPolicy bind_recorded(const RecordedPolicy& recorded, const std::vector<std::string>& names) {
  using nlohmann::ordered_json;  // the order of profiles decides between equals
  BlockMap blocks;
  blocks.names = names;
  blocks.info.resize(names.size());  // where they lie is not needed: every weight stands at its block's name
  Diagnostics diagnostics;
  std::optional<BoundPolicy> bound;
  try {
    ordered_json text = ordered_json::parse(recorded.text);
    for (const auto& [name, weights] : recorded.profiles) {
      if (!text.contains("profiles") || !text.at("profiles").contains(name)) continue;
      ordered_json& profile = text.at("profiles").at(name);
      ordered_json stated = ordered_json::object();
      if (profile.contains("allow_negative")) stated["allow_negative"] = profile.at("allow_negative");
      for (size_t b = 0; b < names.size(); ++b) stated[names[b]] = weights.at(b);
      profile = std::move(stated);
    }
    std::optional<Policy> policy = Policy::parse("the policy in the log", text.dump(), diagnostics);
    if (policy) bound = BoundPolicy::bind(std::move(*policy), blocks, diagnostics);
  } catch (const std::exception& e) {
    throw Failure(exit_unverified, fmt::format("the policy {} in the log cannot be read: {}", recorded.id, e.what()));
  }
  if (!bound) {
    throw Failure(exit_unverified, fmt::format("the policy {} in the log does not fit its blocks:\n{}", recorded.id,
                                               diagnostics.render()));
  }
  return std::move(*bound);
}

namespace {

std::optional<std::string> problem_of(const RecordedChanges& log, const RecordedChange& change) {
  const json& record = change.record.payload;
  if (change.record.kind == "review") {
    for (const RecordedChange& p : log.proposals) {
      if (p.record.payload.at("id") != record.at("proposal")) continue;
      if (p.weights == change.weights) return std::nullopt;
      return "it is not what was proposed";
    }
    return "there is no such proposal";
  }
  for (const RecordedPolicy& policy : log.policies) {
    if (policy.id != record.value("policy", "")) continue;
    const BoundPolicy bound = bind_recorded(policy, log.blocks);
    return change.record.kind == "adapt" ? check_adaptation(bound, record) : check_proposal(bound, record);
  }
  return "its policy is not in the log";
}

}  // namespace

std::vector<std::string> check_recorded(const RecordedChanges& log) {
  std::vector<std::string> out;
  const auto check = [&](const RecordedChange& change) {
    if (const auto problem = problem_of(log, change)) {
      out.push_back(fmt::format("entry {} ({}): {}", change.index, change.record.kind, *problem));
    }
  };
  for (const RecordedChange& change : log.proposals) check(change);
  for (const RecordedChange& change : log.changes) {
    if (change.record.kind != "proposal") check(change);
  }
  return out;
}

std::optional<std::string> stale(const RecordedChanges& log, const RecordedChange& proposal) {
  const std::string profile = proposal.record.payload.at("profile");
  std::optional<std::string> out;
  for (const RecordedChange& change : log.changes) {
    const auto weights = change.weights.find(profile);
    if (change.index <= proposal.index || weights == change.weights.end()) continue;
    out.reset();
    if (json(weights->second) != proposal.record.payload.at("before"))
      out = fmt::format("the profile {} has had other weights since step {}", profile, change.step);
  }
  return out;
}

RecordedChanges read_recorded_changes(LogReader& reader) {
  RecordedChanges out;
  out.origin = reader.checkpoint().origin;
  const auto visit = [&](uint64_t index, std::string_view leaf) {
    if (leaf.find(",\"k\":\"ex\",") != std::string_view::npos) return true;
    const Result<ControlRecord> record = parse_control(leaf);
    try {
      if (record.ok()) add_record(out, index, record.value());
    } catch (const json::exception& e) {
      throw Failure(exit_unverified,
                    fmt::format("entry {} of {} is not the record of a change ({})", index, out.origin, e.what()));
    }
    return true;
  };
  require(reader.visit_effective(0, reader.size(), visit), exit_unverified);
  return out;
}

RecordedChanges read_recorded_changes(FileSystem& fs, const std::string& place) {
  const std::string inside = join_path(place, "lineage");
  const std::string folder = fs.exists(inside) ? inside : place;
  if (!fs.exists(join_path(folder, checkpoint_file))) {
    throw Failure(exit_data, fmt::format("there is no log in {}; expected a run folder or the folder of a log", place));
  }
  LogReader reader = require(LogReader::open(fs, folder, require(read_log_key(fs, folder))), exit_unverified);
  return read_recorded_changes(reader);
}

}  // namespace govtrain
