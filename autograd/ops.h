// The differentiable functions. Each checks its shapes (Error names op, expected, got), computes through the backend,
// and records how to go back. Forward rows of one example never depend on another example. Results are new values
// unless a Var was moved in whose storage nobody else holds.
#pragma once

#include <span>
#include <vector>

#include "autograd/tape.h"
#include "autograd/technique.h"

namespace govtrain {

// y[t] = table[token[t]] (+ positions[position[t]]): [rows, d]. table [n, d], positions [m, d] or null; tokens,
// position [rows]. Throws Error on an index out of range. Factors: scatter.
Var embedding(Tape& tape, Parameter& table, std::span<const int32_t> tokens, Parameter* positions = nullptr,
              std::span<const int32_t> position = {});

// y[rows,p] = x[rows,d] * w[p,d]^T + b[p]. Factors: outer {dy, x}, bias {dy}. b may be null.
Var linear(const Var& x, Parameter& w, Parameter* b = nullptr);

// y = (x - mean) / sqrt(var + eps) * gain + bias over each row of [rows,d] (Ba, Kiros, Hinton 2016); the variance is
// the biased one. Factors: gain, bias. bias may be null.
Var layer_norm(const Var& x, Parameter& gain, Parameter* bias, float eps);

// y = x / sqrt(mean(x^2) + eps) * gain over each row of [rows,d] (Zhang and Sennrich 2019). Factor: gain.
Var rms_norm(const Var& x, Parameter& gain, float eps);

struct AttentionOptions {
  int heads = 1;
  int kv_heads = 1;                // divides heads; query head h reads key head h / (heads / kv_heads)
  float rope_base = 0;             // 0: no rotary positions
  std::span<const int32_t> start;  // [E] position of each example's first row; empty: 0. Rotary only; copied
};

// Causal softmax attention within each example (Vaswani et al. 2017), scores scaled by 1/sqrt(head_dim).
// q [rows, heads*hd], k, v [rows, kv_heads*hd] -> [rows, heads*hd]. Rotates q and k in place when they were moved in.
Var attention(Var q, Var k, Var v, const AttentionOptions& options);

Var gelu(const Var& x);  // tanh form
Var silu(const Var& x);  // x * sigmoid(x)
// act(gate) * up: SwiGLU with silu, GEGLU with gelu (Shazeer 2020). Both [rows, f].
Var gated(Activation kind, const Var& gate, const Var& up);

// a + b, same shape. Written over the storage of b, or else of a, if it was moved in and nobody else holds it.
Var add(Var a, Var b);

// x * mask / (1 - rate), the mask keyed by (seed, step, call number, example id, position, column). The identity in
// eval mode and for rate 0. rate in [0, 1).
Var dropout(Var x, float rate);

// Softmax cross-entropy of logits [rows, v] against target [rows] (negative: the row does not count; else < v).
// One sum per example, in double. When logits was moved in and is being trained on, its storage becomes the gradient.
// row_loss [rows], if given, receives the loss of each row (0 where it does not count); then this waits for them.
Losses cross_entropy(Var logits, std::span<const int32_t> target, std::span<float> row_loss = {});

// x itself; its gradient is multiplied, example by example, by the weight of the block of each segment, and is exactly
// 0 where that weight is 0. Segments cover the columns in order; none: no gate. Where no example of the batch is let
// through, nothing below is recorded for the sake of x.
Var gate(Var x, const std::vector<GateSegment>& segments);

// y[j] = x[index[j]]. Eval mode only: the rows of the result are no longer the rows of the batch.
Var take_rows(const Var& x, std::span<const int32_t> index);

}  // namespace govtrain
