#include "tools/govtrain/train/run.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/parallel.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/loop.h"
#include "tools/govtrain/train/plan.h"
#include "tools/govtrain/train/record_size.h"
#include "tools/govtrain/train/resume.h"
#include "tools/govtrain/train/run_head.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {
namespace {

// The day on which a run is judged is fixed by its first start.
Date governing_date(const RunConfig& config, const std::optional<ResumePoint>& point) {
  if (!point) return policy_date(config);
  const std::optional<Date> saved = Date::parse(point->state.policy_date);
  if (!saved) throw Failure(exit_data, point->folder + ": policy_date is not a date");
  if (!config.policy.date.empty() && config.policy.date != saved->text()) {
    throw Failure(exit_usage, fmt::format("policy.date is {}, but {} was made on {}; a run keeps its date",
                                          config.policy.date, point->folder, saved->text()));
  }
  return *saved;
}

void check_disk(const RunConfig& config, const PlanCosts& costs) {
  std::string folder = config.run.out;
  while (!real_file_system().exists(folder)) folder = parent_path(folder).empty() ? "." : parent_path(folder);
  const uint64_t available = require(free_bytes(folder));
  if (available < costs.disk_bytes) {
    throw Failure(exit_resource, fmt::format("{} has {} bytes free, the run needs about {}; free some, or lower "
                                             "save.keep_last or train.steps",
                                             folder, available, costs.disk_bytes));
  }
}

}  // namespace

int run_training(const RunConfig& config, bool dry_run) {
  FileSystem& fs = real_file_system();
  if (config.run.threads > 0) set_thread_count(static_cast<int>(config.run.threads));
  std::optional<ResumePoint> point;
  if (!dry_run || config.run.resume != "never") point = find_resume_point(fs, config);

  const nlohmann::json governance = point ? point->state.parts.value("governance", nlohmann::json()) : nlohmann::json();
  if (point) check_same_classification(*point, classification_of(config).get());
  Session session(fs, config, governing_date(config, point), governance);
  int64_t first_step = 0;
  if (point) {
    load_session(fs, *point, session);
    first_step = point->state.step;
    if (first_step >= config.train.steps) {
      fmt::print("{} is at step {}: the run is complete\n", point->folder, first_step);
      return exit_ok;
    }
  }
  if (config.lineage.enabled && config.train.routing) check_record_size(session);
  const PlanCosts costs = measure_costs(session, config.train.steps - first_step);
  const std::string plan = plan_text(session, costs, first_step);
  if (dry_run) {
    fmt::print("{}\nNothing was started.\n", plan);
    return exit_ok;
  }
  check_disk(config, costs);
  Loop loop(fs, session, point);
  return loop.run(plan);
}

}  // namespace govtrain
