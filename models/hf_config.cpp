// config.json of the Hugging Face classes, both ways (models/hf_names.h).
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/hf_names.h"

namespace govtrain {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void bad(const std::string& key, const std::string& expected, const Json& got) {
  throw Error("config.json", "'{}'; expected {}, got {}", key, expected, got.is_null() ? "nothing" : got.dump());
}

int64_t integer(const Json& j, const char* key) {
  const Json v = j.value(key, Json());
  if (!v.is_number_integer() || (v.is_number_unsigned() && v.get<uint64_t>() > uint64_t{1} << 62)) {
    bad(key, "an integer", v);
  }
  return v.get<int64_t>();
}
int64_t integer(const Json& j, const char* key, int64_t otherwise) {
  return j.contains(key) && !j.at(key).is_null() ? integer(j, key) : otherwise;
}
double number(const Json& j, const char* key, double otherwise) {
  if (!j.contains(key) || j.at(key).is_null()) return otherwise;
  if (!j.at(key).is_number()) bad(key, "a number", j.at(key));
  return j.at(key).get<double>();
}
bool boolean(const Json& j, const char* key, bool otherwise) {
  if (!j.contains(key) || j.at(key).is_null()) return otherwise;
  if (!j.at(key).is_boolean()) bad(key, "true or false", j.at(key));
  return j.at(key).get<bool>();
}
std::string text(const Json& j, const char* key, const std::string& otherwise) {
  if (!j.contains(key) || j.at(key).is_null()) return otherwise;
  if (!j.at(key).is_string()) bad(key, "a string", j.at(key));
  return j.at(key).get<std::string>();
}

TransformerConfig from_gpt2(const Json& j) {
  TransformerConfig c;
  c.vocab = integer(j, "vocab_size");
  c.context = integer(j, "n_positions");
  c.layers = integer(j, "n_layer");
  c.width = integer(j, "n_embd");
  c.heads = integer(j, "n_head");
  c.mlp_width = integer(j, "n_inner", 0);
  const std::string activation = text(j, "activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {
    bad("activation_function", "gelu_new", activation);
  }
  if (!boolean(j, "scale_attn_weights", true)) bad("scale_attn_weights", "true", false);
  if (boolean(j, "scale_attn_by_inverse_layer_idx", false)) bad("scale_attn_by_inverse_layer_idx", "false", true);
  c.mlp = MlpKind::gelu;
  c.norm = NormKind::layernorm;
  c.norm_eps = number(j, "layer_norm_epsilon", 1e-5);
  c.positions = PositionKind::learned;
  c.bias = true;
  c.tied_head = boolean(j, "tie_word_embeddings", true);
  c.dropout = number(j, "resid_pdrop", 0.1);
  return c;
}

TransformerConfig from_llama(const Json& j, bool mixed) {
  TransformerConfig c;
  c.vocab = integer(j, "vocab_size");
  c.context = integer(j, "max_position_embeddings");
  c.layers = integer(j, "num_hidden_layers");
  c.width = integer(j, "hidden_size");
  c.heads = integer(j, "num_attention_heads");
  c.kv_heads = integer(j, "num_key_value_heads", 0);
  c.mlp_width = integer(j, "intermediate_size");
  c.norm_eps = number(j, "rms_norm_eps", 1e-6);
  c.rope_base = number(j, "rope_theta", 10000);
  c.tied_head = boolean(j, "tie_word_embeddings", false);
  c.bias = boolean(j, "attention_bias", false);
  c.dropout = number(j, "dropout", 0);
  if (boolean(j, "mlp_bias", false) != c.bias)
    bad("mlp_bias", "the same as attention_bias", j.value("mlp_bias", Json()));
  if (j.contains("rope_scaling") && !j.at("rope_scaling").is_null()) {
    bad("rope_scaling", "null", j.at("rope_scaling"));
  }
  if (c.heads > 0 && j.contains("head_dim") && integer(j, "head_dim", 0) != c.width / c.heads) {
    bad("head_dim", "hidden_size / num_attention_heads", j.at("head_dim"));
  }
  if (mixed) {
    c.norm = parse_norm(text(j, "norm", "rmsnorm"));
    c.positions = parse_positions(text(j, "positions", "rope"));
    c.mlp = parse_mlp(text(j, "mlp", "swiglu"));
    return c;
  }
  const std::string activation = text(j, "hidden_act", "silu");
  if (activation != "silu" && activation != "gelu_pytorch_tanh") {
    bad("hidden_act", "silu or gelu_pytorch_tanh", activation);
  }
  c.mlp = activation == "silu" ? MlpKind::swiglu : MlpKind::geglu;
  return c;
}

}  // namespace

std::string hf_config_json(const TransformerConfig& config) {
  const TransformerConfig c = config.resolved();
  Json j;
  if (c.is_gpt2()) {
    j["architectures"] = {"GPT2LMHeadModel"};
    j["model_type"] = "gpt2";
    j["activation_function"] = "gelu_new";
    j["attn_pdrop"] = 0.0;
    j["embd_pdrop"] = c.dropout;
    j["initializer_range"] = 0.02;
    j["layer_norm_epsilon"] = c.norm_eps;
    j["n_embd"] = c.width;
    j["n_head"] = c.heads;
    j["n_inner"] = c.mlp_width;
    j["n_layer"] = c.layers;
    j["n_positions"] = c.context;
    j["resid_pdrop"] = c.dropout;
  } else {
    const bool llama = c.is_llama();
    j["architectures"] = {llama ? "LlamaForCausalLM" : "GovtrainForCausalLM"};
    j["model_type"] = llama ? "llama" : "govtrain";
    j["attention_bias"] = c.bias;
    j["attention_dropout"] = 0.0;
    j["dropout"] = c.dropout;
    j["head_dim"] = c.head_dim();
    if (llama) j["hidden_act"] = c.mlp == MlpKind::swiglu ? "silu" : "gelu_pytorch_tanh";
    j["hidden_size"] = c.width;
    j["initializer_range"] = 0.02;
    j["intermediate_size"] = c.mlp_width;
    j["max_position_embeddings"] = c.context;
    if (!llama) j["mlp"] = name(c.mlp);
    j["mlp_bias"] = c.bias;
    if (!llama) j["norm"] = name(c.norm);
    j["num_attention_heads"] = c.heads;
    j["num_hidden_layers"] = c.layers;
    j["num_key_value_heads"] = c.kv_heads;
    if (!llama) j["positions"] = name(c.positions);
    j["rms_norm_eps"] = c.norm_eps;
    j["rope_scaling"] = nullptr;
    j["rope_theta"] = c.rope_base;
  }
  j["tie_word_embeddings"] = c.tied_head;
  j["torch_dtype"] = "float32";
  j["use_cache"] = true;
  j["vocab_size"] = c.vocab;
  return j.dump(2) + "\n";
}

TransformerConfig config_from_hf_json(const std::string& content) {
  const Json j = Json::parse(content, nullptr, false);
  if (!j.is_object()) throw Error("config.json", "expected a JSON object, got something else");
  const std::string type = text(j, "model_type", "");
  TransformerConfig c;
  if (type == "gpt2") {
    c = from_gpt2(j);
  } else if (type == "llama" || type == "govtrain") {
    c = from_llama(j, type == "govtrain");
  } else {
    bad("model_type", "gpt2, llama or govtrain", j.value("model_type", Json()));
  }
  std::string wrong;
  for (const std::string& problem : c.problems()) wrong += "\n  " + problem;
  if (!wrong.empty()) throw Error("config.json", "this model cannot be built:{}", wrong);
  return c.resolved();
}

}  // namespace govtrain
