// One decoder-only transformer with pre-norm residual blocks; GPT-2 and Llama are two configurations of it.
//   x = embed(tokens) (+ position); for each layer: x += attention(norm(x)); x += mlp(norm(x)); logits = norm(x) W^T
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "autograd/ops.h"
#include "models/transformer_config.h"

namespace govtrain {

// The tokens of a ragged batch; the rows are the tape's.
struct TokenBatch {
  std::span<const int32_t> tokens;  // [rows], each in [0, vocab)
  std::span<const int32_t> start;   // [E] position of each example's first token; empty: 0
};

// Sees a value of the forward pass, [rows, width], as it stands: stage 0 is the embedding's output, stage l + 1 the
// residual stream after layer l, stage layers + 1 the final norm's output. The view is host memory,
// valid during the call only.
using ObserveStage = std::function<void(int stage, View value)>;

class Transformer {
 public:
  // Initialises every parameter as a pure function of (seed, name, element): normal(0, 0.02), projections into the
  // residual stream normal(0, 0.02 / sqrt(2 layers)) (GPT-2), gains 1, biases 0. Throws Error with all problems of
  // the configuration.
  Transformer(const TransformerConfig& config, uint64_t seed, Allocator& allocator = host_allocator());

  // The parameters that a model of this configuration has, in its order, without making any. Throws as above.
  static std::vector<ParameterInfo> parameter_infos(const TransformerConfig& config);

  const TransformerConfig& config() const { return config_; }  // resolved
  ParameterSet& parameters() { return set_; }
  const ParameterSet& parameters() const { return set_; }
  // What set_techniques() would throw for a model of this configuration with these blocks, without making its values.
  static void check_techniques(const TransformerConfig& config, const BlockMap& blocks, const Techniques& techniques);
  // Puts the gates of the techniques into the backward pass; the forward pass stays as it is, bit for bit. For the
  // blocks that are assigned now. Throws Error with everything for which they do not allow it.
  void set_techniques(const Techniques& techniques);
  const GatePlan* gates() const { return gates_.any ? &gates_.plan : nullptr; }  // null: scale alone
  int stages() const { return static_cast<int>(config_.layers) + 2; }            // of ObserveStage

  // Logits [rows, vocab]. Throws Error on tokens out of range and on examples longer than the context.
  Var forward(Tape& tape, const TokenBatch& batch);
  // The final norm's output [rows, width], before the head; and the head alone. `observe` changes nothing.
  Var hidden(Tape& tape, const TokenBatch& batch, const ObserveStage& observe = {});
  Var head(const Var& hidden);
  // cross_entropy(forward(batch), target); target [rows], negative where a row does not count.
  Losses loss(Tape& tape, const TokenBatch& batch, std::span<const int32_t> target, std::span<float> row_loss = {});

 private:
  struct LayerGates {
    std::vector<GateSegment> q, k, v, attention_branch, after_attention, mlp_branch, after_mlp;
  };
  struct Gates {
    std::vector<LayerGates> layers;
    std::vector<GateSegment> embedding, logits;
    GatePlan plan;
    bool any = false;
  };
  struct Layer {
    Parameter *norm1, *norm1_bias, *q, *q_bias, *k, *k_bias, *v, *v_bias, *o, *o_bias;
    Parameter *norm2, *norm2_bias, *gate, *gate_bias, *up, *up_bias, *down, *down_bias;
  };
  Transformer(const TransformerConfig& config, Allocator& allocator);  // values undefined
  void build();
  void place_boundaries(const std::function<void(const std::string&)>& problem);
  void initialise(uint64_t seed);
  Var norm(const Var& x, Parameter& gain, Parameter* bias) const;
  Var mlp(const Var& x, const Layer& layer) const;

  TransformerConfig config_;
  ParameterSet set_;
  Parameter* embed_ = nullptr;
  Parameter* positions_ = nullptr;
  std::vector<Layer> layers_;
  Gates gates_;
  Parameter* final_norm_ = nullptr;
  Parameter* final_norm_bias_ = nullptr;
  Parameter* head_ = nullptr;  // the embedding when tied
};

}  // namespace govtrain
