// Which examples a step trains on. An example is a chunk of one document. The order of an epoch is the order of a keyed
// hash of the example ids, so that removing a document moves no other one relative to the rest; nothing is drawn from
// a stateful generator, and the state of the sampler is two numbers.
//
// Rows: a document t[0..n) is the sequence of n+1 rows with input [bos, t0 .. t(n-1)] and target [t0 .. t(n-1), eos].
// Its examples are the consecutive ranges of at most `context` rows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/rows.h"
#include "tools/govtrain/data/dataset.h"

namespace govtrain {

struct Example {
  int32_t document = 0;         // index into Dataset::documents()
  uint32_t begin = 0, end = 0;  // rows of the document's sequence; end - begin in [1, context]
  uint64_t id = 0;  // first 8 bytes, big-endian, of SHA-256(document digest || begin as 8 bytes little-endian)
  int32_t rows() const { return static_cast<int32_t>(end - begin); }
};

uint64_t example_id(const Digest& document, uint64_t begin);

// The examples of the documents (indices, in the given order), each document's in the order of its text.
std::vector<Example> examples_of(const Dataset& dataset, const std::vector<int32_t>& documents, int context);

// The documents of a split whose `admitted` flag is not 0 (empty: all), ascending.
std::vector<int32_t> documents_of(const Dataset& dataset, Split split, const std::vector<uint8_t>& admitted = {});

struct Batch {
  std::vector<int32_t> tokens;   // [rows] inputs
  std::vector<int32_t> targets;  // [rows]
  Rows rows;                     // of the examples that are there
  std::vector<Example> examples;
  uint64_t epoch = 0;
  uint64_t cursor = 0;    // place of the first slot in the epoch's order
  int32_t slots = 0;      // examples scheduled, removed ones included
  int32_t slot_rows = 0;  // rows scheduled, removed ones included: <= tokens_per_step

  bool empty() const { return examples.empty(); }
};

// The whole state: the next batch starts at place `cursor` of epoch `epoch`.
struct SamplerState {
  uint64_t epoch = 0;
  uint64_t cursor = 0;
  bool operator==(const SamplerState&) const = default;
};

struct SamplerOptions {
  int context = 256;           // most rows of an example, >= 1
  int tokens_per_step = 8192;  // most rows of a batch, >= context
  uint64_t seed = 0;
};

class Sampler {
 public:
  // True: the document's examples are in the batch. False: their slots stay empty.
  using Keep = std::function<bool(int32_t document)>;

  // Over the training documents whose `admitted` flag is not 0 (empty: all): the schedule, fixed for the run. Keeps a
  // reference to the dataset. Throws Error when the options are out of range or no document is left.
  Sampler(const Dataset& dataset, const SamplerOptions& options, const std::vector<uint8_t>& admitted = {});

  // The next batch: examples in the order of the epoch while they fit into tokens_per_step; the first that does not
  // fit, or the end of the epoch, closes the batch. What `keep` removes moves nothing else; batches may become empty.
  Batch next(const Keep& keep = {});

  const SamplerState& state() const { return state_; }
  // Continues as if it had never stopped. Throws Error when the cursor is past the end of an epoch.
  void set_state(const SamplerState& state);

  size_t examples_per_epoch() const { return examples_.size(); }
  uint64_t rows_per_epoch() const { return rows_per_epoch_; }
  const std::vector<Example>& examples() const { return examples_; }

 private:
  void order_epoch(uint64_t epoch);

  const Dataset& dataset_;
  SamplerOptions options_;
  std::vector<Example> examples_;  // by document and begin
  std::vector<uint32_t> order_;    // of epoch ordered_
  uint64_t ordered_ = ~uint64_t{0};
  uint64_t rows_per_epoch_ = 0;
  SamplerState state_;
};

// Batches in a fixed order, for validation: the examples of the documents in the given order, packed as by Sampler.
class FixedBatches {
 public:
  // Takes whole documents until `max_rows` would be passed (0: all; the first document is always taken).
  FixedBatches(const Dataset& dataset, const std::vector<int32_t>& documents, int context, int tokens_per_step,
               uint64_t max_rows = 0);
  size_t size() const { return ranges_.size(); }
  // As Sampler::next: the slots of what `keep` removes stay empty, and nothing else moves.
  Batch batch(size_t i, const Sampler::Keep& keep = {}) const;
  uint64_t rows() const { return rows_; }
  // How many of its documents `keep` removes.
  int64_t kept_out(const Sampler::Keep& keep) const;

 private:
  const Dataset& dataset_;
  std::vector<Example> examples_;
  std::vector<std::pair<size_t, size_t>> ranges_;
  uint64_t rows_ = 0;
};

// Documents by the value of one metadata key, for a loss per source: (value, documents), sorted by value. A document
// with several provenances stands under "a + b"; without the key under "(none)".
std::vector<std::pair<std::string, std::vector<int32_t>>> group_documents(const Dataset& dataset,
                                                                          const std::vector<int32_t>& documents,
                                                                          const std::string& key);

}  // namespace govtrain
