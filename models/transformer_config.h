// The choices of a decoder: GPT-2's, Llama's, and mixtures. Plain data with a check.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace govtrain {

enum class MlpKind { gelu, silu, swiglu, geglu };
enum class NormKind { layernorm, rmsnorm };
enum class PositionKind { learned, rope };

struct TransformerConfig {
  int64_t vocab = 0;
  int64_t context = 0;  // longest example, tokens
  int64_t layers = 0;
  int64_t width = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;   // 0: as many as heads
  int64_t mlp_width = 0;  // 0: 4 * width; gated kinds: 8/3 * width rounded up to a multiple of 32
  MlpKind mlp = MlpKind::swiglu;
  NormKind norm = NormKind::rmsnorm;
  double norm_eps = 1e-5;
  PositionKind positions = PositionKind::rope;
  double rope_base = 10000;
  bool tied_head = true;
  bool bias = false;   // on projections and LayerNorm; the head never has one
  double dropout = 0;  // after the embedding and after each branch

  int64_t head_dim() const { return width / heads; }
  bool gated() const { return mlp == MlpKind::swiglu || mlp == MlpKind::geglu; }
  // Exactly what the Hugging Face classes GPT2LMHeadModel and LlamaForCausalLM can express, dropout aside.
  bool is_gpt2() const;
  bool is_llama() const;
  // Fills in the zeros that stand for defaults.
  TransformerConfig resolved() const;
  // All that is wrong with it, as "model.<key>: ..."; empty when it can be built.
  std::vector<std::string> problems() const;
  // Number of parameter elements of the resolved configuration.
  int64_t parameter_count() const;
};

// Names as in a configuration file. parse_* throw Error that lists the choices.
const char* name(MlpKind kind);
const char* name(NormKind kind);
const char* name(PositionKind kind);
MlpKind parse_mlp(const std::string& text);
NormKind parse_norm(const std::string& text);
PositionKind parse_positions(const std::string& text);

}  // namespace govtrain
