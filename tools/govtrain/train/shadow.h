// Shadow updates: what is withheld, summed over a window of steps, becomes a pending update that waits for a review.
//
//   sum[b]   = sum over the window's steps of the withheld gradient of block b, in step order, before clipping
//   windows  = steps 1 to n, n+1 to 2n, ... with n = routing.shadow.every; the run's last step closes the last one
//
// A closed window is RUN/pending/<name>.safetensors, name "steps-000001-000050": the sum by parameter name, and the
// evidence as JSON in the file's metadata. It counts only once a checkpoint names it with its SHA-256. Which examples
// contributed is not kept here: the log has it (review.h). A window in which nothing was withheld leaves nothing.
#pragma once

#include <string>
#include <vector>

#include "tools/govtrain/train/withheld.h"

namespace govtrain {

inline constexpr const char* pending_dir = "pending";

struct PendingName {
  std::string name, sha256;  // of the file
};

// A pending update as it is on disk.
struct PendingUpdate {
  std::string name, path;
  int64_t first = 0, last = 0;  // steps, counted from 1
  int64_t steps = 0;            // last - first + 1
  double lr = 0;                // mean learning rate of these steps
  // [B] per block: norm of the withheld sum, norm of the sum of the admitted gradients as the optimizer received them,
  // their scalar product, and the steps whose withheld gradient was not finite and is not in the sum.
  std::vector<double> withheld, admitted, dot;
  std::vector<int64_t> not_finite;
  std::vector<NamedTensor> sum;

  double cosine(size_t block) const;  // 0 when either norm is 0
  nlohmann::json evidence() const;    // all but the tensors
};

// Checks the digest, then reads. Throws Failure.
PendingUpdate read_pending(const std::string& run, const PendingName& name);
// What the checkpoint's part "withheld" lists. Throws Error or json::exception.
std::vector<PendingName> pending_names(const nlohmann::json& part);
std::string pending_path(const std::string& run, const std::string& name);

class Shadow final : public WithheldKeeper {
 public:
  Shadow(FileSystem& fs, const RunConfig& config, Transformer& model, Backend& backend);

  // A closed window is on disk before its record is returned. Throws Failure on errors of the disk.
  std::vector<nlohmann::json> after_step(int64_t step, const StepResult& result, double lr) override;
  nlohmann::json part() const override;
  std::vector<SafetensorsInput> tensors() const override;
  void load(const nlohmann::json& part, const std::vector<NamedTensor>& tensors) override;
  // Removes files of windows that no checkpoint names (they will be closed again, or were reviewed), and forgets listed
  // ones whose file is gone, with a record for each.
  std::vector<nlohmann::json> settle(FileSystem& fs) override;

  const std::vector<PendingName>& pending() const { return pending_; }
  void forget(const std::string& name);

 private:
  struct Sums {
    Tensor withheld, admitted;
  };
  void add(const StepResult& result);
  void clear();
  PendingUpdate closed(int64_t step);
  void drop(const Tensor Sums::*which, size_t block);
  nlohmann::json write(const PendingUpdate& update);

  FileSystem* fs_;
  std::string run_;
  int64_t every_, last_step_;
  Transformer* model_;
  Backend* backend_;
  std::vector<Sums> sums_;  // per parameter
  int64_t steps_ = 0;       // in the open window
  double lr_ = 0;           // summed over them
  std::vector<int64_t> not_finite_;
  std::vector<PendingName> pending_;
};

}  // namespace govtrain
