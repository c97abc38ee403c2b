// Where a run goes on: finds the checkpoint, and refuses one that does not belong to this configuration, this data,
// this policy or this log. Reads only, but finishes a publication that was cut short.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/note.h"
#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/data/facts.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/governance.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {

struct ResumePoint {
  std::string folder;  // of the checkpoint
  TrainerState state;
};

// What run.resume asks for: nothing for `never`; for `auto` the newest complete checkpoint of the run, if there is one;
// else the checkpoint in that folder. Throws Failure when a checkpoint is damaged, or when the run folder is already in
// use and run.resume is `never`.
std::optional<ResumePoint> find_resume_point(FileSystem& fs, const RunConfig& config);

// Throws Failure that says what differs unless the checkpoint was made with this classification (null: with none).
// Asked before a session prepares the data by it.
void check_same_classification(const ResumePoint& point, const DocumentClassifier* classifier);

// Everything that a session remembers, as it was at the checkpoint: weights, optimizer, sampler, and each part that
// keeps a state. Throws Failure unless the checkpoint was made by the same training configuration, data, policy and
// blocks, and when its files do not fit.
void load_session(FileSystem& fs, const ResumePoint& point, Session& session);

// What lies outside of the run (the day, revocations, a newer policy), as it is now, into the session's decisions: as
// the run would decide before its next step. Logs nothing. Throws Failure.
void take_in_outside(const ResumePoint& point, Session& session);

// A "device" event for the log when the checkpoint was made by another build, device or instruction set. The run goes
// on; its bits need not be those of a run that stayed.
std::vector<GovernanceEvent> device_change(const ResumePoint& point, const Session& session);

// Throws Failure unless the log in `log_folder`, of `key`, begins with the entries that the checkpoint's signed note
// covers.
void check_lineage_covers(FileSystem& fs, const ResumePoint& point, const std::string& log_folder, const NoteKey& key);

}  // namespace govtrain
