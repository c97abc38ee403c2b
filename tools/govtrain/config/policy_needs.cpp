#include "tools/govtrain/config/policy_needs.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "core/config/yaml.h"
#include "core/file.h"

namespace govtrain {
namespace {

// Whether a condition of a schedule looks at what only a probe set measures.
bool looks_at_probe(const StateCondition& condition) {
  return condition.kind == StateCondition::Kind::drift || condition.kind == StateCondition::Kind::capacity ||
         std::any_of(condition.children.begin(), condition.children.end(), looks_at_probe);
}

// The earliest step at whose beginning a condition over steps can hold; 1 where it says nothing of them.
int64_t first_step(const StateCondition& condition) {
  int64_t out = condition.kind == StateCondition::Kind::step ? condition.from : 1;
  if (condition.kind == StateCondition::Kind::all) {
    for (const StateCondition& child : condition.children) out = std::max(out, first_step(child));
  } else if (condition.kind == StateCondition::Kind::any && !condition.children.empty()) {
    out = first_step(condition.children.front());
    for (const StateCondition& child : condition.children) out = std::min(out, first_step(child));
  }
  return out;
}

bool frozen(const Policy& policy) { return policy.entropy && policy.entropy->source == SurprisalSource::frozen; }

}  // namespace

void check_needs(const Policy& policy, const RunConfig& config, Diagnostics& diagnostics) {
  if (!config.train.routing) return;
  const bool probe = config.probe.examples > 0, decides = config.adaptation.replay.empty();
  const auto& [adaptation, controller] = std::tie(policy.adaptation, policy.controller);
  if (decides && adaptation && adaptation->mode != AdaptMode::off && !probe)
    diagnostics.error(adaptation->profiles.front().at, "'adaptation' needs a probe set, but probe.examples is 0",
                      "set it in the configuration, for example probe.examples: 64");
  for (const ScheduleEntry& entry : policy.schedule) {
    const int64_t first = first_step(entry.when) + entry.hold - 1;
    if (config.train.steps >= 1 && first > config.train.steps)
      diagnostics.warning(entry.at,
                          fmt::format("schedule {} begins at step {} at the earliest, after the run's last one",
                                      in_quotes(entry.name), first),
                          fmt::format("train.steps is {}: the entry never acts", config.train.steps));
    if (probe || (!looks_at_probe(entry.when) && !(entry.back && looks_at_probe(*entry.back)))) continue;
    diagnostics.error(
        entry.at,
        fmt::format("schedule {}: drift and capacity need a probe set, but probe.examples is 0", in_quotes(entry.name)),
        "set it in the configuration, for example probe.examples: 64");
  }
  if (decides && controller && controller->mode != AdaptMode::off) {
    const Position& at = controller->profiles.front().at;
    if (config.eval.every == 0)
      diagnostics.error(at, "'controller' needs validations while training, but eval.every is 0",
                        "set it in the configuration, for example eval.every: 100");
    if (!config.lineage.norms)
      diagnostics.error(at, "'controller' needs realised norms, but lineage.norms is false", "set it to true");
  }
  if (frozen(policy) && config.policy.reference.empty())
    diagnostics.error(policy.entropy->at,
                      "'reference: frozen' of 'entropy' needs a model, but policy.reference is empty",
                      "name the folder of a checkpoint in the configuration");
}

void check_reference(const Policy& policy, const RunConfig& config, const Position& at, Diagnostics& diagnostics) {
  const std::string& folder = config.policy.reference;
  if (folder.empty()) return;
  if (!frozen(policy)) {
    diagnostics.error(at, fmt::format("policy.reference is given, but policy {} has no use for it", policy.name),
                      "remove it, or write 'entropy: {reference: frozen, ...}' in the policy");
  } else if (!real_file_system().exists(join_path(folder, "model.safetensors"))) {
    diagnostics.error(at, fmt::format("policy.reference: there is no model in {}", folder),
                      "expected a checkpoint folder, such as RUN/ckpt/step-000100");
  }
}

void check_replay(const Policy& policy, const RunConfig& config, const Position& at, Diagnostics& diagnostics) {
  const auto& [adaptation, controller] = std::tie(policy.adaptation, policy.controller);
  const bool changes =
      (adaptation && adaptation->mode != AdaptMode::off) || (controller && controller->mode != AdaptMode::off);
  if (config.adaptation.replay.empty() || !config.train.routing || changes) return;
  diagnostics.error(at,
                    fmt::format("adaptation.replay is given, but policy {} lets no profile change: it has no "
                                "'adaptation' and no 'controller', or they are off",
                                policy.name),
                    "remove it, or replay under the policy of the run that is replayed");
}

std::vector<Revocation> listed_revocations(const Policy& policy, const RunConfig& config, const Position& at,
                                           Diagnostics& diagnostics) {
  const std::string& file = config.policy.revocations;
  if (file.empty()) return {};
  for (const Exclusion& e : policy.exclusions) {
    if (e.name == revocations_name)
      diagnostics.error(e.at, "the name 'revocations' is that of the list in policy.revocations", "choose another");
  }
  const auto text = read_yaml_file(file, at, diagnostics);
  if (!text) return {};
  return read_revocations(file, *text, diagnostics).value_or(std::vector<Revocation>());
}

}  // namespace govtrain
