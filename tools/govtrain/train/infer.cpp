#include "tools/govtrain/train/infer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/hash.h"
#include "lineage/log_format.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/config/blocks_config.h"
#include "tools/govtrain/config/policy_needs.h"
#include "tools/govtrain/data/clean.h"
#include "tools/govtrain/train/policy_version.h"
#include "tools/govtrain/train/publish.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {
namespace {

using nlohmann::json;

std::string digest_text(const std::string& bytes) { return "sha256:" + hex(sha256(bytes)); }

Policy parsed(const std::string& text) {
  Diagnostics diagnostics;
  std::optional<Policy> policy = Policy::parse("the checkpoint's policy", text, diagnostics);
  if (!policy) throw ConfigError(diagnostics);
  return std::move(*policy);
}

// `file` when it is the run's policy, or a newer version of it.
Policy newer_policy(const std::string& file, const Policy& run) {
  Policy policy = Policy::load(file);
  if (policy.name != run.name) {
    throw Failure(exit_usage, fmt::format("--policy: {} is the policy '{}'; expected one named '{}', as the run's",
                                          file, policy.name, run.name));
  }
  if (policy.canonical() != run.canonical() && !is_newer(policy.version, run.version).value_or(false)) {
    throw Failure(exit_usage, fmt::format("--policy: {} has version '{}', which is not newer than the run's '{}'", file,
                                          policy.version, run.version));
  }
  return policy;
}

// What was revoked while the run trained, and what its list says by that day.
Exclusion revocations(const json& part, const Policy& policy, const RunConfig& config, const Date& day) {
  std::set<std::string> entries = part.at("revoked").get<std::set<std::string>>();
  for (const json& item : part.at("pending")) {
    const std::optional<Date> from = Date::parse(item.at("from").get<std::string>());
    if (from && *from <= day) entries.insert(item.at("entry").get<std::string>());
  }
  Diagnostics diagnostics;
  for (const Revocation& item : listed_revocations(policy, config, {config.policy.revocations}, diagnostics)) {
    if (!item.from || *item.from <= day) entries.insert(item.entry);
  }
  diagnostics.throw_if_errors();
  return as_exclusion(revocations_name, {entries.begin(), entries.end()});
}

void set_weights(BoundPolicy& policy, const json& weights) {
  for (const auto& [name, w] : weights.items()) {
    const std::optional<int> profile = policy.policy().profile_named(name);
    if (profile) policy.set_weights(*profile, w.get<std::vector<float>>());
  }
}

bool is_blank(const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; }

}  // namespace

std::string run_of(FileSystem& fs, const std::string& model) {
  const std::filesystem::path path = std::filesystem::path(model).lexically_normal();
  const std::string folder = path.has_filename() ? path.string() : path.parent_path().string();
  const auto has_log = [&](const std::string& run) {
    return fs.exists(join_path(join_path(run, "lineage"), checkpoint_file)) && fs.exists(join_path(run, "ckpt"));
  };
  if (has_log(folder)) return folder;
  const std::filesystem::path store = std::filesystem::absolute(folder).parent_path();
  if (store.filename() != "ckpt" || !has_log(store.parent_path())) return "";
  return store.parent_path().string();
}

Inference::Inference(FileSystem& fs, const std::string& run, const std::string& checkpoint, const Transformer& model,
                     const InferenceOptions& options)
    : file_(read_run_config(run, {"run.resume=auto", "run.out=" + run})), meta_(options.meta) {
  if (file_->diagnostics.has_errors()) throw ConfigError(file_->diagnostics);
  const RunConfig& config = file_->config;
  Result<std::unique_ptr<RunLog>> log = RunLog::open(fs, log_options(config));
  if (!log.ok() && log.status().code() == StatusCode::locked) {
    throw Failure(exit_failure, fmt::format("{} is in progress, and its model writes text when it has stopped: {}", run,
                                            log.status().message()));
  }
  log_ = require(std::move(log), exit_unverified);
  const ResumePoint point{checkpoint, require(load_trainer_state(fs, checkpoint))};
  classifier_ = classification_of(config);
  check_same_classification(point, classifier_.get());
  try {
    const json& part = point.state.parts.at("governance");
    const std::optional<Date> saved = Date::parse(part.at("day").get<std::string>());
    const std::optional<Date> given = Date::parse(options.date);
    if (!options.date.empty() && !given)
      throw Failure(exit_usage, fmt::format("--date: expected YYYY-MM-DD, got '{}'", options.date));
    if (!saved) throw Failure(exit_data, checkpoint + ": the day of its policy is not a date");
    day_ = given ? *given : std::max(*saved, policy_date(config));

    Policy in_force = parsed(part.at("policy"));
    id_ = in_force.id();
    std::string text = in_force.canonical();
    Policy bare = in_force;  // as its file gives it
    std::erase_if(bare.exclusions, [](const Exclusion& e) { return e.name == revocations_name; });
    const bool replaced = !options.policy.empty();
    if (replaced) {
      bare = newer_policy(options.policy, bare);
      id_ = bare.id();
      text = bare.canonical();
    }
    revoked_ = revocations(part, bare, config, day_);
    Diagnostics diagnostics;
    policy_ = BoundPolicy::bind(std::move(bare), blocks_of(config, model.parameters().infos()), diagnostics);
    if (!policy_) throw ConfigError(diagnostics);
    if (!replaced) set_weights(*policy_, part.at("weights"));
    head_ = {{"step", point.state.step},
             {"model", digest_text(require(fs.read(join_path(checkpoint, "model.safetensors"))))},
             {"policy", id_},
             {"policy_sha256", digest_text(text)},
             {"day", day_.text()}};
    if (classifier_) head_["clv"] = classifier_->classification().id();
    if (!options.meta.empty()) head_["meta"] = meta_;
  } catch (const json::exception& e) {
    throw Failure(exit_data,
                  fmt::format("{}: its trainer state says nothing usable of the policy: {}", checkpoint, e.what()));
  }
}

TextVerdict Inference::judge(const std::string& text) const {
  const std::string cleaned = clean(valid_utf8(text), {});
  const Digest digest = sha256(cleaned);
  TextVerdict verdict;
  Origin origin{meta_, {}};
  if (classifier_) {
    origin.claims = is_blank(cleaned) ? std::vector<Claim>() : classifier_->claims(meta_, digest, cleaned);
    classifier_->check();
    verdict.classes = claimed_classes(*origin.claims);
  }
  verdict.known = !meta_.empty() || !verdict.classes.empty();
  DocumentFacts facts = facts_of({origin}, digest);
  if (meta_.contains("digest")) facts.digest = meta_.at("digest").get<std::string>();
  const auto keep_out = [&](const std::string& rule, const std::string& why) {
    verdict.admitted = false;
    verdict.rule = rule;
    verdict.why = why;
    return verdict;
  };
  std::string why;
  if (excludes(revoked_, facts, why)) return keep_out("exclusion revocations", why);
  if (!verdict.known) {
    for (const Exclusion& e : policy_->policy().exclusions) {
      if (excludes(e, facts, why)) return keep_out("exclusion " + e.name, why);
    }
    return verdict;
  }
  const Decision decision = policy_->resolve(facts, day_);
  if (!decision.excluded) return verdict;
  const auto table = policy_->policy().table();
  const std::set<int32_t> deciding(decision.rule.begin(), decision.rule.end());
  std::string rules;
  for (const int32_t rule : deciding) {
    rules += (rules.empty() ? "" : ", ") + table[static_cast<size_t>(rule)].name;
    for (const Match& m : decision.matched) {
      if (m.rule != rule) continue;
      why += (why.empty() ? "" : "; ") + m.reason;
      break;
    }
  }
  return keep_out(rules, why);
}

void Inference::log(const std::vector<TextSample>& samples, const std::vector<TextVerdict>& verdicts) {
  for (size_t i = 0; i < samples.size(); ++i) {
    const TextSample& sample = samples[i];
    const TextVerdict& verdict = verdicts[i];
    json record = head_;
    record["prompt"] = {{"sha256", digest_text(sample.prompt)}, {"tokens", sample.prompt_tokens}};
    record["text"] = {{"sha256", digest_text(sample.text)}, {"tokens", sample.tokens}};
    record["decision"] = sample.refused   ? "refused"
                         : sample.stopped ? "restricted"
                         : verdict.known  ? "allowed"
                                          : "unjudged";
    if (!verdict.rule.empty()) record["rule"] = verdict.rule;
    if (!verdict.why.empty()) record["why"] = verdict.why;
    if (!verdict.classes.empty()) record["classes"] = verdict.classes;
    require(log_->control("infer", std::move(record)));
  }
  require(log_->flush());
}

}  // namespace govtrain
