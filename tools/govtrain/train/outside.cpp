#include "tools/govtrain/train/outside.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "core/hash.h"
#include "lineage/record.h"
#include "routing/policy.h"
#include "tools/govtrain/config/policy_needs.h"
#include "tools/govtrain/train/run_head.h"

namespace govtrain {
namespace {

using nlohmann::json;

Result<std::string> bytes_of(const std::string& path) { return real_file_system().read_at_most(path, max_yaml_bytes); }

// Records hold no paths: a message names the file alone.
std::string without_folder(std::string text, const std::string& path) {
  const std::string folder = parent_path(path) + "/";
  for (size_t at; folder.size() > 1 && (at = text.find(folder)) != std::string::npos;) text.erase(at, folder.size());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  constexpr size_t most = 4000;
  return text.size() <= most ? text : text.substr(0, text.rfind('\n', most));
}

SeenFile unreadable(const char* what, const Status& why, const std::string& path) {
  return {"missing",
          without_folder(std::string(what) + " cannot be read: " + why.message(), path) +
              "; what it said last stays in force; put the file back, or a newer one in its place",
          {}};
}

SeenFile file_of(const json& value) { return {value.at("sha256"), value.at("problem"), value.at("content")}; }

}  // namespace

bool FileWatch::stirred(const std::vector<std::string>& paths) {
  std::vector<int64_t> now;
  int64_t newest = 0;
  for (const std::string& path : paths) {
    struct stat s {};
    if (::stat(path.c_str(), &s) != 0) s = {};
    newest = std::max<int64_t>(newest, s.st_mtim.tv_sec);
    for (const int64_t v : {static_cast<int64_t>(s.st_ino), static_cast<int64_t>(s.st_size),
                            static_cast<int64_t>(s.st_mtim.tv_sec), static_cast<int64_t>(s.st_mtim.tv_nsec)})
      now.push_back(v);
  }
  const bool changed = now != last_;
  if (!changed && settled_) return false;
  last_ = std::move(now);
  const auto clock = std::chrono::system_clock::now().time_since_epoch();
  settled_ = std::chrono::duration_cast<std::chrono::seconds>(clock).count() > newest + 2;
  return true;
}

Outside::Outside(const RunConfig& config, const Date& start, std::function<Date()> today)
    : config_(config),
      clock_(config.policy.clock),
      steps_per_day_(config.policy.steps_per_day),
      start_(start),
      day_(start),
      today_(std::move(today)),
      revocations_(config.policy.revocations),
      policy_(config.policy.watch ? config.policy.file : "") {
  if (clock_ == "auto") clock_ = config.policy.date.empty() ? "wall" : "fixed";
  policy_files_ = {policy_};
}

SeenFile Outside::read_revocations_file() {
  const Result<std::string> text = bytes_of(revocations_);
  if (!text.ok()) return unreadable("the revocation list", text.status(), revocations_);
  SeenFile out{hex(sha256(text.value())), "", {}};
  Diagnostics diagnostics;
  const auto list = read_revocations(revocations_, text.value(), diagnostics);
  if (!list) out.problem = without_folder(diagnostics.render(), revocations_);
  if (list) {
    for (const Revocation& item : *list) out.content.push_back(item.text());
  }
  return out;
}

SeenFile Outside::read_policy_files() {
  const Result<std::string> text = bytes_of(policy_);
  if (!text.ok()) return unreadable("the policy", text.status(), policy_);
  Diagnostics diagnostics;
  const std::optional<Policy> policy = Policy::read(policy_, diagnostics);
  std::string all = text.value();
  if (policy) {
    for (const auto& [file, bytes] : policy->sources()) diagnostics.add_source(file, bytes);
    check_needs(*policy, config_, diagnostics);
    policy_files_.clear();
    for (const auto& [file, bytes] : policy->sources()) policy_files_.push_back(file);
    all = policy->canonical();
  }
  SeenFile out{hex(sha256(all)), "", {}};
  if (diagnostics.has_errors())
    out.problem = without_folder(diagnostics.render(), policy_);
  else
    out.content = {all};
  return out;
}

Observation Outside::look_around(int64_t step) {
  Observation out;
  if (clock_ == "wall") {
    const Date now = today_();
    if (now > day_) out.day = now;  // a clock that is put back does not bring a day back
  }
  if (clock_ == "simulated") {
    const Date now = start_.plus_days((step - 1) / steps_per_day_);
    if (now > day_) out.day = now;
  }
  if (!revocations_.empty() && revocations_watch_.stirred({revocations_})) {
    SeenFile file = read_revocations_file();
    if (file.sha256 != revocations_seen_) out.revocations = std::move(file);
  }
  if (!policy_.empty() && policy_watch_.stirred(policy_files_)) {
    SeenFile file = read_policy_files();
    if (file.sha256 != policy_seen_) out.policy = std::move(file);
  }
  return out;
}

Observation Outside::look(int64_t step) {
  Observation out;
  if (step > horizon_) {
    out = look_around(step);
  } else if (const auto found = replay_.find(step); found != replay_.end()) {
    const json& seen = found->second;
    if (seen.contains("day")) out.day = Date::parse(seen.at("day").get<std::string>());
    if (seen.contains("revocations")) out.revocations = file_of(seen.at("revocations"));
    if (seen.contains("policy")) out.policy = file_of(seen.at("policy"));
  }
  replay_.erase(step);
  if (out.day) day_ = *out.day;
  if (out.revocations) revocations_seen_ = out.revocations->sha256;
  if (out.policy) policy_seen_ = out.policy->sha256;
  return out;
}

Status Outside::replay(LogReader& log, uint64_t from, int64_t step) {
  return log.visit(from, log.size(), [&](uint64_t, std::string_view leaf) {
    if (leaf.find(",\"k\":\"ex\",") != std::string_view::npos) return true;
    const Result<ControlRecord> record = parse_control(leaf);
    if (!record.ok()) return true;  // an example, or what `lineage verify` reports
    const json& p = record.value().payload;
    const auto at = p.find("step");
    if (at == p.end() || !at->is_number_integer() || at->get<int64_t>() <= step) return true;
    const std::string& kind = record.value().kind;
    if (kind == "infer") return true;  // its day is that of a text, not of the run
    if (kind != "step" && !p.contains("seen") && !p.contains("day")) return true;
    horizon_ = std::max(horizon_, at->get<int64_t>());
    if (kind == "step") return true;
    json& seen = replay_[at->get<int64_t>()];
    if (p.contains("day")) seen["day"] = p.at("day");
    if (!p.contains("seen")) return true;
    const std::string file = kind == "revoke" ? "revocations" : "policy";
    if (p.value("part", 0) == 0)
      seen[file] = {{"sha256", p.at("seen")}, {"problem", p.value("problem", "")}, {"content", json::array()}};
    for (const char* key : {"entries", "pending"}) {
      if (kind == "revoke" && p.contains(key))
        for (const json& entry : p.at(key)) seen[file]["content"].push_back(entry);
    }
    if (kind == "policy" && p.contains("text")) {
      const json& content = seen[file]["content"];
      std::string text = content.empty() ? "" : content.at(0).get<std::string>();
      add_policy_text(p, text);
      seen[file]["content"] = {text};
    }
    return true;
  });
}

json Outside::state() const {
  json replay = json::array();
  for (const auto& [step, seen] : replay_) replay.push_back({{"step", step}, {"seen", seen}});
  return {{"day", day_.text()},
          {"revocations", revocations_seen_},
          {"policy", policy_seen_},
          {"horizon", horizon_},
          {"replay", replay}};
}

void Outside::restore(const json& state) {
  day_ = Date::parse(state.at("day").get<std::string>()).value_or(day_);
  revocations_seen_ = state.at("revocations");
  policy_seen_ = state.at("policy");
  horizon_ = state.at("horizon");
  for (const json& item : state.at("replay")) replay_[item.at("step")] = item.at("seen");
}

}  // namespace govtrain
