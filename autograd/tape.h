// Reverse-mode differentiation over a creation-order tape. The order of creation is already topological, so backward is
// one loop, without recursion. Knows nothing of routing (param_grad.h) nor of arithmetic (kernels/backend.h).
//
// Memory: a value lives as long as a Var or a backward closure holds it, so what backward does not need goes when the
// model drops its Var; a gradient lives from its first contribution until its producer has run.
//
// A tape that is told beforehand which examples can reach which parameters goes back, at every op, over the leading
// examples only: up to the last one that is admitted to a parameter at the op or below it. Of the others' rows nothing
// is computed, and nothing is kept. The shorter the lower the op, if the batch is in order; right in any order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "autograd/param_grad.h"
#include "autograd/parameter.h"
#include "core/buffer.h"
#include "core/rows.h"
#include "core/tensor.h"
#include "kernels/backend.h"

namespace govtrain {

class Tape;
class Backward;

// A value in the graph: a small handle, cheap to copy. Hand it over with std::move where it is not used again: ops then
// may reuse its storage.
class Var {
 public:
  Var() = default;
  bool defined() const { return value_.defined(); }
  Tape& tape() const { return *tape_; }
  int node() const { return node_; }  // -1: not differentiated
  const Tensor& value() const { return value_; }
  View view() const { return value_.cview(); }
  int64_t rows() const { return value_.rows(); }
  int64_t cols() const { return value_.cols(); }
  // Gives the value away and leaves this handle empty.
  Tensor take() { return std::move(value_); }
  // What backward is to hold of the value: at least its leading `rows` rows, in a copy that the handles of this value
  // share; the value itself when that is all of it; nothing for 0.
  Tensor kept(int64_t rows) const;

 private:
  friend class Tape;
  Var(Tape* tape, int node, Tensor value)
      : tape_(tape), node_(node), value_(std::move(value)), kept_(std::make_shared<Tensor>()) {}
  Tape* tape_ = nullptr;
  int node_ = -1;
  Tensor value_;
  std::shared_ptr<Tensor> kept_;  // a copy of leading rows, once there is one
};

static_assert(!std::is_convertible_v<Parameter, Var> && !std::is_convertible_v<Parameter&, Var> &&
                  !std::is_constructible_v<Var, Parameter&>,
              "a parameter reaches the graph only through ops that hand its factors to param_grad");

enum class Mode {
  train,  // records
  eval,   // records nothing; values go as soon as their Var goes; dropout is the identity
};

// What random streams of a step are keyed by.
struct StepKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  std::vector<uint64_t> example_ids;  // [E]; may be empty when nothing draws
};

// The first value that is not finite, in the order of computation.
struct NonFinite {
  std::string op;
  bool in_backward = false;  // the gradient entering the op, not its result
  std::string parameter;     // the op's parameter, or that of the nearest op before it; may be empty
  int block = -1;            // the block of that parameter's first slice
  int example = -1;          // index in the batch
  int64_t row = -1;
};

// Losses per example, from cross_entropy().
struct Losses {
  Pending<double> sums;         // [E] sum over the counted rows, nats
  std::vector<int64_t> counts;  // [E] counted rows
  Var var;                      // [E,1] stands for the losses in the graph; values only under watch_finite()
  // The sums. Waits for the forward pass.
  const std::vector<double>& nll() const { return sums.get(); }
  double total_nll() const;
  int64_t total_count() const;
};

class Tape {
 public:
  // `rows` and `known` must outlive the tape. With `known`, an op at or below which none of its parameters is active
  // is not recorded; the gradients that backward() is given later may be narrower, never wider. Throws Error when
  // example_ids is neither empty nor of E.
  Tape(Backend& backend, const Rows& rows, Mode mode, StepKey key = {}, const ParamGrad* known = nullptr);
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Backend& backend() const { return *backend_; }
  const Rows& rows() const { return *rows_; }
  Mode mode() const { return mode_; }
  bool recording() const { return mode_ == Mode::train; }
  Tensor make(int64_t rows, int64_t cols) const { return Tensor(rows, cols, backend_->allocator()); }
  // The key of the next dropout of the model. Throws Error when the step key has no example ids.
  DropoutKey next_dropout();

  // What was known of the gradients before the forward pass; may be null.
  const ParamGrad* known() const { return known_; }
  // For ops. A value through which no gradient goes.
  Var constant(Tensor value) { return Var(this, -1, std::move(value)); }
  // For ops, before record(): the leading rows of the batch that the backward of such a node may be given, so what it
  // has to hold. 0 when it will not be recorded.
  int64_t active_rows(const std::vector<int>& inputs, const std::vector<const Parameter*>& uses) const;
  // For ops. Whether somebody may be admitted to the parameter: what serves its gradient alone need not be kept else.
  bool may_learn(const Parameter& p) const { return known_ == nullptr || known_->active(p); }
  // The leading rows of a value: itself when that is all of it, nothing for 0, else a copy.
  Tensor leading(const Tensor& value, int64_t rows) const;
  // For ops. Adds a node: `inputs` are node numbers (-1 allowed), `uses` the parameters whose factors its backward
  // hands over. Backward receives the gradient of the result's leading rows, at most active_rows() of them, whole
  // examples. In eval mode, and where no gradient is needed, only wraps the value: what the closure holds is let go.
  // `kept`: leading rows of the result that the closure holds anyway.
  using BackwardFn = std::function<void(Backward&, const Tensor& dy)>;
  Var record(const char* op, Tensor value, std::vector<int> inputs, std::vector<const Parameter*> uses,
             BackwardFn backward, const Tensor& kept = {});

  // Runs backward from sum_e coefficient[e] * nll[e], and leaves the parameter gradients in `grads`. Below the lowest
  // parameter that is active for this batch nothing is computed. Once per tape. Throws Error when `grads` admits an
  // example to a parameter that was used where nothing of that example was recorded.
  void backward(const Losses& losses, std::span<const float> coefficient, ParamGrad& grads);

  // Checks every later result and gradient; costs a pass over each. To find the origin of a loss or norm that is not
  // finite, run the same step again with the watch on: it is deterministic, so nothing need be kept for it.
  void watch_finite() { watch_ = true; }
  bool watches() const { return watch_; }
  const std::optional<NonFinite>& first_non_finite() const { return non_finite_; }

 private:
  friend class Backward;
  struct Node {
    const char* op;
    std::vector<int> inputs;
    std::vector<const Parameter*> uses;
    BackwardFn backward;
    int examples = 0;     // leading ones whose rows it was recorded for; in backward, those that are gone back over
    bool by_rows = true;  // the value has the batch's rows, not one row for each example
    Tensor grad;
    bool needed = false;
  };
  int active_examples(const std::vector<int>& inputs, const std::vector<const Parameter*>& uses,
                      const ParamGrad& grads) const;
  bool unreached(const std::vector<int>& inputs, const std::vector<const Parameter*>& uses) const;
  void watch(size_t node, const char* op, View value, bool by_rows, bool in_backward);

  Backend* backend_;
  const Rows* rows_;
  Mode mode_;
  StepKey key_;
  const ParamGrad* known_;
  std::vector<const Parameter*> unrecorded_;  // used where nothing was recorded
  uint32_t dropouts_ = 0;
  bool watch_ = false;
  std::optional<NonFinite> non_finite_;
  const Parameter* last_used_ = nullptr;
  std::vector<Node> nodes_;
};

// What a backward closure may do. Gradients of inputs that nothing below needs are not asked for; of the others, those
// of the leading rows that something below needs, which may be fewer than dy has.
class Backward {
 public:
  // Whether the gradient of this node leads to an active parameter. False for -1.
  bool needs(int node) const { return node >= 0 && tape_->nodes_[static_cast<size_t>(node)].needed; }
  // Where to put the gradient of a node: a buffer [rows that it needs, cols], to be overwritten or (add) to be added
  // to.
  struct Slot {
    MutView view;
    bool add;
  };
  Slot slot(int node, int64_t cols);
  // The same, of dy's columns. For ops that may write over dy when they have done with it: the first gradient of the
  // node takes dy's storage if nobody else holds it and the rows are the same.
  Slot slot_over(int node, const Tensor& dy);
  // Adds a finished gradient, of as many rows as dy has; takes it over without a copy if it is the first and whole.
  void give(int node, const Tensor& grad);

  ParamGrad& parameters() const { return *grads_; }
  Tensor make(int64_t rows, int64_t cols) const { return tape_->make(rows, cols); }
  Backend& backend() const { return tape_->backend(); }
  // The examples that dy has rows of: the leading ones of the batch.
  const Rows& rows() const { return rows_; }

 private:
  friend class Tape;
  Backward(Tape& tape, ParamGrad& grads) : tape_(&tape), grads_(&grads), rows_(tape.rows()) {}
  int64_t rows_of(int node) const;
  Tape* tape_;
  ParamGrad* grads_;
  Rows rows_;
};

}  // namespace govtrain
