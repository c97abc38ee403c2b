// Publishing a checkpoint: the log first, the weights second, so that what a reader can see is always covered by a
// durable, signed prefix of the log. The one way to do it, for a run and for a review.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "lineage/record.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/run_log.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {

// Where the log of a run is, and its key.
RunLogOptions log_options(const RunConfig& config);

// Writes the session's model, optimizer and withheld gradients aside, logs `before` and then the `ckpt` record that
// names their digests, makes the log durable, and publishes. Sets state.log_size (0 without a log) and the state's part
// "withheld". After a kill at any moment either the former state holds and the log is ahead of it, which a resume
// supersedes, or the new one does. Throws Failure.
void publish_checkpoint(CheckpointStore& store, RunLog* log, const Session& session, TrainerState state,
                        const std::vector<ControlRecord>& before = {});

}  // namespace govtrain
