// A model's weights and configuration as Hugging Face classes name and lay them out. GPT-2-like models become
// GPT2LMHeadModel tensors (fused and transposed projections), Llama-like ones LlamaForCausalLM tensors. Other mixtures
// use Llama's names, with model_type "govtrain" and these additions: model.embed_positions.weight, *.bias of norms and
// projections, and no gate_proj in an MLP without gate. No files here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer.h"

namespace govtrain {

struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;  // [d] or [rows, cols]
  Tensor value;                // row-major float32; [1, d] for vectors
};

// In a fixed order. Tensors that need no change of layout share storage with the model: write them before it is
// stepped again. A tied head is not listed twice.
std::vector<NamedTensor> export_tensors(const Transformer& model);

// Copies the tensors in. Throws Error that lists every name that is missing, unknown or of another shape; then the
// model is unchanged. A "lm_head.weight" beside a tied head must equal the embedding.
void import_tensors(Transformer& model, const std::vector<NamedTensor>& tensors);

// The content of config.json, as text.
std::string hf_config_json(const TransformerConfig& config);
// Reads it back; also what Hugging Face itself writes for the two classes. Throws Error that names the key.
TransformerConfig config_from_hf_json(const std::string& text);

}  // namespace govtrain
