// Where training meets lineage: turns what a step did into records. Owns the log of one run. Decides nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/async_log.h"
#include "lineage/record.h"
#include "routing/bands.h"
#include "routing/route_table.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/train/run_key.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {

// What the log says of a document in each of its records.
struct DocumentLabel {
  std::string ex;                  // "sha256:<hex>"
  std::string prof;                // profile
  std::string cls;                 // classification
  std::string prov;                // name of the provenance object
  std::optional<std::string> clv;  // the classification, if there is one
  std::optional<float> score;      // of its claims
};

struct RunLogOptions {
  std::string folder;    // the log's folder
  std::string key_path;  // private key, mode 0600, outside of the folder
  std::string origin;    // of a new log; made unique by a random suffix
  uint64_t flush_records = 4096;
};

class RunLog {
 public:
  // A new key, by the maker at options.key_path, and an empty log. `notice` receives a line when the key of another log
  // was moved aside.
  static Result<std::unique_ptr<RunLog>> create(FileSystem& fs, const RunLogOptions& options, KeyMaker& key_maker,
                                                std::string& notice);
  // The existing log, recovered, to go on with it.
  static Result<std::unique_ptr<RunLog>> open(FileSystem& fs, const RunLogOptions& options);

  Status control(const std::string& kind, nlohmann::json payload);
  Result<std::string> provenance(const std::string& json) { return log_.put_provenance(json); }
  // An example that was excluded when the run started: all weights 0, no step.
  Status excluded(const ExampleRecord& record);
  // `step` counts from 1, as in metrics and checkpoints. One record per example in batch order, then one `step` record:
  // loss, learning rate, clip factor and whether it was stepped, per block. `labels` is indexed by Example::document;
  // `marks` [E], or empty without bands.
  Status step(int64_t step, const Batch& batch, const std::vector<DocumentLabel>& labels, const std::string& policy_id,
              const StepResult& result, double lr, const std::vector<EntropyMark>& marks);

  // Durable and signed.
  Status flush() { return log_.flush(); }
  uint64_t size() const { return log_.size(); }
  uint64_t lag() const { return log_.lag(); }
  double blocked_seconds() const { return log_.blocked_seconds(); }
  std::string note() const { return log_.checkpoint_note(); }
  const std::string& verifier_key() const { return verifier_key_; }

  RunLog(LogWriter writer, const RunLogOptions& options);

 private:
  std::string verifier_key_;
  AsyncLog log_;
};

}  // namespace govtrain
