// Parameters that are used several times in a graph whose gradients share storage: residual branches around shared
// layers, against the double reference. What is collected for later must not be overwritten meanwhile.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "autograd/ops.h"
#include "tests/reference/model.h"

using namespace govtrain;

namespace {

constexpr int64_t width = 6;
constexpr int64_t vocab = 5;

struct Shared {
  ParameterSet set;
  Parameter *embed, *w, *bias, *gain;
  Rows rows = Rows::of_lengths({3, 4});
  std::vector<int32_t> tokens{0, 1, 4, 3, 1, 2, 2};
  std::vector<int32_t> target{1, 2, 0, 3, 4, 0, 1};

  Shared() {
    embed = &set.add_matrix("embed", "embedding", -1, vocab, width);
    w = &set.add_matrix("w", "mlp", 0, width, width);
    bias = &set.add_vector("bias", "mlp", 0, width);
    gain = &set.add_vector("gain", "norm", 0, width);
    std::mt19937_64 engine(5);
    for (size_t i = 0; i < set.size(); ++i) {
      for (int64_t j = 0; j < set[i].value().size(); ++j) {
        set[i].value().data()[j] = static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f;
      }
    }
  }

  // Two rounds of the same cell, residual or not; the head is the embedding.
  Losses forward(Tape& tape, bool direct) const {
    Var x = embedding(tape, *embed, tokens);
    for (int round = 0; round < 2; ++round) {
      Var inner = direct ? linear(x, *w, bias) : linear(gelu(rms_norm(x, *gain, 1e-5f)), *w, bias);
      x = add(std::move(x), std::move(inner));
      if (direct) continue;
      x = add(x, linear(gelu(x), *w, bias));
      Var left = gelu(linear(x, *w, bias));
      Var right = rms_norm(linear(x, *w, bias), *gain, 1e-5f);
      x = add(std::move(left), std::move(right));
    }
    return cross_entropy(linear(rms_norm(x, *gain, 1e-5f), *embed), target);
  }

  reference::Values reference_gradient(int e, bool direct) const {
    reference::Graph g;
    std::map<std::string, int> id;
    for (size_t i = 0; i < set.size(); ++i) {
      reference::Matrix m(set[i].rows(), set[i].cols());
      for (size_t j = 0; j < m.v.size(); ++j) m.v[j] = static_cast<double>(set[i].value().data()[j]);
      id[set[i].name()] = g.leaf(m);
    }
    const auto cell = [&](int x) { return g.add_row(g.matmul_nt(x, id["w"]), id["bias"]); };
    const auto norm = [&](int x) { return g.scale_cols(g.normalise(x, false, 1e-5), id["gain"]); };
    int x = g.gather(id["embed"], {tokens.begin() + rows.begin(e), tokens.begin() + rows.end(e)});
    for (int round = 0; round < 2; ++round) {
      x = g.add(x, direct ? cell(x) : cell(g.gelu(norm(x))));
      if (direct) continue;
      x = g.add(x, cell(g.gelu(x)));
      x = g.add(g.gelu(cell(x)), norm(cell(x)));
    }
    g.backward(
        g.nll(g.matmul_nt(norm(x), id["embed"]), {target.begin() + rows.begin(e), target.begin() + rows.end(e)}));
    reference::Values out;
    for (const auto& [name, node] : id) out[name] = g.grad(node);
    return out;
  }
};

}  // namespace

TEST_CASE("shared and recurrent parameters have exact gradients and the norm of the sum of their uses") {
  for (const bool direct : {true, false}) {
    Shared model;
    RouteTable route(2, 1, 0.5f);
    route.at(1, 0) = 2;
    Tape tape(cpu_backend(), model.rows, Mode::train);
    const Losses losses = model.forward(tape, direct);
    ParamGrad grads(model.set, cpu_backend(), model.rows, route);
    tape.backward(losses, std::vector<float>{1.0f, 1.0f}, grads);
    const std::vector<double> norms = grads.realised_norms();
    std::vector<reference::Values> alone{model.reference_gradient(0, direct), model.reference_gradient(1, direct)};
    for (int e = 0; e < 2; ++e) {
      double norm2 = 0;
      for (const auto& [name, g] : alone[static_cast<size_t>(e)]) {
        for (const double value : g.v) norm2 += value * value;
      }
      const double want = static_cast<double>(route.at(e, 0)) * std::sqrt(norm2);
      CHECK(std::abs(norms[static_cast<size_t>(e)] - want) < 1e-5 * want);
    }
    for (size_t i = 0; i < model.set.size(); ++i) {
      const Parameter& p = model.set[i];
      INFO(p.name() << (direct ? ", direct" : ", through a norm"));
      double largest = 0, worst = 0;
      for (size_t j = 0; j < static_cast<size_t>(p.grad().size()); ++j) {
        const double want = 0.5 * alone[0].at(p.name()).v[j] + 2.0 * alone[1].at(p.name()).v[j];
        largest = std::max(largest, std::abs(want));
        worst = std::max(worst, std::abs(static_cast<double>(p.grad().data()[j]) - want));
      }
      CHECK(worst < 1e-5 * largest);
    }
  }
}
