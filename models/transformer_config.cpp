#include "models/transformer_config.h"

#include <fmt/format.h>

#include "core/error.h"

namespace govtrain {
namespace {

template <class Kind>
Kind parse(const char* key, const std::string& text, std::initializer_list<Kind> kinds) {
  std::string choices;
  for (const Kind kind : kinds) {
    if (text == name(kind)) return kind;
    choices += (choices.empty() ? "" : ", ") + std::string(name(kind));
  }
  throw Error("model", "{}; expected one of {}, got '{}'", key, choices, text);
}

}  // namespace

const char* name(MlpKind kind) {
  switch (kind) {
    case MlpKind::gelu:
      return "gelu";
    case MlpKind::silu:
      return "silu";
    case MlpKind::swiglu:
      return "swiglu";
    case MlpKind::geglu:
      return "geglu";
  }
  return "?";
}

const char* name(NormKind kind) { return kind == NormKind::layernorm ? "layernorm" : "rmsnorm"; }
const char* name(PositionKind kind) { return kind == PositionKind::learned ? "learned" : "rope"; }

MlpKind parse_mlp(const std::string& text) {
  return parse("mlp", text, {MlpKind::gelu, MlpKind::silu, MlpKind::swiglu, MlpKind::geglu});
}
NormKind parse_norm(const std::string& text) { return parse("norm", text, {NormKind::layernorm, NormKind::rmsnorm}); }
PositionKind parse_positions(const std::string& text) {
  return parse("positions", text, {PositionKind::learned, PositionKind::rope});
}

TransformerConfig TransformerConfig::resolved() const {
  TransformerConfig c = *this;
  if (c.kv_heads == 0) c.kv_heads = c.heads;
  if (c.mlp_width == 0) c.mlp_width = c.gated() ? (c.width * 8 / 3 + 31) / 32 * 32 : 4 * c.width;
  return c;
}

bool TransformerConfig::is_gpt2() const {
  const TransformerConfig c = resolved();
  return c.norm == NormKind::layernorm && c.positions == PositionKind::learned && c.mlp == MlpKind::gelu && c.bias &&
         c.kv_heads == c.heads;
}

bool TransformerConfig::is_llama() const {
  return norm == NormKind::rmsnorm && positions == PositionKind::rope && gated();
}

std::vector<std::string> TransformerConfig::problems() const {
  std::vector<std::string> out;
  const auto range = [&](const char* key, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high) {
      out.push_back(fmt::format("model.{}: expected {} to {}, got {}", key, low, high, value));
    }
    return value >= low && value <= high;
  };
  range("vocab", vocab, 2, int64_t{1} << 24);
  range("context", context, 1, int64_t{1} << 20);
  range("layers", layers, 1, 4096);
  const bool width_ok = range("width", width, 1, int64_t{1} << 17);
  const bool heads_ok = range("heads", heads, 1, 4096);
  const bool kv_ok = range("kv_heads", kv_heads, 0, 4096);
  range("mlp_width", mlp_width, 0, int64_t{1} << 20);
  if (width_ok && heads_ok && width % heads != 0) {
    out.push_back(fmt::format("model.heads: expected a divisor of width {}, got {}", width, heads));
  } else if (width_ok && heads_ok && positions == PositionKind::rope && head_dim() % 2 != 0) {
    out.push_back(
        fmt::format("model.heads: rope needs an even width / heads, got {} / {} = {}", width, heads, head_dim()));
  }
  if (heads_ok && kv_ok && kv_heads > 0 && heads % kv_heads != 0) {
    out.push_back(fmt::format("model.kv_heads: expected a divisor of heads {}, got {}", heads, kv_heads));
  }
  if (!(norm_eps > 0 && norm_eps < 1))
    out.push_back(fmt::format("model.norm_eps: expected in (0, 1), got {}", norm_eps));
  if (!(dropout >= 0 && dropout < 1)) out.push_back(fmt::format("model.dropout: expected in [0, 1), got {}", dropout));
  if (positions == PositionKind::rope && !(rope_base > 1 && rope_base <= 1e12)) {
    out.push_back(fmt::format("model.rope_base: expected in (1, 1e12], got {}", rope_base));
  }
  return out;
}

int64_t TransformerConfig::parameter_count() const {
  const TransformerConfig c = resolved();
  const int64_t kv = c.kv_heads * c.head_dim();
  const int64_t norm_size = c.width * (c.norm == NormKind::layernorm && c.bias ? 2 : 1);
  const int64_t matrices = 2 * c.width * c.width + 2 * kv * c.width + (c.gated() ? 3 : 2) * c.mlp_width * c.width;
  const int64_t biases = c.bias ? 3 * c.width + 2 * kv + (c.gated() ? 2 : 1) * c.mlp_width : 0;
  return c.vocab * c.width * (c.tied_head ? 1 : 2) + (c.positions == PositionKind::learned ? c.context * c.width : 0) +
         c.layers * (matrices + biases + 2 * norm_size) + norm_size;
}

}  // namespace govtrain
