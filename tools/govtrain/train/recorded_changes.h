// The profile changes that another run's log records: what `adaptation.replay` applies in place of measuring.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/reader.h"
#include "lineage/record.h"
#include "routing/controller.h"

namespace govtrain {

struct RecordedChange {
  int64_t step = 0;      // the first step in which it counts
  uint64_t index = 0;    // of the entry in that log
  std::string policy;    // id of the one in force
  ControlRecord record;  // `adapt`, `proposal` (applied) or `review` (of a proposal, approved)
  std::map<std::string, std::vector<float>> weights;  // profile -> after
};

struct RecordedPolicy {
  std::string id, text;                                // canonical
  std::map<std::string, std::vector<float>> profiles;  // as the log states them first
};

struct RecordedChanges {
  std::string origin;  // of the log
  std::vector<RecordedPolicy> policies;
  std::vector<std::string> blocks;
  std::vector<RecordedChange> changes;      // in order, without what a rewind superseded
  std::vector<RecordedChange> proposals;    // all of them, whatever became of them
  std::map<int64_t, std::string> verdicts;  // of proposals that were reviewed, by id
  int64_t steps = 0;                        // of the run
  bool adapts = false;                      // there is an `adapt` record, be it that nothing was measured
};

// The policy with the weights that the log states for each of its profiles. Throws Failure when they do not fit.
BoundPolicy bind_recorded(const RecordedPolicy& policy, const std::vector<std::string>& blocks);

// Throws Failure when the log cannot be read or a record is malformed.
RecordedChanges read_recorded_changes(LogReader& log);
// `place` is a run folder or the folder of a log.
RecordedChanges read_recorded_changes(FileSystem& fs, const std::string& place);

// Why a pending proposal could not be applied any more: what it would change has other weights than it was made for.
std::optional<std::string> stale(const RecordedChanges& log, const RecordedChange& proposal);

// Decides every change and proposal again from its evidence under the policy that the log holds; what disagrees.
std::vector<std::string> check_recorded(const RecordedChanges& log);

}  // namespace govtrain
