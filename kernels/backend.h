// The arithmetic behind every op, as one small abstract class on plain views. cpu/ implements it; a second backend
// mirrors cpu/ file by file. No autograd, no routing decisions, no allocation of results here.
//
// The contract of every method:
//  - Shapes stand behind each parameter. Callers check them once (autograd); kernels only assert.
//  - An output is overwritten unless the method says "adds".
//  - Batch-invariant: what is computed for the rows of one example never depends on which other examples are in the
//    batch or where in the batch the example stands, bit for bit.
//  - Repeatable: the same bits for any number of threads. Sums run in a fixed order; threads split outputs, never sums.
//  - float32 in and out; sums across rows of norms and losses are kept in double.
//  - Views, what a Factor points to but `index`, and spans of float or double that belong to tensors (gain, bias, mean,
//    rstd, norm2, and the values of optimizers and helpers) lie in the memory of allocator(). What describes the batch
//    lies in the host's, and may change as soon as the method returns: indexes, targets, starts, ids, weights, per_row.
//    So do results that are returned or are called losses; a method that gives them waits for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/allocator.h"
#include "core/rng.h"
#include "core/rows.h"
#include "core/view.h"

namespace govtrain {

// One term of a parameter's gradient as it stands before the sum over examples. `rows` index the batch.
struct Factor {
  enum class Kind {
    outer,    // dy_i^T x_i                                 dy [rows,p], x [rows,d]            -> [p,d]
    gain,     // column sums of dy * (x - mean) * rstd      dy, x [rows,d], mean, rstd [rows]  -> [1,d]
    bias,     // column sums of dy                          dy [rows,d]                        -> [1,d]
    scatter,  // dy rows added at row index[t]              dy [rows,d], index [rows]          -> [p,d]
  };
  Kind kind = Kind::outer;
  View dy;
  View x;                          // outer, gain
  const float* mean = nullptr;     // gain; null means 0 (RMSNorm)
  const float* rstd = nullptr;     // gain
  const int32_t* index = nullptr;  // scatter; every value in [0, p)
};

// What one contraction does with the examples of the batch.
struct Contraction {
  std::span<const float> weight;    // [E]; 0 skips the example: no arithmetic at all
  std::span<double> norm2;          // [E], adds |tile|^2 of each example with weight != 0, unweighted; empty: no norms
  std::span<const float> withheld;  // [E]; empty: none. Second coefficient, for `withheld_grad`
  MutView withheld_grad;            // adds withheld[i] * tile_i; used when `withheld` is not empty
};

enum class Activation { gelu, silu };  // gelu: the tanh form (Hendrycks and Gimpel 2016), as GPT-2 uses it

// Where dropout draws its mask: a pure function of (seed, step, site, example id, position in the example, column).
struct DropoutKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint32_t site = 0;                      // which dropout of the model
  std::span<const uint64_t> example_ids;  // [E]
};

// The stream from which example number e of the batch draws; what both backends draw from.
Rng dropout_stream(const DropoutKey& key, size_t e);

struct AdamOptions {
  float lr, beta1, beta2, eps, weight_decay;
  bool decoupled;  // true: AdamW (Loshchilov and Hutter 2019); false: Adam with L2 (Kingma and Ba 2015)
  int64_t t;       // 1 at this parameter's first step
};

struct SgdOptions {
  float lr, momentum, dampening, weight_decay;
  bool nesterov;
  bool first;  // first step of this parameter: the momentum buffer is set to the gradient
};

// A rectangle of a parameter that is stepped. What stands beside `value` has its shape and stride.
struct AdamUpdate {
  MutView value;
  const float* grad;
  float* m;
  float* v;
  AdamOptions options;
};

struct SgdUpdate {
  MutView value;
  const float* grad;
  float* momentum;  // not looked at when options.momentum is 0
  SgdOptions options;
};

struct Scaling {
  MutView x;
  float factor;
};

class Backend {
 public:
  virtual ~Backend() = default;
  // "cpu", and what decides the bits beside the source: the instruction set taken ("avx2", "avx512", ...).
  virtual std::string name() const = 0;
  virtual std::string instruction_set() const = 0;
  virtual Allocator& allocator() = 0;

  // ---- linear (gemm.cpp) ----
  // y[rows,p] = x[rows,d] * w[p,d]^T + bias[p]; bias may be empty.
  virtual void linear(View x, View w, std::span<const float> bias, MutView y) = 0;
  // dx[rows,d] = (or, with add, +=) dy[rows,p] * w[p,d].
  virtual void linear_dx(View dy, View w, MutView dx, bool add) = 0;

  // ---- parameter gradients (contract.cpp): the routed kernel ----
  // For each example i in order, with weight[i] != 0 (or withheld[i] != 0):
  //   tile_i = sum of the factors over i's rows;  norm2[i] += |tile_i|^2;  grad += weight[i] * tile_i.
  // grad [p,d] (matrix factors: outer, scatter, in any mix) or [1,d] (vector factors: gain, bias, in any mix).
  // Adds. A tile lives in registers or L1; never [E,p,d]. Same bits as the batch of one example run once per example.
  virtual void contract(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad) = 0;
  // The same gradient with every weight 1, without regard to examples (plain training; no norms). Adds.
  virtual void contract_plain(std::span<const Factor> factors, MutView grad) = 0;

  // ---- attention (attention.cpp): causal, within each example ----
  // q [rows,heads*hd], k, v [rows,kv_heads*hd]; heads % kv_heads == 0; out [rows,heads*hd]; lse [rows,heads] is the
  // log-sum-exp of the scaled scores, kept for backward. Scratch is O(block * longest) per thread.
  virtual void attention(View q, View k, View v, const Rows& rows, int heads, int kv_heads, float scale, MutView out,
                         MutView lse) = 0;
  // dq, dk, dv are overwritten.
  virtual void attention_backward(View q, View k, View v, View out, View lse, View dout, const Rows& rows, int heads,
                                  int kv_heads, float scale, MutView dq, MutView dk, MutView dv) = 0;

  // Rotary positions (Su et al. 2021), half-split form as in Llama: rotates in place every head of x [rows,heads*hd] by
  // position * base^(-2j/hd); position restarts at 0 in each example and is offset by start[e] (empty: 0).
  // direction +1 forward, -1 backward (the transpose).
  virtual void rope(MutView x, const Rows& rows, std::span<const int32_t> start, int head_dim, float base,
                    int direction) = 0;

  // ---- norms (norm.cpp) ----
  // y = (x - mean) * rstd * gain + bias per row; mean, rstd [rows] are kept. bias may be empty.
  virtual void layer_norm(View x, std::span<const float> gain, std::span<const float> bias, float eps, MutView y,
                          std::span<float> mean, std::span<float> rstd) = 0;
  // dx = (or, with add, +=) gradient through x only. Without add, dx may share dy's storage; so in rms_norm_dx.
  virtual void layer_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> mean,
                             std::span<const float> rstd, MutView dx, bool add) = 0;
  // y = x * rstd * gain, rstd = 1/sqrt(mean(x^2) + eps) (Zhang and Sennrich 2019).
  virtual void rms_norm(View x, std::span<const float> gain, float eps, MutView y, std::span<float> rstd) = 0;
  virtual void rms_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> rstd, MutView dx,
                           bool add) = 0;

  // ---- elementwise (elementwise.cpp, dropout.cpp): an output may share the storage of an input of its shape ----
  virtual void activation(Activation kind, View x, MutView y) = 0;
  virtual void activation_dx(Activation kind, View dy, View x, MutView dx) = 0;
  // y = act(gate) * up (GLU variants, Shazeer 2020), and its two gradients.
  virtual void gated(Activation kind, View gate, View up, MutView y) = 0;
  virtual void gated_dx(Activation kind, View dy, View gate, View up, MutView dgate, MutView dup) = 0;
  virtual void add(View a, View b, MutView y) = 0;                                 // y = a + b
  virtual void accumulate(View x, MutView y) = 0;                                  // y += x
  virtual void scale_rows(View x, std::span<const float> per_row, MutView y) = 0;  // y[t,:] = per_row[t] * x[t,:]
  // y = x * mask / (1 - rate); calling it again with the same key on dy gives the backward pass.
  virtual void dropout(View x, const Rows& rows, const DropoutKey& key, float rate, MutView y) = 0;

  // ---- embedding (embedding.cpp) ----
  // y[t,:] = (or, with add, +=) table[index[t],:]; table [n,d], index [rows] in [0,n).
  virtual void embedding(View table, std::span<const int32_t> index, MutView y, bool add) = 0;

  // ---- loss (loss.cpp) ----
  // Softmax cross-entropy of logits [rows,v] against target [rows] (negative: the row does not count).
  // loss[e] = sum over e's counted rows of -log p(target), in double, in row order; row_loss [rows] may be empty.
  // With `dlogits_in_place` the logits are overwritten by softmax(logits) - onehot(target) (0 for rows that do not
  // count), the unscaled gradient of the sum; else they are left as they are.
  virtual void cross_entropy(MutView logits, std::span<const int32_t> target, const Rows& rows, bool dlogits_in_place,
                             std::span<double> loss, std::span<float> row_loss) = 0;

  // ---- many pieces at once: an optimizer's step, clipping, clearing ----
  // The pieces of a list must not overlap. Every element has the bits that it has in a list of its piece alone.
  // Optimizers (optimizer.cpp): elementwise, the published rules as PyTorch states them.
  virtual void adam(std::span<const AdamUpdate> updates) = 0;
  virtual void sgd(std::span<const SgdUpdate> updates) = 0;
  virtual void scale(std::span<const Scaling> pieces) = 0;  // x *= factor
  virtual void fill(std::span<const MutView> pieces, float value) = 0;
  // Adds the squares of x[i] to sum[into[i]], piece after piece; in double, in an order that the shapes decide. `sum`
  // lies in the memory of allocator().
  virtual void add_squares(std::span<const View> x, std::span<const int32_t> into, std::span<double> sum) = 0;

  // The same for one array of values.
  void scale(std::span<float> x, float factor);
  void fill(std::span<float> x, float value);
  double sum_of_squares(std::span<const float> x);

  // First row of x with a value that is not finite, or -1.
  virtual int64_t first_non_finite_row(View x) = 0;
};

// The host backend. Instruction set: the best of AVX-512 and AVX2 (or NEON) that this CPU has, unless the environment
// variable GOVTRAIN_ISA names a lesser one; Error when the CPU has none of them.
Backend& cpu_backend();

}  // namespace govtrain
