// What is going to happen, in figures, before step 0: data by source, licence and profile; model by block; memory and
// disk; time. Text for people; measures by running one step that changes nothing.
#pragma once

#include <cstdint>
#include <string>

#include "tools/govtrain/train/session.h"

namespace govtrain {

struct PlanCosts {
  double seconds_per_step = 0;    // measured
  size_t peak_bytes = 0;          // of tensors, measured
  uint64_t checkpoint_bytes = 0;  // one checkpoint
  uint64_t log_bytes = 0;         // the whole log, estimated from the size of a record
  uint64_t disk_bytes = 0;        // all that the run will keep
};

// Runs forward and backward once on the first batch after the sampler's state, without a step.
PlanCosts measure_costs(Session& session, int64_t steps_left);

std::string plan_text(const Session& session, const PlanCosts& costs, int64_t first_step);

}  // namespace govtrain
