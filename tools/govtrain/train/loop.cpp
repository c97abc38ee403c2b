#include "tools/govtrain/train/loop.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/publish.h"
#include "tools/govtrain/train/run_head.h"
#include "tools/govtrain/train/setup.h"
#include "tools/govtrain/train/text_samples.h"

namespace govtrain {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

Loop::Loop(FileSystem& fs, Session& session, const std::optional<ResumePoint>& point)
    : fs_(fs),
      s_(session),
      config_(session.config),
      checkpoints_(fs, join_path(config_.run.out, "ckpt")),
      outside_(config_, session.date),
      progress_(progress_mode(config_.log.progress), config_.log.every_seconds),
      schedule_(schedule(config_)) {
  const bool logged = config_.lineage.enabled && config_.train.routing;
  std::optional<KeyMaker> key;  // before anything is made that would look like a run
  if (logged && !point && !has_log()) key = require(KeyMaker::at(fs_, config_.key_path()));
  require(fs_.make_dirs(join_path(config_.run.out, "ckpt")));
  if (point) {
    step_ = saved_step_ = point->state.step;
    tokens_ = point->state.tokens;
    if (const auto part = point->state.parts.find("outside"); part != point->state.parts.end()) outside_.restore(*part);
  }
  started_step_ = step_;
  if (logged) {
    open_log(point, std::move(key));
  } else if (point) {
    require(checkpoints_.set_aside_after(step_));
  }
  if (point) log_events(device_change(*point, s_));
  if (s_.withheld) {
    for (json& record : s_.withheld->settle(fs_)) note_review(std::move(record));
  }
  require(write_atomic(fs_, join_path(config_.run.out, "config.yaml"), resolved_yaml(config_, config_.run.out)));
  metrics_ = require(MetricsWriter::open(fs_, config_.run.out, point ? step_ : -1, config_.log.tensorboard));
  require(keep_lines_to_step(fs_, join_path(config_.run.out, "samples.jsonl"), point ? step_ : -1));
}

void Loop::say(const std::string& text) {
  progress_.event(text);
  require(fs_.append(join_path(config_.run.out, "train.log"), text + "\n"));
}

int Loop::run(const std::string& plan) {
  say(plan);
  if (log_) say(fmt::format("log     {} | key {}\n", join_path(config_.run.out, "lineage"), log_->verifier_key()));
  if (step_ > 0) say(fmt::format("resumed at step {}", step_));
  started_ = saved_at_ = Clock::now();
  bool stopped = false;
  if (s_.entropy) log_events(s_.entropy->take_events());  // of the weights as the policy states them
  if (step_ == 0) adapt();
  while (step_ < config_.train.steps) {
    train_step();
    if (due(config_.eval.every) && step_ < config_.train.steps) evaluate();
    if (step_ < config_.train.steps) adapt();
    if (due(config_.sample.every)) write_samples();
    stopped = signals_.stop_requested();
    const bool out_of_time = config_.train.max_minutes > 0 && seconds_since(started_) > 60 * config_.train.max_minutes;
    if (step_ == config_.train.steps || stopped || out_of_time) break;
    if (save_due()) save();
  }
  progress_.finish();
  if (step_ < config_.train.steps) {
    save();
    say(fmt::format("{} at step {}; go on with: govtrain run {} --resume auto",
                    stopped ? "interrupted" : "train.max_minutes is over", step_, config_.run.out));
    return stopped ? exit_interrupted : exit_ok;
  }
  finish();
  return exit_ok;
}

bool Loop::save_due() {
  const double minutes = config_.save.every_minutes;
  const std::string trigger = join_path(config_.run.out, "save");
  const bool asked = fs_.exists(trigger);
  if (asked) require(fs_.remove(trigger));
  return signals_.take_save_request() || asked || due(config_.save.every) ||
         (minutes > 0 && seconds_since(saved_at_) >= 60 * minutes);
}

void Loop::train_step() {
  const auto start = Clock::now();
  Governance& governance = *s_.governance;
  governance.begin_step(training_state(), outside_.look(step_ + 1));
  Batch batch = s_.sampler->next([&](int32_t document) { return governance.keep(document); });
  RouteTable route = governance.table(batch.examples);
  log_events(governance.take_events());
  arrange(batch, route, s_.trainer->skip_plan());
  if (s_.entropy) {
    if (s_.entropy->begin(batch, route)) s_.entropy->reorder(arrange(batch, route, s_.trainer->skip_plan()));
    log_events(s_.entropy->take_events());
  }
  const double lr = schedule_.at(step_);
  const StepResult result = s_.trainer->step(Session::train_batch(batch), route, static_cast<uint64_t>(step_), lr,
                                             s_.entropy ? s_.entropy->complete() : CompleteRoute());
  if (result.non_finite) stop_on_non_finite(batch, result);
  if (log_) {
    require(log_->step(step_ + 1, batch, governance.labels(), governance.policy().policy().id(), result, lr,
                       s_.entropy ? s_.entropy->marks() : std::vector<EntropyMark>()));
  }
  if (s_.entropy) {
    s_.entropy->end(batch, step_ + 1, *s_.model);
    log_events(s_.entropy->take_events());
  }
  if (s_.withheld) {
    for (json& record : s_.withheld->after_step(step_ + 1, result, lr)) note_review(std::move(record));
  }
  if (s_.adapter) s_.adapter->add_step(result);
  for (const Example& e : batch.examples) tokens_ += e.rows();
  ++step_;
  show(batch, result, lr, seconds_since(start));
}

TrainingState Loop::training_state() const {
  TrainingState state;
  state.step = step_;
  state.epoch = s_.sampler->state().epoch;
  if (s_.adapter) s_.adapter->describe(state);
  return state;
}

// What it decides counts from the next step on and is in the log before it.
void Loop::adapt() {
  if (!s_.adapter) return;
  log_events(s_.adapter->after(step_, evaluated_step_ == step_ ? &*last_eval_ : nullptr));
  const auto values = s_.adapter->take_metrics();
  if (!values.empty()) require(metrics_.log(step_, values));
}

void Loop::log_events(std::vector<GovernanceEvent> events) {
  bool external = false;
  for (GovernanceEvent& event : events) {
    if (log_) require(log_->control(event.kind, std::move(event.payload)));
    if (!event.text.empty()) say(event.text);
    external = external || event.external;
  }
  if (log_ && external) require(log_->flush());
}

void Loop::note_review(json record) {
  say(fmt::format("step {} | pending update {}: {}", step_, record.at("update").get<std::string>(),
                  record.value("reason", "waits for 'govtrain review'")));
  if (log_) require(log_->control("review", std::move(record)));
}

void Loop::show(const Batch& batch, const StepResult& result, double lr, double seconds) {
  const RouteTable& route = result.route;
  double admitted = 0;
  for (const float w : route.weight) admitted += static_cast<double>(w);
  if (!route.weight.empty()) admitted /= static_cast<double>(route.weight.size());
  trained_seconds_ += seconds;
  const int64_t done = step_ - started_step_;
  ProgressState state;
  state.step = step_;
  state.steps = config_.train.steps;
  state.loss = result.mean_loss();
  state.loss_z = loss_z_.update(state.loss);
  state.norm = result.gradient_norm();
  state.lr = lr;
  state.tokens_per_second = static_cast<double>(batch.rows.total()) / seconds;
  state.milliseconds = 1e3 * seconds;
  state.admitted = config_.train.routing ? admitted : ProgressState::unknown;
  if (log_) {
    state.log_size = static_cast<int64_t>(log_->size());
    state.log_lag = static_cast<int64_t>(log_->lag());
  }
  state.eta_seconds = trained_seconds_ / static_cast<double>(done) * static_cast<double>(state.steps - step_);
  progress_.update(state);
  std::vector<std::pair<std::string, double>> values = {{"loss", state.loss},
                                                        {"lr", lr},
                                                        {"grad_norm", state.norm},
                                                        {"admitted", admitted},
                                                        {"tokens", static_cast<double>(batch.rows.total())},
                                                        {"tokens_per_second", state.tokens_per_second},
                                                        {"step_ms", state.milliseconds}};
  if (s_.entropy) {
    for (auto& value : s_.entropy->metrics()) values.push_back(std::move(value));
  }
  require(metrics_.log(step_, values));
}

void Loop::evaluate() {
  if (evaluated_step_ == step_ || s_.evaluator->rows() == 0) return;
  refuse_non_finite_weights();
  last_eval_ = s_.evaluator->run(*s_.model, s_.backend, [&](int32_t d) { return s_.governance->keep(d); });
  if (last_eval_->non_finite) stop_on_validation(*last_eval_->non_finite);
  evaluated_step_ = step_;
  json record = {{"step", step_}};
  if (last_eval_->kept_out > 0) record["kept_out"] = last_eval_->kept_out;
  if (last_eval_->all.tokens == 0) {
    if (log_) require(log_->control("eval", std::move(record)));
    return say(fmt::format("step {} | no validation document is left: {} {} kept out", step_, last_eval_->kept_out,
                           are(last_eval_->kept_out)));
  }
  std::vector<std::pair<std::string, double>> values = {{"val/loss", last_eval_->all.loss()}};
  json by = json::object();
  std::string text = fmt::format("step {} | validation loss {:.4f} |", step_, last_eval_->all.loss());
  for (const auto& source : last_eval_->sources) {
    values.emplace_back("val/" + source.name, source.loss());
    by[source.name] = source.loss();
    text += fmt::format(" {} {:.3f}", source.name, source.loss());
  }
  const int64_t out = last_eval_->kept_out;
  if (out > 0) text += fmt::format(" | {} {} {} kept out", out, noun(out, "document"), are(out));
  require(metrics_.log(step_, values));
  record["loss"] = last_eval_->all.loss();
  record["by_source"] = std::move(by);
  if (log_) require(log_->control("eval", std::move(record)));
  say(text);
}

void Loop::write_samples() {
  if (config_.sample.prompts.empty()) return;
  GenerateOptions options;
  options.max_new_tokens = config_.sample.tokens;
  options.temperature = config_.sample.temperature;
  options.top_k = config_.sample.top_k;
  options.seed = static_cast<uint64_t>(config_.run.seed);
  for (const TextSample& sample :
       write_text(*s_.model, s_.backend, s_.dataset.tokenizer(), config_.sample.prompts, options)) {
    require(fs_.append(join_path(config_.run.out, "samples.jsonl"), sample_line(step_, sample)));
    say(fmt::format("step {} | sample | {}{}", step_, sample.prompt, sample.text));
  }
}

void Loop::save() {
  if (saved_step_ == step_) return;
  refuse_non_finite_weights();
  if (s_.adapter) log_events(s_.adapter->reviews(step_));
  TrainerState state;
  state.step = step_;
  state.epoch = static_cast<int64_t>(s_.sampler->state().epoch);
  state.cursor = static_cast<int64_t>(s_.sampler->state().cursor);
  state.tokens = tokens_;
  state.policy_date = s_.date.text();
  state.policy_id = s_.policy.policy().id();
  state.dataset_key = s_.prepared.key;
  state.config_json = training_config(config_).dump();
  state.parts["blocks"] = {{"sha256", s_.blocks_sha256}};
  if (s_.classifier) {
    state.parts["classification"] = {{"id", s_.classifier->classification().id()},
                                     {"text", s_.classifier->classification().canonical()}};
  }
  state.parts["governance"] = s_.governance->state();
  state.parts["outside"] = outside_.state();
  if (s_.adapter) state.parts[adapter_part] = s_.adapter->state();
  publish_checkpoint(checkpoints_, log_.get(), s_, state);
  require(checkpoints_.prune(config_.save.keep_last, config_.save.keep_every));
  saved_step_ = step_;
  saved_at_ = Clock::now();
}

void Loop::finish() {
  evaluate();
  save();
  if (log_) {
    require(log_->control("end", {{"step", step_}, {"tokens", tokens_}}));
    require(log_->flush());
  }
  std::string text =
      fmt::format("\ndone in {}: {} {}, {} tokens\n", human_duration(seconds_since(started_)), step_ - started_step_,
                  noun(step_ - started_step_, "step"), human_count(static_cast<double>(tokens_)));
  if (last_eval_ && last_eval_->all.tokens > 0) {
    text += fmt::format("validation loss {:.4f} nats/token", last_eval_->all.loss());
    if (s_.unigram) text += fmt::format(", a unigram model has {:.4f}", *s_.unigram);
    text += "\n" + effect_table(s_, *last_eval_);
  }
  if (s_.entropy) text += s_.entropy->summary();
  text += fmt::format("model   {}\n", checkpoints_.path(step_));
  if (log_) {
    text += fmt::format("log     {} records, signed: {}\n", grouped(static_cast<int64_t>(log_->size())),
                        join_path(config_.run.out, "lineage/checkpoint"));
    text += fmt::format("verify  govtrain lineage verify {} --key '{}'\n", config_.run.out, log_->verifier_key());
  }
  say(text);
}

}  // namespace govtrain
