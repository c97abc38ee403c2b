// The probe set: a fixed list of texts, and what the model makes of them. Nothing is learned from it. Its texts may
// shape weights of other documents (through policies that adapt), so it takes only validation documents that the policy
// admits to every block, or a file of the operator's; never a document that is kept out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/hf_names.h"
#include "models/transformer.h"
#include "routing/representation.h"
#include "tools/govtrain/data/dataset.h"

namespace govtrain {

struct ProbeOptions {
  int64_t examples = 0;       // most; at least two are needed
  std::string file;           // one text per line; empty: validation documents
  int context = 256;          // longer texts are cut
  int rows_per_batch = 8192;  // memory; does not change the result
  double alpha = 1;           // of the entropy
};

// One value for each stage of the model (ObserveStage); none when fewer than two texts are left to measure.
struct ProbeMeasurement {
  int64_t examples = 0;
  std::string digest;  // of the examples that were measured
  std::vector<double> entropy, capacity;
  std::vector<double> drift;  // 1 - CKA against the reference; empty while there is none
};

class ProbeSet {
 public:
  // `documents`: validation documents that may be used, in order. Throws Error when fewer than two texts are found.
  ProbeSet(const Dataset& dataset, const std::vector<int32_t>& documents, const ProbeOptions& options);

  // In eval mode. An example is the mean of its rows, summed in row order in double and kept as float32. Documents for
  // which `keep` is false (some block no longer admits them) are left out, of the reference too. The first measurement
  // with `set_reference` fixes what drift is measured against. Same bits for any number of threads and rows_per_batch.
  ProbeMeasurement measure(Transformer& model, Backend& backend, const std::function<bool(int32_t)>& keep,
                           bool set_reference);

  const std::string& digest() const { return digest_; }  // of all examples: SHA-256 over their tokens
  int64_t examples() const { return static_cast<int64_t>(texts_.size()); }
  bool has_reference() const { return !reference_.empty(); }
  // The reference, one tensor [examples, width] for each stage; none while there is no reference.
  std::vector<NamedTensor> reference() const;
  // Throws Error when it does not fit the probe set.
  void restore(const std::vector<NamedTensor>& reference);

 private:
  struct Text {
    int32_t document = -1;        // -1: from the file
    std::vector<int32_t> tokens;  // inputs, beginning with bos
    std::string digest;
  };
  std::vector<Tensor> represent(Transformer& model, Backend& backend) const;  // [stage] of [examples, width]
  static std::string digest_of(const std::vector<const Text*>& texts);

  ProbeOptions options_;
  std::vector<Text> texts_;
  std::string digest_;
  std::vector<Tensor> reference_;
};

}  // namespace govtrain
