// The review of pending shadow updates (shadow.h): what one is made of, what it would do, and the two things that may
// be done with it. Approval applies it as one optimizer step to the run's newest checkpoint:
//
//   gradient = sum / steps of the window, clipped per block by optim.clip; then the run's own optimizer, its moments
//   and clocks, steps once with the window's mean learning rate (or one that is given)
//
// The step count of the run does not move. Both decisions publish a new checkpoint of the same step, with a `review`
// record and a `ckpt` record before it: the log first, then the weights, then the pending file goes. A kill in between
// leaves either the former state, with the log ahead of it (superseded by the next resume or review), or the new one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/govtrain/train/probe.h"
#include "tools/govtrain/train/publish.h"
#include "tools/govtrain/train/resume.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/shadow.h"

namespace govtrain {

// Who contributed to a pending update, read from the log: example uses with a weight below 1 in some block.
struct Contributions {
  int64_t uses = 0, tokens = 0;
  std::map<std::string, int64_t> by_source, by_rule, by_example;  // uses; a use counts once for each deciding rule
  // Of by_example: those that are kept out by now, as the run would decide before its next step (expired, revoked, or
  // by a newer policy). An update that holds their gradients is not applied.
  std::vector<std::string> kept_out;
};

// What applying an update does to the loss of a probe set.
struct UpdateEffect {
  double lr = 0;
  double before = 0, after = 0;  // nats per token
  double predicted = 0;          // first order: gradient of the probe loss times the change of the weights
  std::vector<double> moved;     // [B] norm of the change of the weights
  double measured() const { return after - before; }
};

struct ReviewDecision {
  std::string reason, reviewer;  // as given; the reviewer may be empty
};

// The pending updates that the newest checkpoint of a run names, without building anything. Throws Failure.
std::vector<PendingName> list_pending(FileSystem& fs, const std::string& run);

class Review {
 public:
  // Loads the newest checkpoint of the run as a resume would. With `decide` it takes the log's lock, and so refuses
  // while the run is in progress. Throws Failure.
  Review(FileSystem& fs, const std::string& run, bool decide);

  PendingUpdate read(const std::string& name) const;
  Contributions contributions(const PendingUpdate& update) const;
  // Applies the update to this object's model and optimizer in memory, nothing else: once per object.
  UpdateEffect apply(const PendingUpdate& update, const Probe& probe, double lr);
  const Session& session() const { return *session_; }

  // REQUIRES: `decide`, and for approve() that apply() was called. Return the folder of the new checkpoint. approve()
  // throws Failure, and changes nothing, when somebody who contributed is kept out by now.
  std::string approve(const PendingUpdate& update, const UpdateEffect& effect, const Probe& probe,
                      const ReviewDecision& decision);
  std::string reject(const PendingUpdate& update, const ReviewDecision& decision);

 private:
  std::string publish(const PendingUpdate& update, nlohmann::json record);
  nlohmann::json record(const PendingUpdate& update, const Contributions& from, const ReviewDecision& decision) const;

  FileSystem& fs_;
  std::string run_;
  std::unique_ptr<RunConfigFile> file_;
  ResumePoint point_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<Session> session_;
  std::string log_folder_;
  std::vector<nlohmann::json> gone_;  // records of updates whose files are not there
};

}  // namespace govtrain
