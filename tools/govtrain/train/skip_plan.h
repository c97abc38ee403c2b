// Where the backward pass of each example may end, and how a batch is put in order so that it does end there: the tape
// goes back over the leading examples only (autograd/tape.h). Skipping changes no bit, for kernels are batch-invariant.
// Only the order of a batch enters the bits, and it is a function of the weights alone. Knows nothing of activations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/technique.h"
#include "routing/route_table.h"
#include "tools/govtrain/data/sampler.h"

namespace govtrain {

class SkipPlan {
 public:
  // Parameters are taken to be in the order of their first use, as models add them.
  // `gates`, of the model's techniques, may be null and must outlive the plan.
  // `by_profile`: a batch is put in order by whole profiles, for Enforcement::optimizer.
  explicit SkipPlan(const ParameterSet& set, const GatePlan* gates = nullptr, bool by_profile = false);

  // Elements of the parameters below the lowest block that has a weight which is not 0: what the backward pass of
  // these weights [B] can leave out. nothing() when all are 0. An embedding table counts as one element, for reading
  // it costs nothing.
  int64_t below(std::span<const float> weights) const;
  int64_t nothing() const { return elements_ + 1; }
  bool by_profile() const { return by_profile_; }

 private:
  const GatePlan* gates_;
  bool by_profile_;
  std::vector<int64_t> below_;  // [B]
  int64_t elements_ = 0;
};

// Sorts the examples of a batch and its route table by what they can leave out, stably: those that need the most come
// first, so that the rows that are still active at any depth are one prefix, and those to which nothing is admitted
// stand at the end. Returns where each example stood before, [E]. With plan.by_profile() those that can leave out the
// same are sorted by their weights, the first block first, so that equal profiles stand together.
std::vector<size_t> arrange(Batch& batch, RouteTable& route, const SkipPlan& plan);

}  // namespace govtrain
