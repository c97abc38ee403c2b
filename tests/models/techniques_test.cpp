// The techniques of the backward pass: against the double reference, which gates its own graph, and by the laws.
#include <cmath>
#include <limits>

#include "tests/models/random_combination.h"
#include "tests/reference/model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

uint64_t cases() { return cases_here(12, 2); }

bool has(const std::vector<std::string>& names, const char* name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Blocks by layer, or for attention_gate alone every head of q, k and v a block of its own.
struct Gated {
  Case c;
  bool heads = false;
};

Gated gated_case(uint64_t seed, const std::vector<std::string>& techniques) {
  Gated g{random_case(seed), false};
  g.c.techniques = techniques;
  Random r(seed + 5);
  const std::vector<ParameterInfo> infos = Transformer(g.c.config, 0).parameters().infos();
  g.c.blocks = blocks_by_layer(infos);
  g.heads = techniques == std::vector<std::string>{"attention_gate"} && r.coin();
  if (g.heads) {  // block 0: all but the heads; then one block for each head of each layer
    const auto heads = static_cast<int>(g.c.config.heads), share = heads / static_cast<int>(g.c.config.kv_heads);
    const int64_t hd = g.c.config.head_dim();
    g.c.blocks = {};
    g.c.blocks.names.assign(1 + static_cast<size_t>(g.c.config.layers * heads), "b");
    for (size_t i = 0; i < infos.size(); ++i) {
      const auto& p = infos[i];
      const auto is = [&](const char* a, const char* b) {
        return p.name.find(a) != std::string::npos || p.name.find(b) != std::string::npos;
      };
      const bool q = is("c_attn.q", "q_proj"), kv = is("c_attn.k", "k_proj") || is("c_attn.v", "v_proj");
      const int parts = q ? heads : heads / share;
      if (!q && !kv) {
        g.c.blocks.slices.push_back({static_cast<int>(i), 0, 0, p.rows, 0, p.cols});
        continue;
      }
      for (int h = 0; h < parts; ++h) {
        const int block = 1 + p.layer * heads + (q ? h : h * share);
        const bool vector = p.rows == 1 && p.cols == parts * hd;
        if (vector) {
          g.c.blocks.slices.push_back({static_cast<int>(i), block, 0, 1, h * hd, (h + 1) * hd});
        } else {
          g.c.blocks.slices.push_back({static_cast<int>(i), block, h * hd, (h + 1) * hd, 0, p.cols});
        }
      }
    }
  }
  for (Example& x : g.c.examples) {
    x.weight.clear();
    for (int b = 0; b < g.c.blocks.blocks(); ++b)
      x.weight.push_back(r.one_of({0.0f, 0.3f, 0.5f, 1.0f, 1.0f, 2.0f, -0.5f}));
  }
  return g;
}

double largest(const std::vector<double>& v) {
  double out = 0;
  for (const double x : v) out = std::max(out, std::abs(x));
  return out;
}

// The definition of docs/techniques.md on the reference's graph.
reference::Hook gates_of(const Gated& g, const std::vector<std::string>& techniques, const Example& x) {
  return [&g, &x, techniques](reference::Graph& graph, const std::string& place, int64_t layer, int node) {
    const auto& c = g.c.config;
    const auto cols = static_cast<size_t>(graph.value(node).cols);
    const auto by_layer = [&](int64_t l) { return static_cast<double>(x.weight[static_cast<size_t>(1 + l)]); };
    std::vector<double> w(cols, 1.0);
    if (has(techniques, "attention_gate") && (place == "q" || place == "k" || place == "v")) {
      const int64_t hd = c.head_dim(), share = c.heads / c.kv_heads;
      for (size_t j = 0; j < cols; ++j) {
        const int64_t h = static_cast<int64_t>(j) / hd * (place == "q" ? 1 : share);
        w[j] = g.heads ? static_cast<double>(x.weight[static_cast<size_t>(1 + layer * c.heads + h)]) : by_layer(layer);
      }
    }
    if (has(techniques, "residual_gate") && (place == "attention" || place == "mlp")) w.assign(cols, by_layer(layer));
    if (has(techniques, "boundary")) {
      if (place == "embedding") w.assign(cols, static_cast<double>(x.weight.front()));
      if (place == "after mlp") w.assign(cols, by_layer(layer));
      if (place == "logits") w.assign(cols, static_cast<double>(x.weight.back()));
    }
    return graph.gate(node, w);
  };
}

}  // namespace

TEST_CASE("gradients and norms under every technique are those of the double reference") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (const auto& techniques : all_techniques()) {
    for (uint64_t seed = 1; seed <= cases(); ++seed) {
      Gated g = gated_case(seed, techniques);
      g.c.config.dropout = 0;
      INFO(techniques.front() << " and " << techniques.back() << ", " << describe(g.c) << (g.heads ? ", heads" : ""));
      const auto model = make_model(g.c);
      const Outcome outcome = accumulate(*model, g.c.examples, 1.0f);
      reference::Values values, want;
      for (size_t i = 0; i < model->parameters().size(); ++i) {
        const Parameter& p = model->parameters()[i];
        reference::Matrix m(p.rows(), p.cols());
        want[p.name()] = m;
        const std::vector<float> now = on_host(p.value());
        for (size_t j = 0; j < m.v.size(); ++j) m.v[j] = static_cast<double>(now[j]);
        values[p.name()] = std::move(m);
      }
      const auto blocks = static_cast<size_t>(g.c.blocks.blocks());
      std::vector<double> norm2(g.c.examples.size() * blocks, 0.0);
      double model_largest = 0;
      for (size_t e = 0; e < g.c.examples.size(); ++e) {
        const Example& x = g.c.examples[e];
        const auto one = reference::transformer(g.c.config, values, x.tokens, x.target, 0, gates_of(g, techniques, x));
        for (size_t i = 0; i < model->parameters().size(); ++i) {
          const Parameter& p = model->parameters()[i];
          for (const Parameter::Slice& s : p.slices()) {
            const auto b = static_cast<size_t>(s.block);
            const bool ends = b == 0 || (!g.heads && b + 1 == blocks);  // embedding or head: no branch of their own
            const bool served = has(techniques, "boundary") || !ends;
            const double w = static_cast<double>(x.weight[b]);
            const double own = w == 0 ? 0 : has(techniques, "scale") || !served ? w : 1;
            for (int64_t r = s.row_begin; r < s.row_end; ++r) {
              for (int64_t col = s.col_begin; col < s.col_end; ++col) {
                const double d = own * one.grad.at(p.name()).at(r, col);
                want[p.name()].at(r, col) += d;
                norm2[e * blocks + b] += d * d;
              }
            }
          }
        }
      }
      for (const auto& [name, m] : want) model_largest = std::max(model_largest, largest(m.v));
      for (size_t i = 0; i < model->parameters().size(); ++i) {
        const Parameter& p = model->parameters()[i];
        const std::vector<double>& m = want[p.name()].v;
        const std::vector<float> grad = on_host(p.grad());
        INFO(p.name());
        double error = 0;
        for (size_t j = 0; j < m.size(); ++j) {
          error = std::max(error, std::abs(static_cast<double>(grad[j]) - m[j]));
        }
        CHECK(error <= 1e-4 * largest(m) + 1e-6 * model_largest);
      }
      for (size_t j = 0; j < norm2.size(); ++j) {
        CHECK(std::abs(outcome.norms[j] - std::sqrt(norm2[j])) <= 1e-4 * std::sqrt(norm2[j]) + 1e-6 * model_largest);
        if (g.c.examples[j / blocks].weight[j % blocks] == 0) CHECK(outcome.norms[j] == 0);
      }
    }
  }
}

TEST_CASE("a boundary of weight 0 stops everything below it") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  Gated g = gated_case(3, {"boundary"});
  g.c.config.tied_head = false;
  g.c.blocks = blocks_by_layer(Transformer(g.c.config, 0).parameters().infos());
  for (Example& x : g.c.examples) {
    x.weight.assign(static_cast<size_t>(g.c.blocks.blocks()), 1.0f);
    x.weight[1] = 0;
  }
  const auto model = make_model(g.c);
  const Outcome outcome = accumulate(*model, g.c.examples, 1.0f, How::routed, 3, true);
  for (size_t e = 0; e < g.c.examples.size(); ++e) {
    const size_t at = e * g.c.examples[e].weight.size();
    CHECK(outcome.norms[at] == 0);
    CHECK(outcome.norms[at + 1] == 0);
    CHECK(outcome.norms[at + 2] > 0);
  }
  CHECK_FALSE(model->parameters()[0].touched(0));
}

TEST_CASE("law 5: what lies below a closed boundary of every example is not touched, wherever each has its own") {
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Gated g = gated_case(seed, {"boundary"});
    g.c.config.tied_head = false;
    g.c.config.layers = 3;
    g.c.blocks = blocks_by_layer(Transformer(g.c.config, 0).parameters().infos());
    g.c.examples.resize(4, g.c.examples.front());
    for (size_t e = 0; e < g.c.examples.size(); ++e) {
      g.c.examples[e].weight.assign(static_cast<size_t>(g.c.blocks.blocks()), 1.0f);
      g.c.examples[e].weight[1 + e % 2] = 0;  // above the first layer, or above the second
    }
    INFO(describe(g.c));
    const auto model = make_model(g.c);
    const Outcome outcome = accumulate(*model, g.c.examples, 1.0f, How::routed, 3, true);
    for (size_t e = 0; e < g.c.examples.size(); ++e) {
      for (size_t b = 0; b < g.c.examples[e].weight.size(); ++b) {
        CHECK((outcome.norms[e * g.c.examples[e].weight.size() + b] > 0) == (b > 1 + e % 2));
      }
    }
    for (size_t i = 0; i < model->parameters().size(); ++i) {
      const Parameter& p = model->parameters()[i];
      for (size_t k = 0; k < p.slices().size(); ++k) CHECK(p.touched(k) == (p.slices()[k].block > 1));
    }
  }
}

TEST_CASE("a gate of weight 0 writes zeros whatever comes in") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  ParameterSet set(test_backend().allocator());
  Parameter& table = set.add_matrix("table", "embedding", -1, 3, 4);
  set.add_vector("gated", "norm", 0, 4);
  table.value().assign(std::vector<float>(12, std::numeric_limits<float>::max()));
  BlockMap map;  // the gate is of a block that keeps the first example out; the table below it is not
  map.names = {"below", "gated"};
  map.slices = {{0, 0, 0, 3, 0, 4}, {1, 1, 0, 1, 0, 4}};
  set.assign_blocks(map);
  const Rows rows = Rows::of_lengths({2, 1});
  RouteTable route(2, 2, 1.0f);
  route.at(0, 1) = 0;
  GatePlan plan;
  plan.gated = {false, true};
  ParamGradOptions options;
  options.gates = &plan;
  ParamGrad grads(set, test_backend(), rows, route, options);
  Tape tape(test_backend(), rows, Mode::train);
  const Var x = gate(embedding(tape, table, std::vector<int32_t>{0, 1, 2}), {{1, 0, 4}});
  const Losses losses = cross_entropy(x, std::vector<int32_t>{0, 1, 2});
  const float inf = std::numeric_limits<float>::infinity();
  tape.backward(losses, std::vector<float>{inf, 1.0f}, grads);
  const std::vector<float> grad = on_host(table.grad());
  for (size_t j = 0; j < 8; ++j) CHECK(grad[j] == 0);
  CHECK(table.touched(0));
}

TEST_CASE("blocks that a technique cannot serve are refused, all at once") {
  Case c = random_case(1);
  c.config.tied_head = false;
  c.blocks = blocks_by_layer(Transformer(c.config, 0).parameters().infos());
  const auto model = make_model(c);
  const auto infos = model->parameters().infos();
  BlockMap map;
  map.names = {"a", "b"};
  for (size_t i = 0; i < infos.size(); ++i) {  // norms and projections: not contiguous in depth, branches whole
    map.slices.push_back({static_cast<int>(i), infos[i].role == "norm" ? 1 : 0, 0, infos[i].rows, 0, infos[i].cols});
  }
  model->parameters().assign_blocks(map);
  CHECK_THROWS_WITH(model->set_techniques(parse_techniques({"boundary"})),
                    Catch::Contains("attention of layer 0 is divided among blocks"));
  CHECK_NOTHROW(model->set_techniques(parse_techniques({"residual_gate"})));
  CHECK_THROWS_WITH(parse_techniques({"boundary", "boundary"}), Catch::Contains("twice"));
  CHECK_THROWS_WITH(parse_techniques({"gate"}), Catch::Contains("expected one of"));
  CHECK_THROWS_WITH(parse_techniques({}), Catch::Contains("at least one"));
}
