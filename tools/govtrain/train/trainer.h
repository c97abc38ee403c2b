// One training step: forward, routed backward, clip per block, optimizer. The batch may be cut into micro-batches; the
// result has the same bits. The host waits for the device once, for losses and norms together, before the update that
// depends on them; once more where what is withheld is kept, and after each forward pass whose losses complete a
// route. When step() returns the update may still be under way. What nobody is admitted to is skipped (skip_plan.h),
// which changes no bit either. Knows no files, no log, no policy: the route table is an argument.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "autograd/param_grad.h"
#include "core/rows.h"
#include "models/transformer.h"
#include "routing/route_table.h"
#include "tools/govtrain/train/skip_plan.h"

namespace govtrain {

struct TrainBatch {
  std::span<const int32_t> tokens;    // [rows]
  std::span<const int32_t> targets;   // [rows]; negative: does not count
  Rows rows;                          // E examples
  std::vector<uint64_t> example_ids;  // [E]
};

struct TrainerOptions {
  uint64_t seed = 0;
  int64_t loss_denominator = 1;  // the objective is the sum of token losses divided by this constant
  int64_t micro_batch_rows = 0;  // 0: the whole batch at once
  double clip = 0;               // L2 norm per block; 0: off
  bool routed = true;            // false: plain training, no route table, no norms
  // Where the route table is enforced; points other than backward need the technique 'scale', and `loss` no `withheld`.
  // Under `loss` a step makes as many forward and backward passes as its examples have terms (autograd/enforcement.h).
  Enforcement enforcement = Enforcement::backward;
  bool norms = true;
  // Keep what is withheld in this step (Parameter::withheld), clipped per block on its own to this norm; 0: not
  // clipped.
  bool withheld = false;
  double withheld_clip = 0;
  bool skip = true;               // leave out what nobody is admitted to; false computes it and throws it away
  bool forward_excluded = false;  // compute the losses of examples that may teach no block, for whoever reads them
};

struct StepResult {
  // [E] nats, sum over the example's counted rows; 0 where there was no forward pass, or where it is not finite and the
  // example teaches nothing.
  std::vector<double> nll;
  std::vector<int64_t> counts;   // [E] counted rows; 0 as nll
  RouteTable route;              // [E,B] that was carried out; empty in plain training
  std::vector<double> norms;     // [E,B] realised, after the weight, before clipping; empty without norms
  std::vector<BlockClip> clips;  // [B]
  std::vector<bool> stepped;     // [B]
  // [B] what was withheld, its norm before clipping; empty unless it is kept. Where the norm is not finite nothing was
  // kept: that never stops or changes the step.
  std::vector<BlockClip> withheld;
  // Set when a loss, a norm or a gradient is not finite: then nothing was updated.
  std::optional<NonFinite> non_finite;

  double mean_loss() const;      // nats per counted token; NaN where none was counted
  double gradient_norm() const;  // over all blocks, before clipping
};

// The losses of a micro-batch after its forward pass: examples first .. first + n of the batch.
struct ForwardResult {
  int first_example = 0;
  std::span<const double> nll;      // [n] nats, sum over the example's counted rows
  std::span<const int64_t> counts;  // [n]
};

// May only restrict `route` ([n, B], of that micro-batch): called between the forward and the backward pass.
using CompleteRoute = std::function<void(const ForwardResult& forward, RouteTable& route)>;

class Trainer {
 public:
  // All references must outlive the trainer. Techniques and blocks of the model must be set before.
  Trainer(Transformer& model, Backend& backend, const OptimizerOptions& optimizer, const TrainerOptions& options);

  // `route` is [E,B]; ignored in plain training. An empty batch is a step in which nothing is admitted. With
  // `complete`, the decision that was carried out is in the result. An example with weight 0 in every block is not
  // forwarded (and `complete` not asked about it) unless forward_excluded; skipping works best on an arranged batch.
  StepResult step(const TrainBatch& batch, const RouteTable& route, uint64_t step, double lr,
                  const CompleteRoute& complete = {});

  // Forward and backward without clip, check or update; the gradients are cleared. To measure a step.
  void rehearse(const TrainBatch& batch, const RouteTable& route);

  Optimizer& optimizer() { return optimizer_; }
  const Optimizer& optimizer() const { return optimizer_; }
  const TrainerOptions& options() const { return options_; }
  const SkipPlan& skip_plan() const { return plan_; }

 private:
  struct MicroBatch;
  std::vector<MicroBatch> cut(const TrainBatch& batch, const RouteTable& route, bool forward_excluded) const;
  MicroBatch part(const TrainBatch& batch, const RouteTable& route, int first, int last) const;
  // What was computed and is on its way to the host: each call waits for it and adds it to the result.
  using Arrivals = std::vector<std::function<void(StepResult&)>>;
  Arrivals add_gradients(const TrainBatch& batch, std::vector<MicroBatch>& parts, uint64_t step, bool watch,
                         const CompleteRoute& complete, StepResult& result);
  void forward_and_back(MicroBatch& part, uint64_t step, bool watch, const CompleteRoute& complete, StepResult& result,
                        Arrivals& later);
  void accumulate(MicroBatch& part, uint64_t step, bool watch, const CompleteRoute& complete, StepResult& result,
                  Arrivals& later);
  NonFinite locate(const TrainBatch& batch, std::vector<MicroBatch>& parts, uint64_t step);

  Transformer* model_;
  Backend* backend_;
  TrainerOptions options_;
  SkipPlan plan_;
  Optimizer optimizer_;
  ProfileGroups groups_;  // of Enforcement::optimizer
};

}  // namespace govtrain
