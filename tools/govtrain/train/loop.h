// The loop of a run: steps, records, evaluations, samples, checkpoints, in an order that keeps the log ahead of every
// weight that a reader can see. One object per process and run.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/file.h"
#include "tools/govtrain/io/metrics.h"
#include "tools/govtrain/io/progress.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/resume.h"
#include "tools/govtrain/train/run_key.h"
#include "tools/govtrain/train/run_log.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/signals.h"

namespace govtrain {

class Loop {
 public:
  // Creates the run folder and the log, or opens them to go on at `point`. Throws Failure.
  Loop(FileSystem& fs, Session& session, const std::optional<ResumePoint>& point);

  // Trains to the end. Returns exit_ok, or exit_interrupted after a clean save. Throws Failure on values that are not
  // finite, and on errors of the disk.
  int run(const std::string& plan);

 private:
  bool has_log() const;
  // The key maker is there when a log is to be made.
  void open_log(const std::optional<ResumePoint>& point, std::optional<KeyMaker> key_maker);
  void write_head();
  void store_provenance();
  void train_step();
  TrainingState training_state() const;
  void adapt();
  void log_events(std::vector<GovernanceEvent> events);
  void note_review(nlohmann::json record);
  [[noreturn]] void stop(const nlohmann::json& report, const std::string& text);
  [[noreturn]] void stop_on_non_finite(const Batch& batch, const StepResult& result);
  [[noreturn]] void stop_on_validation(const EvalResult::NonFinite& found);
  void show(const Batch& batch, const StepResult& result, double lr, double seconds);
  void evaluate();
  void write_samples();
  void refuse_non_finite_weights();
  void save();
  void finish();
  bool due(int64_t every) const { return every > 0 && step_ % every == 0; }
  bool save_due();
  void say(const std::string& text);

  FileSystem& fs_;
  Session& s_;
  const RunConfig& config_;
  CheckpointStore checkpoints_;
  Outside outside_;
  std::unique_ptr<RunLog> log_;  // null: lineage.enabled is false
  MetricsWriter metrics_;
  Progress progress_;
  ZScore loss_z_;
  SignalGuard signals_;
  Schedule schedule_;
  int64_t step_ = 0;  // steps done
  int64_t saved_step_ = -1;
  int64_t tokens_ = 0;  // that some block was admitted to learn from
  std::chrono::steady_clock::time_point started_, saved_at_;
  int64_t started_step_ = 0;
  double trained_seconds_ = 0;
  std::optional<EvalResult> last_eval_;
  int64_t evaluated_step_ = -1;
};

}  // namespace govtrain
