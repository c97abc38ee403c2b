// A second model that surprisal is measured with: an average of the trained one's weights, or a frozen checkpoint.
// Costs one forward pass of its own per measured example, without a tape, and the memory of its weights; the average
// also one pass over all weights after each step. Deterministic; dropout is off; an example's surprisal does not depend
// on who else is measured. Never trained, never written to by gradients.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/file.h"
#include "models/hf_names.h"
#include "models/transformer.h"
#include "tools/govtrain/data/tokenizer.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {

class ReferenceModel {
 public:
  // Starts as a copy of `model`. Throws Error unless 0 < decay < 1.
  static std::unique_ptr<ReferenceModel> average(const Transformer& model, double decay, Backend& backend);
  // A checkpoint, or any folder with config.json, model.safetensors and a tokenizer file; where there is a DONE, its
  // digests must hold. Throws Failure when it cannot be read, has another tokenizer than `tokenizer` (by digest), or
  // too small a context.
  static std::unique_ptr<ReferenceModel> frozen(FileSystem& fs, const std::string& folder, const Tokenizer& tokenizer,
                                                int64_t context, Backend& backend);

  // Of the examples with wanted[e] != 0: sum of the token losses in nats, and counted tokens. The others get 0 and 0.
  // At most `max_rows` rows are forwarded at a time (0: all), which changes no bit.
  struct Measured {
    std::vector<double> nll;      // [E]
    std::vector<int64_t> counts;  // [E]
  };
  Measured measure(const TrainBatch& batch, const std::vector<uint8_t>& wanted, int64_t max_rows);
  int64_t rows() const { return rows_; }  // forwarded so far

  // weights <- decay * weights + (1 - decay) * model. Nothing for a frozen one.
  void follow(const Transformer& model);

  const std::string& digest() const { return digest_; }  // frozen: "sha256:<hex>" of model.safetensors; else empty
  std::vector<NamedTensor> tensors() const { return export_tensors(*model_); }
  // Throws Error when they do not fit.
  void set_tensors(const std::vector<NamedTensor>& tensors) { import_tensors(*model_, tensors); }

 private:
  ReferenceModel(std::unique_ptr<Transformer> model, double decay, Backend& backend);

  std::unique_ptr<Transformer> model_;
  double decay_;  // 0: frozen
  Backend* backend_;
  std::string digest_;
  int64_t rows_ = 0;
};

}  // namespace govtrain
