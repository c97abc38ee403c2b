// `govtrain run`: the training loop, from the plan to the signed end of the log.
#pragma once

#include "tools/govtrain/config/run_config.h"

namespace govtrain {

// Trains as configured, or with `dry_run` prints the plan and stops. Returns exit_ok, or exit_interrupted after a clean
// save. Throws ConfigError, Error or Failure; whatever happened, the log and the checkpoints on disk are consistent.
//
// Files in run.out: config.yaml, train.log, metrics.jsonl, samples.jsonl, tensorboard/, lineage/, ckpt/.
int run_training(const RunConfig& config, bool dry_run);

}  // namespace govtrain
