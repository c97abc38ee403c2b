// Checkpoint folders: a Hugging Face model folder and the state to resume from, published atomically.
//
//   ckpt/step-000500/
//     config.json, generation_config.json, model.safetensors, tokenizer files     what a reader of the model needs
//     optimizer.safetensors, trainer_state.json                                   what resuming needs
//     withheld.safetensors, probe.safetensors                                     too, where a run keeps them
//     lineage.checkpoint                                                          the signed log that covers the
//     weights DONE                                                                        sha256 of every other file,
//     written last
//
// Saving has two halves, because the log must be durable and signed before the weights become visible: stage() writes
// everything under a temporary name and gives the digests for the log's record; publish() adds the signed note and
// renames.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "autograd/optimizer.h"
#include "core/file.h"
#include "models/hf_names.h"
#include "models/transformer.h"
#include "tools/govtrain/io/safetensors.h"

namespace govtrain {

// Where a run stands after `step` steps.
struct TrainerState {
  int64_t step = 0;
  int64_t epoch = 0;        // sampler
  int64_t cursor = 0;       // sampler
  uint64_t log_size = 0;    // records in the log that led here
  int64_t tokens = 0;       // trained on, with any admitted block
  std::string policy_date;  // YYYY-MM-DD on which the policy was evaluated
  std::string policy_id;
  std::string dataset_key;  // the prepared data
  std::string config_json;  // canonical
  // What each part of the run that learns or changes as it goes has to remember, by the part's name.
  nlohmann::json parts = nlohmann::json::object();
};

class CheckpointStore {
 public:
  struct Staged {
    int64_t step = 0;
    std::map<std::string, std::string> sha256;  // by file name
  };

  CheckpointStore(FileSystem& fs, std::string folder) : fs_(&fs), folder_(std::move(folder)) {}

  // Complete checkpoints (with DONE), by ascending step.
  Result<std::vector<int64_t>> steps() const;
  std::string path(int64_t step) const;

  // `files` are copied in as they are (tokenizer), by name; `tensors` become safetensors files, by name.
  Result<Staged> stage(const Transformer& model, const Optimizer& optimizer, const TrainerState& state,
                       const std::map<std::string, std::string>& files,
                       const std::map<std::string, std::vector<SafetensorsInput>>& tensors = {});
  Status publish(const Staged& staged, const std::string& lineage_note);
  // Finishes a publish() that was cut between moving a former checkpoint of the same step away and putting the new one
  // in its place.
  Status recover();

  // Destroys `file` in every complete checkpoint with first <= step <= last that has it, and makes DONE agree. Returns
  // the names of those checkpoints.
  Result<std::vector<std::string>> destroy(const std::string& file, int64_t first, int64_t last);

  // Renames the complete checkpoints after `step` to "<name>.superseded" (.2, .3, ...): a run that goes on from `step`
  // abandons them.
  Status set_aside_after(int64_t step);

  // Removes all but the newest `keep_last` (0: all are kept) and those at multiples of `keep_every` (0: none). Never
  // the newest. Temporary folders of an interrupted save are removed too.
  Status prune(int64_t keep_last, int64_t keep_every);

 private:
  FileSystem* fs_;
  std::string folder_;
};

// Checks the digests in DONE, then reads. `corrupt` names the file and what is wrong.
Status verify_checkpoint_folder(FileSystem& fs, const std::string& folder);
Result<TrainerState> load_trainer_state(FileSystem& fs, const std::string& folder);
// The model in the allocator's memory; `corrupt` when the tensors do not fit the configuration.
Result<std::unique_ptr<Transformer>> load_model(FileSystem& fs, const std::string& folder,
                                                Allocator& allocator = host_allocator());
// The tensors of a safetensors file; `corrupt` when it is malformed or not of float32.
Result<std::vector<NamedTensor>> read_tensors(const std::string& path);
// Overwrites the values of `model` and the state of `optimizer`.
Status load_training(FileSystem& fs, const std::string& folder, Transformer& model, Optimizer& optimizer);

}  // namespace govtrain
