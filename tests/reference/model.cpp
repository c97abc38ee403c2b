#include "tests/reference/model.h"

namespace govtrain::reference {

ExampleResult transformer(const TransformerConfig& given, const Values& values, const std::vector<int32_t>& tokens,
                          const std::vector<int32_t>& target, int32_t start, const Hook& hook, bool absolute) {
  const TransformerConfig c = given.resolved();
  Graph graph(absolute);
  std::map<std::string, int> id;
  for (const auto& [name, value] : values) id[name] = graph.leaf(value);

  const bool gpt2 = id.count("transformer.wte.weight") > 0;
  const auto linear = [&](int x, const std::string& name) {
    const int y = graph.matmul_nt(x, id.at(name + ".weight"));
    return id.count(name + ".bias") > 0 ? graph.add_row(y, id.at(name + ".bias")) : y;
  };
  const auto norm = [&](int x, const std::string& name) {
    const int y =
        graph.scale_cols(graph.normalise(x, c.norm == NormKind::layernorm, c.norm_eps), id.at(name + ".weight"));
    return id.count(name + ".bias") > 0 ? graph.add_row(y, id.at(name + ".bias")) : y;
  };

  const auto at_place = [&](const char* place, int64_t layer, int node) {
    return hook ? hook(graph, place, layer, node) : node;
  };
  const std::string embed = gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight";
  int x = graph.gather(id.at(embed), tokens);
  if (c.positions == PositionKind::learned) {
    std::vector<int32_t> position;
    for (size_t t = 0; t < tokens.size(); ++t) position.push_back(start + static_cast<int32_t>(t));
    x = graph.add(x, graph.gather(id.at(gpt2 ? "transformer.wpe.weight" : "model.embed_positions.weight"), position));
  }
  x = at_place("embedding", -1, x);
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string at = (gpt2 ? "transformer.h." : "model.layers.") + std::to_string(l) + ".";
    const std::string qkv = gpt2 ? at + "attn.c_attn." : at + "self_attn.";
    const std::string proj = gpt2 ? "" : "_proj";
    int h = norm(x, at + (gpt2 ? "ln_1" : "input_layernorm"));
    int q = at_place("q", l, linear(h, qkv + "q" + proj));
    int k = at_place("k", l, linear(h, qkv + "k" + proj));
    const int v = at_place("v", l, linear(h, qkv + "v" + proj));
    if (c.positions == PositionKind::rope) {
      q = graph.rope(q, c.heads, c.rope_base, start);
      k = graph.rope(k, c.kv_heads, c.rope_base, start);
    }
    h = graph.attention(q, k, v, c.heads, c.kv_heads);
    x = graph.add(x, at_place("attention", l, linear(h, at + (gpt2 ? "attn.c_proj" : "self_attn.o_proj"))));
    x = at_place("after attention", l, x);
    h = norm(x, at + (gpt2 ? "ln_2" : "post_attention_layernorm"));
    const int up = linear(h, at + (gpt2 ? "mlp.c_fc" : "mlp.up_proj"));
    switch (c.mlp) {
      case MlpKind::gelu:
        h = graph.gelu(up);
        break;
      case MlpKind::silu:
        h = graph.silu(up);
        break;
      case MlpKind::swiglu:
        h = graph.multiply(graph.silu(linear(h, at + "mlp.gate_proj")), up);
        break;
      case MlpKind::geglu:
        h = graph.multiply(graph.gelu(linear(h, at + "mlp.gate_proj")), up);
        break;
    }
    x = graph.add(x, at_place("mlp", l, linear(h, at + (gpt2 ? "mlp.c_proj" : "mlp.down_proj"))));
    x = at_place("after mlp", l, x);
  }
  x = norm(x, gpt2 ? "transformer.ln_f" : "model.norm");
  const int logits = at_place("logits", -1, graph.matmul_nt(x, id.at(c.tied_head ? embed : "lm_head.weight")));
  const int loss = graph.nll(logits, target);
  graph.backward(loss);

  ExampleResult out;
  out.nll = graph.value(loss).at(0, 0);
  out.logits = graph.value(logits);
  for (const auto& [name, node] : id) out.grad[name] = graph.grad(node);
  return out;
}

}  // namespace govtrain::reference
