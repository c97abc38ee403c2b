#include "models/transformer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/hash.h"
#include "core/parallel.h"
#include "core/rng.h"

namespace govtrain {
namespace {

// The names of a layer's parts in the two families (models/hf_names.h).
struct LayerNames {
  const char *norm1, *q, *k, *v, *o, *norm2, *gate, *up, *down;
};
constexpr LayerNames gpt2_names = {"ln_1", "attn.c_attn.q", "attn.c_attn.k", "attn.c_attn.v", "attn.c_proj", "ln_2",
                                   "",     "mlp.c_fc",      "mlp.c_proj"};
constexpr LayerNames llama_names = {"input_layernorm",  "self_attn.q_proj", "self_attn.k_proj",
                                    "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm",
                                    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

uint64_t name_key(const std::string& name) {
  const Digest d = sha256(name);
  uint64_t key = 0;
  for (size_t i = 0; i < 8; ++i) key = key << 8 | d[i];
  return key;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// For models of which only the shapes matter.
class NoMemory : public Allocator {
 public:
  void* allocate(size_t) override { return nullptr; }
  void release(void*, size_t) noexcept override {}
  size_t live_bytes() const override { return 0; }
  size_t peak_bytes() const override { return 0; }
  void reset_peak() override {}
  void trim() override {}
};

}  // namespace

Transformer::Transformer(const TransformerConfig& config, uint64_t seed, Allocator& allocator)
    : Transformer(config, allocator) {
  initialise(seed);
}

std::vector<ParameterInfo> Transformer::parameter_infos(const TransformerConfig& config) {
  NoMemory nothing;
  return Transformer(config, nothing).set_.infos();
}

void Transformer::check_techniques(const TransformerConfig& config, const BlockMap& blocks,
                                   const Techniques& techniques) {
  NoMemory nothing;
  Transformer model(config, nothing);
  model.set_.assign_blocks(blocks);
  model.set_techniques(techniques);
}

Transformer::Transformer(const TransformerConfig& config, Allocator& allocator)
    : config_(config.resolved()), set_(allocator) {
  std::string text;
  for (const std::string& problem : config.problems()) text += "\n  " + problem;
  if (!text.empty()) throw Error("transformer", "this configuration cannot be built:{}", text);
  build();
}

void Transformer::build() {
  const TransformerConfig& c = config_;
  const bool gpt2 = c.is_gpt2();
  const LayerNames& names = gpt2 ? gpt2_names : llama_names;
  const std::string root = gpt2 ? "transformer." : "model.";
  const int last = static_cast<int>(c.layers);
  const int64_t kv = c.kv_heads * c.head_dim();
  using Axis = Division::Axis;
  const auto bias = [&](const std::string& name, const char* role, int layer, int64_t size, int64_t parts = 0) {
    const Division division{parts > 0 ? Axis::cols : Axis::none, parts};
    return c.bias ? &set_.add_vector(name + ".bias", role, layer, size, division) : nullptr;
  };
  const auto norm = [&](const std::string& name, int layer, Parameter*& gain, Parameter*& shift) {
    gain = &set_.add_vector(name + ".weight", "norm", layer, c.width);
    shift = c.norm == NormKind::layernorm ? bias(name, "norm", layer, c.width) : nullptr;
  };
  // `into` projects to the parts (heads, channels), `out_of` back from them.
  const auto into = [&](const std::string& name, const char* role, int layer, int64_t out, int64_t parts, Parameter*& w,
                        Parameter*& b) {
    w = &set_.add_matrix(name + ".weight", role, layer, out, c.width, {Axis::rows, parts});
    b = bias(name, role, layer, out, parts);
  };
  const auto out_of = [&](const std::string& name, const char* role, int layer, int64_t in, int64_t parts,
                          Parameter*& w, Parameter*& b) {
    w = &set_.add_matrix(name + ".weight", role, layer, c.width, in, {Axis::cols, parts});
    b = bias(name, role, layer, c.width);
  };

  embed_ = &set_.add_matrix(root + (gpt2 ? "wte" : "embed_tokens") + ".weight", "embedding", -1, c.vocab, c.width);
  if (c.positions == PositionKind::learned) {
    positions_ =
        &set_.add_matrix(root + (gpt2 ? "wpe" : "embed_positions") + ".weight", "embedding", -1, c.context, c.width);
  }
  for (int l = 0; l < last; ++l) {
    const std::string prefix = fmt::format("{}{}.{}.", root, gpt2 ? "h" : "layers", l);
    Layer y{};
    norm(prefix + names.norm1, l, y.norm1, y.norm1_bias);
    into(prefix + names.q, "attention", l, c.width, c.heads, y.q, y.q_bias);
    into(prefix + names.k, "attention", l, kv, c.kv_heads, y.k, y.k_bias);
    into(prefix + names.v, "attention", l, kv, c.kv_heads, y.v, y.v_bias);
    out_of(prefix + names.o, "attention", l, c.width, c.heads, y.o, y.o_bias);
    norm(prefix + names.norm2, l, y.norm2, y.norm2_bias);
    if (c.gated()) into(prefix + names.gate, "mlp", l, c.mlp_width, c.mlp_width, y.gate, y.gate_bias);
    into(prefix + names.up, "mlp", l, c.mlp_width, c.mlp_width, y.up, y.up_bias);
    out_of(prefix + names.down, "mlp", l, c.mlp_width, c.mlp_width, y.down, y.down_bias);
    layers_.push_back(y);
  }
  norm(root + (gpt2 ? "ln_f" : "norm"), last, final_norm_, final_norm_bias_);
  head_ = c.tied_head ? embed_ : &set_.add_matrix("lm_head.weight", "head", last, c.vocab, c.width);
}

void Transformer::initialise(uint64_t seed) {
  const float residual = static_cast<float>(0.02 / std::sqrt(2.0 * static_cast<double>(config_.layers)));
  for (size_t i = 0; i < set_.size(); ++i) {
    Parameter& p = set_[i];
    std::vector<float> value(static_cast<size_t>(p.value().size()), ends_with(p.name(), ".bias") ? 0.0f : 1.0f);
    const int64_t cols = p.cols();
    if (p.is_vector()) {
      p.value().assign(value);
      continue;
    }
    const bool into_residual = ends_with(p.name(), "o_proj.weight") || ends_with(p.name(), "down_proj.weight") ||
                               ends_with(p.name(), "c_proj.weight");
    const float deviation = into_residual ? residual : 0.02f;
    const Rng rng(seed, Stream::init, name_key(p.name()));
    parallel_for(p.rows(), [&](int64_t r) {
      for (int64_t j = r * cols; j < (r + 1) * cols; ++j) {
        value[static_cast<size_t>(j)] = deviation * rng.normal(static_cast<uint64_t>(j));
      }
    });
    p.value().assign(value);
  }
}

Var Transformer::norm(const Var& x, Parameter& gain, Parameter* bias) const {
  const auto eps = static_cast<float>(config_.norm_eps);
  return config_.norm == NormKind::layernorm ? layer_norm(x, gain, bias, eps) : rms_norm(x, gain, eps);
}

Var Transformer::mlp(const Var& x, const Layer& y) const {
  switch (config_.mlp) {
    case MlpKind::gelu:
      return linear(gelu(linear(x, *y.up, y.up_bias)), *y.down, y.down_bias);
    case MlpKind::silu:
      return linear(silu(linear(x, *y.up, y.up_bias)), *y.down, y.down_bias);
    case MlpKind::swiglu:
    case MlpKind::geglu:
      break;
  }
  const Activation kind = config_.mlp == MlpKind::swiglu ? Activation::silu : Activation::gelu;
  return linear(gated(kind, linear(x, *y.gate, y.gate_bias), linear(x, *y.up, y.up_bias)), *y.down, y.down_bias);
}

Var Transformer::hidden(Tape& tape, const TokenBatch& batch, const ObserveStage& observe) {
  const Rows& rows = tape.rows();
  if (rows.longest() > config_.context) {
    throw Error("transformer", "expected examples of at most {} tokens (the context), got {}", config_.context,
                rows.longest());
  }
  if (!batch.start.empty() && batch.start.size() != static_cast<size_t>(rows.examples())) {
    throw Error("transformer", "start; expected {} positions, got {}", rows.examples(), batch.start.size());
  }
  std::vector<int32_t> position;
  if (positions_ != nullptr) {
    position.resize(static_cast<size_t>(rows.total()));
    for (int e = 0; e < rows.examples(); ++e) {
      const int32_t first = batch.start.empty() ? 0 : batch.start[static_cast<size_t>(e)];
      for (int t = rows.begin(e); t < rows.end(e); ++t) position[static_cast<size_t>(t)] = first + t - rows.begin(e);
    }
  }
  AttentionOptions attend;
  attend.heads = static_cast<int>(config_.heads);
  attend.kv_heads = static_cast<int>(config_.kv_heads);
  attend.rope_base = config_.positions == PositionKind::rope ? static_cast<float>(config_.rope_base) : 0.0f;
  attend.start = batch.start;
  const auto rate = static_cast<float>(config_.dropout);

  int stage = 0;
  const auto seen = [&](const Var& value) {
    if (observe) observe(stage, value.value().host().cview());
    ++stage;
  };
  Var x = dropout(embedding(tape, *embed_, batch.tokens, positions_, position), rate);
  x = gate(std::move(x), gates_.embedding);
  seen(x);
  gates_.layers.resize(layers_.size());
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& y = layers_[l];
    const LayerGates& g = gates_.layers[l];
    {
      const Var h = norm(x, *y.norm1, y.norm1_bias);
      Var q = gate(linear(h, *y.q, y.q_bias), g.q);
      Var k = gate(linear(h, *y.k, y.k_bias), g.k);
      Var v = gate(linear(h, *y.v, y.v_bias), g.v);
      const Var mixed = attention(std::move(q), std::move(k), std::move(v), attend);
      Var branch = gate(dropout(linear(mixed, *y.o, y.o_bias), rate), g.attention_branch);
      x = gate(add(std::move(x), std::move(branch)), g.after_attention);
    }
    Var branch = gate(dropout(mlp(norm(x, *y.norm2, y.norm2_bias), y), rate), g.mlp_branch);
    x = gate(add(std::move(x), std::move(branch)), g.after_mlp);
    seen(x);
  }
  Var out = norm(x, *final_norm_, final_norm_bias_);
  seen(out);
  return out;
}

Var Transformer::head(const Var& hidden) { return gate(linear(hidden, *head_), gates_.logits); }

Var Transformer::forward(Tape& tape, const TokenBatch& batch) { return head(hidden(tape, batch)); }

Losses Transformer::loss(Tape& tape, const TokenBatch& batch, std::span<const int32_t> target,
                         std::span<float> row_loss) {
  return cross_entropy(forward(tape, batch), target, row_loss);
}

}  // namespace govtrain
