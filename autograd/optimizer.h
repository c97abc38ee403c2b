// The published update rules, unmodified, on routed gradients; one clock per slice, so that a block to which nothing
// was admitted is not stepped: no momentum drift, no decay, no tick of Adam's bias correction. Clips nothing and
// schedules nothing by itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "kernels/backend.h"

namespace govtrain {

enum class OptimizerKind {
  sgd,    // with momentum, dampening, Nesterov (PyTorch's form)
  adam,   // decay as L2 (Kingma and Ba 2015)
  adamw,  // decoupled decay (Loshchilov and Hutter 2019)
};

enum class Untouched {
  skip,  // a block to which nothing was admitted keeps its values and its state, bit for bit
  step,  // it is stepped with gradient 0: momentum moves it, decay shrinks it
};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adamw;
  float momentum = 0, dampening = 0;  // sgd
  bool nesterov = false;              // sgd
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  float weight_decay = 0;
  bool decay_vectors = false;  // false: only matrices decay (projections and embeddings), not gains and biases
  Untouched untouched = Untouched::skip;
};

// What a step reads and what it moves.
enum class Drives {
  model,         // the routed gradient moves the parameters' values
  displacement,  // inert: the withheld gradient moves a tensor of the optimizer's own, which starts at 0. No decay, as
                 // that would be the model's, not the gradient's. The model is never written.
};

// The state to save, by name: "<parameter>.exp_avg", "<parameter>.exp_avg_sq", "<parameter>.momentum_buffer" or
// "<parameter>.displacement".
struct OptimizerState {
  struct Buffer {
    std::string name;
    Tensor value;
  };
  struct Clock {
    std::string name;            // the parameter's
    std::vector<int64_t> steps;  // per slice
  };
  std::vector<Buffer> buffers;
  std::vector<Clock> clocks;
};

class Optimizer {
 public:
  // `set` and `backend` must outlive it. Blocks must be assigned before. Throws Error on options out of range.
  Optimizer(ParameterSet& set, Backend& backend, OptimizerOptions options, Drives drives = Drives::model);

  // One step with the gradients that the set holds, in one call of the backend. Returns, per block, whether it was
  // stepped.
  std::vector<bool> step(double lr);

  const OptimizerOptions& options() const { return options_; }
  // Shares storage with the optimizer: copy before the next step.
  OptimizerState export_state() const;
  // Throws Error that lists all that is missing, unknown, or of another shape; then nothing was changed.
  void import_state(const OptimizerState& state);

 private:
  struct Slot {
    Tensor first;   // exp_avg or momentum_buffer; may be undefined (plain SGD)
    Tensor second;  // exp_avg_sq
    Tensor moved;   // displacement; undefined when the model is driven
    std::vector<int64_t> steps;
  };

  ParameterSet* set_;
  Backend* backend_;
  OptimizerOptions options_;
  Drives drives_;
  std::vector<Slot> slots_;
};

// Learning rate as a function of the step, counted from 0.
struct Schedule {
  enum class Kind { constant, linear, cosine };
  Kind kind = Kind::cosine;
  double lr = 1e-3;
  double min_lr = 0;         // reached at the last step (linear, cosine)
  int64_t warmup_steps = 0;  // linear from lr / warmup_steps up to lr
  int64_t total_steps = 1;
  double at(int64_t step) const;
};

}  // namespace govtrain
