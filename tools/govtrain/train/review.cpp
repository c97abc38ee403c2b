#include "tools/govtrain/train/review.h"

#include <fmt/format.h>

#include <cmath>

#include "autograd/param_grad.h"
#include "core/error.h"
#include "lineage/reader.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/run_key.h"

namespace govtrain {
namespace {

using nlohmann::json;

ResumePoint newest(FileSystem& fs, const std::string& run) {
  CheckpointStore store(fs, join_path(run, "ckpt"));
  const std::vector<int64_t> steps = require(store.steps());
  if (steps.empty()) throw Failure(exit_data, fmt::format("there is no checkpoint in {}; expected a run folder", run));
  const std::string folder = store.path(steps.back());
  require(verify_checkpoint_folder(fs, folder));
  return {folder, require(load_trainer_state(fs, folder))};
}

std::unique_ptr<RunConfigFile> config_of(FileSystem& fs, const std::string& run) {
  if (!fs.exists(join_path(run, "ckpt"))) (void)newest(fs, run);  // which says so
  return read_run_config(run, {"run.resume=auto"});
}

std::vector<PendingName> pending_of(const ResumePoint& point) {
  const auto part = point.state.parts.find(withheld_part);
  if (part == point.state.parts.end() || part->value("mode", "") != "shadow") {
    throw Failure(exit_usage, fmt::format("{} keeps no pending updates: its run was not made with "
                                          "routing.withheld: shadow",
                                          point.folder));
  }
  try {
    return pending_names(*part);
  } catch (const json::exception& e) {
    throw Failure(exit_data, fmt::format("{}: the trainer state's part '{}' is malformed: {}", point.folder,
                                         withheld_part, e.what()));
  }
}

// "source" or "package" of a provenance object.
std::string source_of(const std::string& bytes) {
  json object = json::parse(bytes, nullptr, false);
  if (object.is_object() && object.contains("provenance")) object = object["provenance"];
  if (object.is_array() && !object.empty()) object = object.front();
  for (const char* key : {"source", "package"}) {
    if (object.is_object() && object.contains(key) && object[key].is_string()) return object[key];
  }
  return "(unknown)";
}

// A decision supersedes what the log holds beyond the weights. Steps of a run that was killed, and what reached it from
// outside in them (a revocation, a newer policy), are for a resume to take up, not for a review to drop.
void refuse_unsaved_steps(FileSystem& fs, const ResumePoint& point, const std::string& log_folder,
                          const std::string& run) {
  LogReader log =
      require(LogReader::open(fs, log_folder, require(read_log_key(fs, log_folder), exit_unverified)), exit_unverified);
  std::string found;
  const auto visit = [&](uint64_t index, std::string_view leaf) {
    const Result<std::string> kind = leaf_kind(leaf);
    const bool harmless = kind.ok() && (kind.value() == "end" || kind.value() == "eval" || kind.value() == "review" ||
                                        kind.value() == "ckpt" || kind.value() == "rewind" || kind.value() == "infer" ||
                                        kind.value() == "device");
    if (!harmless) found = fmt::format("entry {}", index);
    return harmless;
  };
  require(log.visit_effective(point.state.log_size, log.size(), visit), exit_unverified);
  if (found.empty()) return;
  throw Failure(exit_usage, fmt::format("the log goes on after {} ({}): the run was killed; resume it first, with "
                                        "'govtrain run {} --resume auto', and review when it has stopped or ended",
                                        point.folder, found, run));
}

// Verdicts on the controller's proposals that were given when the run was complete: they stay.
std::vector<ControlRecord> late_verdicts(FileSystem& fs, const std::string& log_folder, uint64_t from) {
  LogReader log =
      require(LogReader::open(fs, log_folder, require(read_log_key(fs, log_folder), exit_unverified)), exit_unverified);
  std::vector<ControlRecord> out;
  const auto visit = [&](uint64_t, std::string_view leaf) {
    const Result<std::string> kind = leaf_kind(leaf);
    if (!kind.ok() || kind.value() != "review") return true;
    const Result<ControlRecord> record = parse_control(leaf);
    if (record.ok() && record.value().payload.contains("proposal")) out.push_back(record.value());
    return true;
  };
  require(log.visit_effective(from, log.size(), visit), exit_unverified);
  return out;
}

std::vector<Tensor> values_of(const ParameterSet& set) {
  std::vector<Tensor> out;
  for (size_t i = 0; i < set.size(); ++i) out.push_back(set[i].value().clone().host());
  return out;
}

}  // namespace

std::vector<PendingName> list_pending(FileSystem& fs, const std::string& run) { return pending_of(newest(fs, run)); }

Review::Review(FileSystem& fs, const std::string& run, bool decide)
    : fs_(fs), run_(run), file_(config_of(fs, run)), log_folder_(join_path(run, "lineage")) {
  if (file_->diagnostics.has_errors()) throw ConfigError(file_->diagnostics);
  const RunConfig& config = file_->config;
  if (decide) {
    Result<std::unique_ptr<RunLog>> log = RunLog::open(fs_, log_options(config));
    if (!log.ok() && log.status().code() == StatusCode::locked) {
      throw Failure(exit_failure, fmt::format("{} is in progress, and its updates are reviewed when it has stopped: {}",
                                              run, log.status().message()));
    }
    log_ = require(std::move(log), exit_unverified);
    CheckpointStore store(fs_, join_path(run, "ckpt"));
    require(store.recover());
  }
  point_ = newest(fs_, run);
  (void)pending_of(point_);
  if (decide) refuse_unsaved_steps(fs_, point_, log_folder_, run);
  const std::optional<Date> date = Date::parse(point_.state.policy_date);
  if (!date) throw Failure(exit_data, point_.folder + ": policy_date is not a date");
  const json governance = point_.state.parts.value("governance", json());
  check_same_classification(point_, classification_of(config).get());
  session_ = std::make_unique<Session>(fs_, config, *date, governance);
  check_lineage_covers(fs_, point_, log_folder_,
                       require(find_log_key(fs_, config.key_path(), log_folder_)).public_key());
  load_session(fs_, point_, *session_);
  take_in_outside(point_, *session_);
  if (decide) gone_ = session_->withheld->settle(fs_);
}

PendingUpdate Review::read(const std::string& name) const {
  const std::vector<PendingName> pending = pending_of(point_);
  std::string names;
  for (const PendingName& p : pending) {
    if (p.name == name || (name.empty() && pending.size() == 1)) {
      if (!fs_.exists(pending_path(run_, p.name))) {
        throw Failure(exit_data, fmt::format("{} is named by {}, but is not there: it was removed by hand, or reviewed "
                                             "under a later checkpoint",
                                             pending_path(run_, p.name), point_.folder));
      }
      PendingUpdate update = read_pending(run_, p);
      if (update.withheld.size() != static_cast<size_t>(session_->model->parameters().blocks()) ||
          update.sum.size() != session_->model->parameters().size()) {
        throw Failure(exit_data, update.path + " is not of this model");
      }
      return update;
    }
    names += (names.empty() ? "" : ", ") + p.name;
  }
  if (pending.empty()) throw Failure(exit_usage, fmt::format("{} has no pending update", run_));
  throw Failure(exit_usage, name.empty()
                                ? fmt::format("name one of the pending updates: {}", names)
                                : fmt::format("'{}' is no pending update of {}; there are: {}", name, run_, names));
}

Contributions Review::contributions(const PendingUpdate& update) const {
  LogReader log = require(LogReader::open(fs_, log_folder_, require(read_log_key(fs_, log_folder_), exit_unverified)),
                          exit_unverified);
  std::map<std::string, std::string> sources;  // by the name that records carry
  for (const std::string& name : require(fs_.list(join_path(log_folder_, "prov")))) {
    sources[name.substr(0, 16)] = source_of(require(fs_.read(join_path(join_path(log_folder_, "prov"), name))));
  }
  std::map<std::string, std::vector<std::string>> rules;  // by policy
  Contributions out;
  const auto visit = [&](uint64_t, std::string_view leaf) {
    const Result<std::string> kind = leaf_kind(leaf);
    if (kind.ok() && kind.value() == "policy") {
      const json record = json::parse(leaf);
      std::vector<std::string>& names = rules[record.value("id", "")];
      if (record.contains("rules")) names.clear();
      for (const json& rule : record.value("rules", json::array())) names.push_back(rule.value("name", "?"));
    }
    if (!kind.ok() || kind.value() != "ex") return true;
    const Result<ExampleRecord> parsed = parse_example(leaf);
    if (!parsed.ok() || !parsed.value().place) return true;
    const ExampleRecord& r = parsed.value();
    if (r.place->step < update.first || r.place->step > update.last) return true;
    std::map<std::string, int64_t> deciding;
    for (size_t b = 0; b < r.w.size(); ++b) {
      if (r.w[b] >= 1) continue;
      const auto& names = rules[r.pol];
      const auto at = static_cast<size_t>(r.r[b]);
      deciding[at < names.size() ? names[at] : fmt::format("rule {}", at)] = 1;
    }
    if (deciding.empty()) return true;
    ++out.uses;
    out.tokens += r.tok;
    ++out.by_source[sources.contains(r.prov) ? sources.at(r.prov) : "(unknown)"];
    ++out.by_example[r.ex];
    for (const auto& [name, one] : deciding) out.by_rule[name] += one;
    return true;
  };
  require(log.visit_effective(0, log.size(), visit), exit_unverified);
  const auto& documents = session_->dataset.documents();
  for (size_t d = 0; d < documents.size(); ++d) {
    const std::string& name = session_->governance->label(static_cast<int32_t>(d)).ex;
    if (out.by_example.contains(name) && !session_->governance->keep(static_cast<int32_t>(d)))
      out.kept_out.push_back(name);
  }
  return out;
}

UpdateEffect Review::apply(const PendingUpdate& update, const Probe& probe, double lr) {
  ParameterSet& set = session_->model->parameters();
  Backend& backend = session_->backend;
  UpdateEffect effect;
  effect.lr = lr;
  const Probe::Point before = probe.at(*session_->model, backend, true);
  effect.before = before.loss;

  std::vector<Tensor> sum;
  for (size_t i = 0; i < set.size(); ++i) {
    for (const NamedTensor& t : update.sum) {
      if (t.name == set[i].name()) sum.push_back(t.value);
    }
  }
  const std::vector<Tensor> old = values_of(set);
  try {
    set_gradient(set, backend, sum, 1.0f / static_cast<float>(update.steps));
  } catch (const Error& e) {
    throw Failure(exit_data, fmt::format("{} is not of this model: {}", update.path, e.what()));
  }
  clip_blocks(set, backend, session_->config.optim.clip);
  session_->trainer->optimizer().step(lr);

  effect.moved.assign(static_cast<size_t>(set.blocks()), 0);
  for (size_t i = 0; i < set.size(); ++i) {
    const Parameter& p = set[i];
    const Tensor now = p.value().host();
    for (const Parameter::Slice& s : p.slices()) {
      for (int64_t r = s.row_begin; r < s.row_end; ++r) {
        for (int64_t c = s.col_begin; c < s.col_end; ++c) {
          const int64_t at = r * p.cols() + c;
          const double change = static_cast<double>(now.data()[at]) - static_cast<double>(old[i].data()[at]);
          effect.moved[static_cast<size_t>(s.block)] += change * change;
          effect.predicted += change * static_cast<double>(before.gradient[i].data()[at]);
        }
      }
    }
  }
  for (double& m : effect.moved) m = std::sqrt(m);
  effect.after = probe.at(*session_->model, backend, false).loss;
  return effect;
}

json Review::record(const PendingUpdate& update, const Contributions& from, const ReviewDecision& decision) const {
  json cosine = json::array();
  for (size_t b = 0; b < update.withheld.size(); ++b) cosine.push_back(update.cosine(b));
  json out = {{"update", update.name},    {"step", point_.state.step},          {"first", update.first},
              {"last", update.last},      {"withheld", update.withheld},        {"cosine", cosine},
              {"uses", from.uses},        {"examples", from.by_example.size()}, {"rules", from.by_rule},
              {"reason", decision.reason}};
  for (const PendingName& p : pending_of(point_)) {
    if (p.name == update.name) out["sha256"] = p.sha256;
  }
  if (!decision.reviewer.empty()) out["reviewer"] = decision.reviewer;
  return out;
}

std::string Review::approve(const PendingUpdate& update, const UpdateEffect& effect, const Probe& probe,
                            const ReviewDecision& decision) {
  for (size_t i = 0; i < session_->model->parameters().size(); ++i) {
    const Parameter& p = session_->model->parameters()[i];
    if (session_->backend.first_non_finite_row(p.value().cview()) < 0) continue;
    throw Failure(exit_failure, fmt::format("the update would leave a value that is not finite in {}; nothing was "
                                            "changed",
                                            p.name()));
  }
  const Contributions from = contributions(update);
  if (!from.kept_out.empty()) {
    throw Failure(exit_usage, fmt::format("{} holds gradients of documents that are kept out by now, {} in all, the "
                                          "first {}; they cannot be taken out of the sum: reject it",
                                          update.name, from.kept_out.size(), from.kept_out.front()));
  }
  json r = record(update, from, decision);
  r["event"] = "approve";
  r["lr"] = effect.lr;
  r["moved"] = effect.moved;
  r["probe"] = {{"name", probe.name()},
                {"before", effect.before},
                {"after", effect.after},
                {"predicted", effect.predicted},
                {"measured", effect.measured()}};
  if (probe.kept_out() > 0) r["probe"]["kept_out"] = probe.kept_out();
  return publish(update, std::move(r));
}

std::string Review::reject(const PendingUpdate& update, const ReviewDecision& decision) {
  json r = record(update, contributions(update), decision);
  r["event"] = "reject";
  return publish(update, std::move(r));
}

std::string Review::publish(const PendingUpdate& update, json r) {
  const bool rejected = r.at("event") == "reject";
  CheckpointStore store(fs_, join_path(run_, "ckpt"));
  std::vector<ControlRecord> records = late_verdicts(fs_, log_folder_, point_.state.log_size);
  // What the log holds beyond the weights is superseded, as by a resume.
  if (log_->size() > point_.state.log_size) {
    require(log_->control("rewind", {{"from", point_.state.log_size}, {"to_step", point_.state.step}}));
  }
  static_cast<Shadow&>(*session_->withheld).forget(update.name);
  const TrainerState& state = point_.state;
  for (GovernanceEvent& event : device_change(point_, *session_))
    records.push_back({event.kind, std::move(event.payload)});
  for (json& gone : gone_) records.push_back({"review", std::move(gone)});
  records.push_back({"review", std::move(r)});
  publish_checkpoint(store, log_.get(), *session_, state, records);
  // Older checkpoints from within the window hold a part of the sum.
  if (rejected) (void)require(store.destroy(withheld_file, update.first, update.last - 1));
  require(fs_.remove(update.path));
  require(fs_.sync_dir(parent_path(update.path)));
  require(store.prune(0, 0));
  if (state.step >= session_->config.train.steps) {
    require(log_->control("end", {{"step", state.step}, {"tokens", state.tokens}}));
    require(log_->flush());
  }
  return store.path(state.step);
}

}  // namespace govtrain
