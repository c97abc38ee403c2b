#include "tools/govtrain/train/adapter.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "routing/glob.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/checkpoint.h"

namespace govtrain {

using nlohmann::json;

namespace {

bool admitted_everywhere(const Decision& decision) {
  return std::none_of(decision.weights.begin(), decision.weights.end(), [](float w) { return w == 0; });
}

}  // namespace

Adapter::Adapter(FileSystem& fs, const RunConfig& config, const Dataset& dataset, const BlockMap& blocks,
                 Governance& governance, Transformer& model, Backend& backend, const Evaluator& evaluator)
    : fs_(fs),
      config_(config),
      governance_(governance),
      model_(model),
      backend_(backend),
      evaluator_(evaluator),
      losses_(static_cast<size_t>(config.probe.loss_window)) {
  for (const BlockInfo& info : blocks.info) stage_of_block_.push_back(static_cast<size_t>(info.layer_last + 1));
  if (!config.adaptation.replay.empty()) recorded_ = read_recorded_changes(fs, config.adaptation.replay);
  if (config.probe.examples > 0) {
    std::vector<int32_t> documents;
    for (const int32_t d : documents_of(dataset, Split::validation)) {
      if (admitted_everywhere(governance.decision(d))) documents.push_back(d);
    }
    ProbeOptions options{config.probe.examples, config.probe.file, static_cast<int>(config.data.context),
                         static_cast<int>(config.train.tokens_per_step), config.probe.alpha};
    try {
      probe_ = std::make_unique<ProbeSet>(dataset, documents, options);
    } catch (const Error& e) {
      throw Failure(exit_data, e.what());
    }
  }
  bind();
  if (const std::string problem = require_settings(); !problem.empty()) throw Failure(exit_usage, problem);
  if (recorded_) check_replay();
}

void Adapter::bind() {
  const BoundPolicy& policy = governance_.policy();
  policy_id_ = policy.policy().id();
  engine_.reset();
  if (controller_) next_proposal_ = controller_->next_id();
  controller_.reset();
  pending_.clear();
  if (recorded_) return;
  const auto& [adaptation, controller] = std::tie(policy.policy().adaptation, policy.policy().controller);
  if (adaptation && adaptation->mode != AdaptMode::off) engine_.emplace(policy);
  if (controller && controller->mode != AdaptMode::off) {
    controller_.emplace(policy);
    controller_->number_from(next_proposal_);
  }
}

void Adapter::follow_policy() {
  if (governance_.policy().policy().id() == policy_id_) return;
  const bool goes_on = governance_.switched();
  const std::optional<AdaptationState> engine = engine_ ? std::optional(engine_->state()) : std::nullopt;
  const json controller = controller_ ? controller_->state() : json();
  std::vector<json> pending = std::move(pending_);
  bind();
  if (goes_on && engine_ && engine) engine_->restore(*engine);
  if (goes_on && controller_ && !controller.is_null()) {
    controller_->restore(controller);
    pending_ = std::move(pending);
  } else {
    protected_tokens_ = 0;
    drop(pending);
  }
}

std::string Adapter::require_settings() const {
  const std::optional<ControllerSpec>& spec = governance_.policy().policy().controller;
  const bool may_be_on = spec && (spec->mode != AdaptMode::off || config_.policy.watch);
  if (recorded_ || !may_be_on) return "";
  const auto protects = [&](const std::string& group) {
    return std::any_of(spec->protect.begin(), spec->protect.end(), [&](const auto& p) { return glob_match(p, group); });
  };
  const std::vector<std::string> groups = evaluator_.groups();
  if (std::none_of(groups.begin(), groups.end(), protects)) {
    return fmt::format("the policy {} has a 'controller' that protects none of the validation groups: {}", policy_id_,
                       join(groups));
  }
  return "";
}

std::string Adapter::stage_name(size_t stage) const {
  return stage == 0                                          ? "embedding"
         : stage + 1 == static_cast<size_t>(model_.stages()) ? "final"
                                                             : fmt::format("layer.{}", stage - 1);
}

void Adapter::add_step(const StepResult& result) {
  follow_policy();
  LossWindow::Step step;
  for (size_t e = 0; e < result.nll.size(); ++e) {
    const auto row = result.route.row(e);
    if (std::any_of(row.begin(), row.end(), [](float w) { return w == 0; })) continue;
    step.nll += result.nll[e];
    step.tokens += result.counts[e];
  }
  losses_.add(step);
  if (controller_) controller_->add_step(result.route, result.norms);
}

std::vector<GovernanceEvent> Adapter::after(int64_t step, const EvalResult* validation) {
  follow_policy();
  std::vector<GovernanceEvent> events = std::exchange(dropped_, {});
  for (GovernanceEvent& event : events) event.payload["step"] = step + 1;
  if (recorded_) replay(step, events);
  if (probe_ && step % config_.probe.every == 0) measure(step, events);
  if (controller_ && validation != nullptr) control(step, *validation, events);
  return events;
}

void Adapter::apply(int64_t step, int profile, const std::vector<float>& weights,
                    std::vector<GovernanceEvent>& events) {
  const std::string& id = governance_.policy().policy().profiles[static_cast<size_t>(profile)].name;
  if (const auto problem = outside_bounds(governance_.policy(), id, weights)) throw Error("adaptation", "{}", *problem);
  governance_.change_profile(id, weights);
  events.push_back({"profile", {{"id", id}, {"step", step + 1}, {"w", weights}}, "", false});
}

void Adapter::measure(int64_t step, std::vector<GovernanceEvent>& events) {
  try {
    const auto keep = [this](int32_t document) { return admitted_everywhere(governance_.decision(document)); };
    measured_ = probe_->measure(model_, backend_, keep, step >= config_.probe.reference_step);
  } catch (const Error& e) {
    throw Failure(exit_data, fmt::format("step {}: {}", step, e.what()));
  }
  const ProbeMeasurement& m = *measured_;
  if (m.entropy.empty()) {
    events.push_back({"adapt",
                      {{"event", "skipped"},
                       {"step", step + 1},
                       {"policy", policy_id_},
                       {"probe", {{"examples", m.examples}, {"of", probe_->examples()}}}},
                      fmt::format("step {} | probe set: {} of its {} texts are still admitted, two are needed; nothing "
                                  "is measured, and what depends on it stays as it is",
                                  step, m.examples, probe_->examples()),
                      false});
    measured_.reset();
    return;
  }
  for (size_t s = 0; s < m.entropy.size(); ++s) {
    metrics_.emplace_back("entropy/" + stage_name(s), m.entropy[s]);
    metrics_.emplace_back("capacity/" + stage_name(s), m.capacity[s]);
    if (!m.drift.empty()) metrics_.emplace_back("drift/" + stage_name(s), m.drift[s]);
  }
  metrics_.emplace_back("stratification/spread", entropy_spread(m.entropy));
  metrics_.emplace_back("stratification/order", entropy_order(m.entropy));
  if (const auto progress = losses_.progress()) metrics_.emplace_back("loss_progress", *progress);
  if (!engine_) return;
  if (auto change = engine_->observe(m.entropy)) {
    json names = json::array();
    for (size_t s = 0; s < m.entropy.size(); ++s) names.push_back(stage_name(s));
    change->record["step"] = step + 1;
    change->record["policy"] = policy_id_;
    change->record["stages"] = names;
    change->record["alpha"] = config_.probe.alpha;
    change->record["probe"] = {{"examples", m.examples}, {"digest", m.digest}};
    const double position = engine_->state().position;
    std::string text =
        fmt::format("step {} | adaptation: stratification {:.4f}, position {:.3f} of broad 0 .. narrow 1", step,
                    change->record.at("stratification").get<double>(), position);
    events.push_back({"adapt", std::move(change->record), std::move(text), false});
    for (const ProfileChange& c : change->changes) apply(step, c.profile, c.after, events);
  }
  metrics_.emplace_back("adaptation/position", engine_->state().position);
}

void Adapter::control(int64_t step, const EvalResult& validation, std::vector<GovernanceEvent>& events) {
  double nll = 0;
  int64_t tokens = 0;
  for (const EvalResult::Source& group : validation.sources) {
    if (!controller_->protects(group.name)) continue;
    nll += group.nll;
    tokens += group.tokens;
  }
  // Losses of other documents than last time say nothing of what the model has learnt between.
  if (tokens != protected_tokens_) controller_->restart();
  protected_tokens_ = tokens;
  if (tokens == 0) return;
  const double loss = nll / static_cast<double>(tokens);
  metrics_.emplace_back("controller/protected_loss", loss);
  std::optional<ControllerProposal> proposal = controller_->evaluate(loss, governance_.policy());
  if (!proposal) return;
  proposal->record["step"] = step + 1;
  proposal->record["policy"] = policy_id_;
  const std::string outcome = proposal->record.at("outcome");
  if (outcome == "pending") pending_.push_back(proposal->record);
  std::string text = fmt::format("step {} | proposal {} for profile {}: {}", step, proposal->id,
                                 proposal->record.at("profile").get<std::string>(),
                                 outcome == "pending" ? "waits for 'govtrain proposals'" : outcome);
  events.push_back({"proposal", std::move(proposal->record), std::move(text), false});
  if (outcome == "applied") apply(step, proposal->change.profile, proposal->change.after, events);
}

void Adapter::describe(TrainingState& state) const {
  state.loss_progress = losses_.progress();
  if (!measured_) return;
  for (const size_t stage : stage_of_block_) {
    if (!measured_->drift.empty()) state.drift.push_back(measured_->drift[stage]);
    state.capacity.push_back(measured_->capacity[stage]);
  }
}

// What decides the bits and is not in training_config(), as places are no part of that.
json Adapter::settings() const {
  json out = json::object();
  if (probe_) out["probe"] = probe_->digest();
  if (recorded_) out["replay"] = recorded_->origin;
  if (controller_) out["eval"] = {config_.eval.every, config_.eval.max_tokens};
  return out;
}

json Adapter::state() const {
  json losses = json::array();
  for (const LossWindow::Step& s : losses_.steps()) losses.push_back({s.nll, s.tokens});
  json out = {{"settings", settings()}, {"policy", policy_id_}, {"losses", losses}, {"pending", pending_}};
  if (engine_) {
    const AdaptationState& s = engine_->state();
    out["engine"] = {{"position", s.position}, {"waited", s.waited}, {"started", s.started}};
  }
  if (controller_) {
    out["controller"] = controller_->state();
    out["protected_tokens"] = protected_tokens_;
  }
  out["next_proposal"] = controller_ ? controller_->next_id() : next_proposal_;
  if (measured_) out["measured"] = {{"capacity", measured_->capacity}, {"drift", measured_->drift}};
  return out;
}

std::vector<NamedTensor> Adapter::reference() const {
  return probe_ ? probe_->reference() : std::vector<NamedTensor>();
}

void Adapter::restore(const json& state, const std::vector<NamedTensor>& reference) {
  try {
    bind();
    if (state.at("settings") != settings()) {
      throw Error("adaptation",
                  "the run was made with {}, found {}; resume with the same probe set, validations and "
                  "replayed log",
                  state.at("settings").dump(), settings().dump());
    }
    std::vector<LossWindow::Step> losses;
    for (const json& s : state.at("losses")) losses.push_back({s.at(0), s.at(1)});
    losses_.restore(std::move(losses));
    next_proposal_ = state.value("next_proposal", int64_t{1});
    if (state.at("policy") == policy_id_) {
      pending_ = state.at("pending").get<std::vector<json>>();
      if (engine_) {
        const json& s = state.at("engine");
        engine_->restore({s.at("position"), s.at("waited"), s.at("started")});
      }
      if (controller_) {
        controller_->restore(state.at("controller"));
        protected_tokens_ = state.at("protected_tokens");
      }
    }
    if (const auto m = state.find("measured"); m != state.end()) {
      measured_.emplace();
      measured_->capacity = m->at("capacity").get<std::vector<double>>();
      measured_->drift = m->at("drift").get<std::vector<double>>();
    }
    if (probe_) probe_->restore(reference);
  } catch (const json::exception& e) {
    throw Error("adaptation", "the state in the checkpoint is damaged: {}", e.what());
  }
}

void load_adapter(FileSystem& fs, const std::string& checkpoint, const json& parts, Adapter& adapter) {
  const auto part = parts.find(adapter_part);
  if (part == parts.end())
    throw Error("adaptation", "the trainer state says nothing of it; expected a part '{}'", adapter_part);
  const std::string path = join_path(checkpoint, probe_file);
  adapter.restore(*part, fs.exists(path) ? require(read_tensors(path)) : std::vector<NamedTensor>());
}

}  // namespace govtrain
