// What becomes of the gradients that the policy withholds (routing.withheld):
//
//   discard     nothing is kept; there is no object of this kind
//   quarantine  an inert optimizer of the same rule steps on them and moves a displacement of its own (quarantine.cpp)
//   shadow      summed over a window of steps into a pending update, which waits for a review (shadow.h)
//
// None of them changes a bit of the model or of its optimizer. What a mode remembers is in the checkpoint: small things
// in TrainerState::parts["withheld"], tensors in withheld.safetensors.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.h"
#include "models/hf_names.h"
#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/io/safetensors.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {

inline constexpr const char* withheld_file = "withheld.safetensors";
inline constexpr const char* withheld_part = "withheld";

class WithheldKeeper {
 public:
  virtual ~WithheldKeeper() = default;

  // After the trainer's step `step`, counted from 1, while the parameters still hold its gradients. Returns `review`
  // records to log, most often none.
  virtual std::vector<nlohmann::json> after_step(int64_t step, const StepResult& result, double lr) = 0;

  // The tensors share storage with this object.
  virtual nlohmann::json part() const = 0;
  virtual std::vector<SafetensorsInput> tensors() const = 0;
  // Throws Error when they do not fit the model or are not of this mode.
  virtual void load(const nlohmann::json& part, const std::vector<NamedTensor>& tensors) = 0;

  // Puts the files outside of checkpoints in accord with what was loaded, when a run starts or goes on. Returns
  // records of what is no longer there.
  virtual std::vector<nlohmann::json> settle(FileSystem&) { return {}; }
};

// Null when withheld gradients are discarded. `model` and `backend` must outlive it.
std::unique_ptr<WithheldKeeper> make_withheld_keeper(FileSystem& fs, const RunConfig& config, Transformer& model,
                                                     Backend& backend);
std::unique_ptr<WithheldKeeper> make_quarantine(const RunConfig& config, Transformer& model, Backend& backend);

// Throws Failure when a checkpoint of a run that keeps what it withholds has lost it.
void load_withheld(FileSystem& fs, const std::string& checkpoint, const nlohmann::json& parts, WithheldKeeper& keeper);

}  // namespace govtrain
