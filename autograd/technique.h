// How a weight acts on the gradients in the backward pass, and what follows for the parameters. Only the backward pass:
// no technique changes a value of the forward pass. Where a model has gates is the model's business (models/); this is
// the arithmetic of weights that all models share. Formulas: docs/techniques.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace govtrain {

// Several at once multiply: each acts where it stands.
struct Techniques {
  bool scale = true;            // the parameter gradient of the block
  bool boundary = false;        // the activation gradient at the block's output: compounds downwards
  bool residual_gate = false;   // the gradient that enters the block's residual branches
  bool attention_gate = false;  // the gradient of queries, keys and values, per head
  bool gates() const { return boundary || residual_gate || attention_gate; }
};

// From "scale", "boundary", "residual_gate", "attention_gate". Throws Error on none, on others, and on repetitions.
Techniques parse_techniques(const std::vector<std::string>& names);

// Columns [begin, end) of a value that belong to a block.
struct GateSegment {
  int block = 0;
  int64_t begin = 0, end = 0;
};

// What the gates of a model mean for its blocks.
struct GatePlan {
  bool scale = true;         // the weight multiplies the parameter gradients too
  std::vector<bool> gated;   // [B] some gate applies the block's weight
  std::vector<int> out;      // [B] place of the block's output in depth; empty: no boundary gates
  std::vector<int> highest;  // [B] the highest place at which a parameter of the block is used; as `out`

  // The weights [B] that multiply the parameter gradients of an example, beside the gates: 0 where its weight is 0 or
  // where a boundary of weight 0 stands above all uses of the block; else the weight itself with `scale` and in blocks
  // that no gate serves; else 1.
  void parameter_weights(std::span<const float> weights, std::span<float> out_weights) const;
};

}  // namespace govtrain
