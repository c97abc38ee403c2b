// Validation loss, in all and per source. The documents, their order and their cut into batches are fixed, and losses
// are added one example after the other, so that two evaluations of the same weights give the same bits. A document
// that is kept out is not forwarded: the same bits as if it were absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "models/transformer.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/sampler.h"

namespace govtrain {

struct EvalResult {
  struct Source {
    std::string name;
    double nll = 0;  // nats, summed
    int64_t tokens = 0;
    double loss() const { return tokens == 0 ? 0 : nll / static_cast<double>(tokens); }
  };
  struct NonFinite {
    std::string source;
    Example example;
  };
  Source all{"all"};
  std::vector<Source> sources;          // by name; those of which nothing is left are not there
  int64_t kept_out = 0;                 // documents that `keep` does not hold for
  std::optional<NonFinite> non_finite;  // the first loss that is not finite
};

class Evaluator {
 public:
  // The validation split, grouped by the metadata key `group`. `max_rows` in all (0: everything), shared out among the
  // sources in proportion to their size, at least one document each.
  Evaluator(const Dataset& dataset, const std::string& group, int context, int rows_per_batch, int64_t max_rows);

  // `keep`: the documents that are measured; empty: all.
  EvalResult run(Transformer& model, Backend& backend, const Sampler::Keep& keep = {}) const;
  int64_t rows() const;
  std::vector<std::string> groups() const;

 private:
  struct Group {
    std::string name;
    FixedBatches batches;
  };
  std::vector<Group> groups_;
};

}  // namespace govtrain
