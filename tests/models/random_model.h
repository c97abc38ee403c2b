// Random models, batches and route tables for property tests, and one way to run them. Everything is a pure function of
// a seed, which the tests print.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "models/transformer.h"
#include "tests/backends.h"
#include "tests/models/random_blocks.h"

namespace govtrain::test {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<uint64_t>(n)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool coin() { return below(2) == 0; }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return *(list.begin() + below(static_cast<int>(list.size())));
  }

 private:
  std::mt19937_64 engine_;
};

inline TransformerConfig random_config(Random& r) {
  TransformerConfig c;
  c.kv_heads = r.between(1, 2);
  c.heads = c.kv_heads * r.between(1, 2);
  c.width = c.heads * 2 * r.between(1, 5);
  c.vocab = r.between(5, 40);
  c.context = 40;
  c.layers = r.between(1, 3);
  c.mlp = r.one_of({MlpKind::gelu, MlpKind::silu, MlpKind::swiglu, MlpKind::geglu});
  c.mlp_width = r.between(3, 40);
  c.norm = r.one_of({NormKind::layernorm, NormKind::rmsnorm});
  c.positions = r.one_of({PositionKind::learned, PositionKind::rope});
  c.tied_head = r.coin();
  c.bias = r.coin();
  c.dropout = r.coin() ? 0.0 : 0.2;
  return c;
}

// One example of a batch: what it is, and what it may teach.
struct Example {
  uint64_t id = 0;
  std::vector<int32_t> tokens;
  std::vector<int32_t> target;
  std::vector<float> weight;  // [B]
  float objective = 1;        // multiplies its loss: what is not finite spoils all of its gradients
};

struct Case {
  uint64_t seed = 0;
  TransformerConfig config;
  int kind = 0;  // of blocks
  BlockMap blocks;
  std::vector<std::string> techniques = {"scale"};
  std::vector<Example> examples;
};

inline void random_text(Random& r, const TransformerConfig& c, Example& x, int length) {
  x.tokens.clear();
  x.target.clear();
  for (int t = 0; t < length; ++t) {
    x.tokens.push_back(r.below(static_cast<int>(c.vocab)));
    x.target.push_back(r.below(8) == 0 ? -1 : r.below(static_cast<int>(c.vocab)));
  }
}

inline Case random_case(uint64_t seed, int kind) {
  Random r(seed);
  Case c;
  c.seed = seed;
  c.config = random_config(r);
  const bool long_one = seed % 8 == 3;  // with a text of several tiles of every kernel
  if (long_one) c.config.context = 160;
  c.kind = kind;
  c.blocks = blocks_of_kind(kind, r, c.config, Transformer::parameter_infos(c.config));
  const int examples = r.between(2, 6);
  for (int e = 0; e < examples; ++e) {
    Example x;
    x.id = 1000 * seed + static_cast<uint64_t>(r.below(900));
    random_text(r, c.config, x, long_one && e == 0 ? r.between(100, 150) : r.between(1, 30));
    for (int b = 0; b < c.blocks.blocks(); ++b) x.weight.push_back(r.one_of({0.0f, 0.0f, 0.25f, 0.5f, 1.0f, 2.0f}));
    c.examples.push_back(std::move(x));
  }
  return c;
}

// Every granularity in turn.
inline Case random_case(uint64_t seed) { return random_case(seed, static_cast<int>(seed % block_kinds)); }

inline std::string describe(const Case& c) {
  std::string techniques;
  for (const std::string& t : c.techniques) techniques += ", " + t;
  return current_backend().name + ", seed " + std::to_string(c.seed) + ", layers " + std::to_string(c.config.layers) +
         ", width " + std::to_string(c.config.width) + ", heads " + std::to_string(c.config.heads) + "/" +
         std::to_string(c.config.kv_heads) + ", " + name(c.config.mlp) + ", " + name(c.config.norm) + ", " +
         name(c.config.positions) + (c.config.tied_head ? ", tied" : "") + (c.config.bias ? ", bias" : "") +
         (c.config.dropout > 0 ? ", dropout" : "") + techniques + ", blocks by " + kind_name(c.kind) + " " +
         std::to_string(c.blocks.blocks()) + ", examples " + std::to_string(c.examples.size());
}

inline std::vector<float> on_host(const Tensor& t) {
  const Tensor host = t.host();
  return {host.values().begin(), host.values().end()};
}

// Overwrites a tensor with what body(values) makes of its values.
template <class Body>
void change(const Tensor& t, Body body) {
  std::vector<float> values = on_host(t);
  body(values);
  t.assign(values);
}

// A model with the case's blocks and techniques, and values that make every gradient matter (the plain initialisation
// has all gains 1 and all biases 0).
inline std::unique_ptr<Transformer> make_model(const Case& c) {
  auto model = std::make_unique<Transformer>(c.config, c.seed, test_backend().allocator());
  std::mt19937_64 engine(c.seed + 77);
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    Parameter& p = model->parameters()[i];
    change(p.value(), [&](std::vector<float>& values) {
      for (float& v : values) {
        const float u = static_cast<float>(engine() >> 40) * 0x1p-24f - 0.5f;
        v = p.is_vector() ? v + 0.3f * u : 0.8f * u;
      }
    });
  }
  model->parameters().assign_blocks(c.blocks);
  model->set_techniques(parse_techniques(c.techniques));
  return model;
}

// The examples as a batch.
struct Batch {
  Rows rows;
  std::vector<int32_t> tokens, target;
  std::vector<uint64_t> ids;
  RouteTable route;

  Batch(const std::vector<Example>& examples, int blocks) : route(static_cast<int>(examples.size()), blocks, 0) {
    std::vector<int32_t> lengths;
    for (size_t e = 0; e < examples.size(); ++e) {
      const Example& x = examples[e];
      lengths.push_back(static_cast<int32_t>(x.tokens.size()));
      tokens.insert(tokens.end(), x.tokens.begin(), x.tokens.end());
      target.insert(target.end(), x.target.begin(), x.target.end());
      ids.push_back(x.id);
      for (int b = 0; b < blocks; ++b) route.at(static_cast<int>(e), b) = x.weight[static_cast<size_t>(b)];
    }
    rows = Rows::of_lengths(lengths);
  }
};

struct Outcome {
  std::vector<double> nll;               // [E]
  std::vector<std::vector<float>> rows;  // row losses per example
  std::vector<double> norms;             // [E,B]
};

enum class How { routed, withheld, plain };

// One micro-batch forward and back: gradients are added to the model's. With `skip` the forward pass knows the route.
inline Outcome accumulate(Transformer& model, const std::vector<Example>& examples, float coefficient,
                          How how = How::routed, uint64_t step = 3, bool skip = false) {
  const Batch batch(examples, model.parameters().blocks());
  Backend& backend = test_backend();
  ParamGrad grads = how == How::plain ? ParamGrad::plain(model.parameters(), backend, batch.rows)
                                      : ParamGrad(model.parameters(), backend, batch.rows, batch.route,
                                                  {true, how == How::withheld, model.gates()});
  const ParamGrad known = grads;
  Tape tape(backend, batch.rows, Mode::train, {42, step, batch.ids}, skip ? &known : nullptr);
  std::vector<float> row_loss(batch.tokens.size());
  const Losses losses = model.loss(tape, {batch.tokens, {}}, batch.target, row_loss);
  std::vector<float> coefficients;
  for (const Example& x : examples) coefficients.push_back(coefficient * x.objective);
  tape.backward(losses, coefficients, grads);
  Outcome out;
  out.nll = losses.nll();
  if (how != How::plain) out.norms = grads.realised_norms();
  for (int e = 0; e < batch.rows.examples(); ++e) {
    out.rows.emplace_back(row_loss.begin() + batch.rows.begin(e), row_loss.begin() + batch.rows.end(e));
  }
  return out;
}

using Bits = std::vector<std::vector<float>>;

inline Bits gradients(const Transformer& model) {
  Bits out;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    out.push_back(on_host(model.parameters()[i].grad()));
  }
  return out;
}

inline Bits values(const Transformer& model) {
  Bits out;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    out.push_back(on_host(model.parameters()[i].value()));
  }
  return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

inline bool same_bits(const Bits& a, const Bits& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return false;
  }
  return true;
}

// Only the elements that block b owns, in a fixed order.
inline std::vector<float> of_block(const Transformer& model, const Bits& all, int b) {
  std::vector<float> out;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Parameter& p = model.parameters()[i];
    for (const Parameter::Slice& s : p.slices()) {
      if (s.block != b) continue;
      for (int64_t r = s.row_begin; r < s.row_end; ++r) {
        for (int64_t c = s.col_begin; c < s.col_end; ++c) out.push_back(all[i][static_cast<size_t>(r * p.cols() + c)]);
      }
    }
  }
  return out;
}

}  // namespace govtrain::test
