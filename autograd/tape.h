// Reverse-mode differentiation over a creation-order tape. The order of creation is already topological, so backward is
// one loop, without recursion. Knows nothing of routing (param_grad.h) nor of arithmetic (kernels/backend.h).
//
// Memory: a value lives as long as a Var or a backward closure holds it, so what backward does not need goes when the
// model drops its Var; a gradient lives from its first contribution until its producer has run. A tape that is told
// beforehand which parameters can receive a gradient records nothing below the lowest of them: those activations are
// not kept at all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "autograd/param_grad.h"
#include "autograd/parameter.h"
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

 private:
  friend class Tape;
  Var(Tape* tape, int node, Tensor value) : tape_(tape), node_(node), value_(std::move(value)) {}
  Tape* tape_ = nullptr;
  int node_ = -1;
  Tensor value_;
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
  std::vector<double> nll;      // [E] sum over the counted rows, nats
  std::vector<int64_t> counts;  // [E] counted rows
  Var var;                      // [E,1]
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
  // For ops. Adds a node: `inputs` are node numbers (-1 allowed), `uses` the parameters whose factors its backward
  // hands over. Backward receives the gradient of the result, shaped like it. In eval mode, and where no gradient is
  // needed, only wraps the value: what the closure holds is let go.
  using BackwardFn = std::function<void(Backward&, const Tensor& dy)>;
  Var record(const char* op, Tensor value, std::vector<int> inputs, std::vector<const Parameter*> uses,
             BackwardFn backward);

  // Runs backward from sum_e coefficient[e] * nll[e], and leaves the parameter gradients in `grads`. Below the lowest
  // parameter that is active for this batch nothing is computed. Once per tape. Throws Error when `grads` admits a
  // parameter that was used where nothing was recorded.
  void backward(const Losses& losses, std::span<const float> coefficient, ParamGrad& grads);

  // Checks every later result and gradient; costs a pass over each. To find the origin of a loss or norm that is not
  // finite, run the same step again with the watch on: it is deterministic, so nothing need be kept for it.
  void watch_finite() { watch_ = true; }
  const std::optional<NonFinite>& first_non_finite() const { return non_finite_; }

 private:
  friend class Backward;
  struct Node {
    const char* op;
    std::vector<int> inputs;
    std::vector<const Parameter*> uses;
    BackwardFn backward;
    Tensor grad;
    bool needed = false;
  };
  void watch(size_t node, const char* op, View value, bool in_backward);

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

// What a backward closure may do. Gradients of inputs that nothing below needs are not asked for.
class Backward {
 public:
  // Whether the gradient of this node leads to an active parameter. False for -1.
  bool needs(int node) const { return node >= 0 && tape_->nodes_[static_cast<size_t>(node)].needed; }
  // Where to put the gradient of a node: a buffer [rows, cols], to be overwritten or (add) to be added to.
  struct Slot {
    MutView view;
    bool add;
  };
  Slot slot(int node, int64_t rows, int64_t cols);
  // The same, shaped like dy. For ops that may write over dy when they have done with it: the first gradient of the
  // node takes dy's storage if nobody else holds it.
  Slot slot_over(int node, const Tensor& dy);
  // Adds a finished gradient; takes it over without a copy if it is the first.
  void give(int node, const Tensor& grad);

  ParamGrad& parameters() const { return *grads_; }
  Tensor make(int64_t rows, int64_t cols) const { return tape_->make(rows, cols); }
  Backend& backend() const { return tape_->backend(); }
  const Rows& rows() const { return tape_->rows(); }

 private:
  friend class Tape;
  Backward(Tape& tape, ParamGrad& grads) : tape_(&tape), grads_(&grads) {}
  Tape* tape_;
  ParamGrad* grads_;
};

}  // namespace govtrain
