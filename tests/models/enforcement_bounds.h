// Cases and bounds for tests of the enforcement points: mixed batches, a step's gradient at a point, and the sums of
// magnitudes from which bounds on rounding are derived. Compares nothing.
#pragma once

#include <cmath>

#include "tests/models/random_model.h"
#include "tests/reference/model.h"

namespace govtrain::test {

inline constexpr float coefficient = 1.0f / 64;
inline constexpr double unit = 0x1p-24;  // half the distance from 1 to the next float

enum class Weights { any, powers };  // powers: all differences of levels are powers of two

// Examples of five profiles in random order: full, graded, amplifying, with negative weights, kept out everywhere.
inline Case mixed_case(uint64_t seed, Weights kind = Weights::any) {
  Case c = random_case(seed);
  Random r(seed * 13 + 5);
  const bool any = kind == Weights::any;
  std::vector<std::vector<float>> profiles(5);
  for (int b = 0; b < c.blocks.blocks(); ++b) {
    profiles[0].push_back(1.0f);
    profiles[1].push_back(any ? r.one_of({0.0f, 0.3f, 0.7f, 1.0f}) : r.one_of({0.0f, 0.5f, 1.0f}));
    profiles[2].push_back(any ? r.one_of({1.0f, 1.3f, 2.5f}) : r.one_of({1.0f, 2.0f}));
    profiles[3].push_back(any ? r.one_of({-0.7f, -0.2f, 0.0f, 1.0f}) : r.one_of({-0.5f, -0.25f, 0.0f, 1.0f}));
    profiles[4].push_back(0.0f);
  }
  c.examples.clear();
  const int examples = r.between(10, 16);
  for (int e = 0; e < examples; ++e) {
    Example x;
    x.id = 1000 * seed + static_cast<uint64_t>(e);
    random_text(r, c.config, x, r.between(1, 20));
    x.weight = profiles[static_cast<size_t>(e < 5 ? e : r.below(5))];
    c.examples.insert(c.examples.begin() + r.between(0, e), std::move(x));
  }
  return c;
}

inline bool kept_out(const Example& x) {
  return std::all_of(x.weight.begin(), x.weight.end(), [](float w) { return w == 0.0f; });
}

// One step's gradient at an enforcement point, in micro-batches that end before the examples of `cuts`.
inline Outcome enforce(Transformer& model, const std::vector<Example>& examples, Enforcement point,
                       std::vector<size_t> cuts = {}, bool withheld = false) {
  Outcome out;
  Backend& backend = test_backend();
  const int blocks = model.parameters().blocks();
  ProfileGroups groups;
  ParamGradOptions options{true, withheld, nullptr};
  if (point == Enforcement::optimizer) options.groups = &groups;
  const int terms = point == Enforcement::loss ? std::max(1, loss_terms(Batch(examples, blocks).route)) : 1;
  cuts.push_back(examples.size());
  for (int l = 0; l < terms; ++l) {
    size_t first = 0;
    for (const size_t last : cuts) {
      const std::vector<Example> part(examples.begin() + static_cast<std::ptrdiff_t>(first),
                                      examples.begin() + static_cast<std::ptrdiff_t>(last));
      const Batch batch(part, blocks);
      RouteTable route = batch.route;
      std::vector<float> factor(part.size(), coefficient);
      if (point == Enforcement::loss) {
        const LossTerm term = loss_term(batch.route, l);
        route = term.reaches;
        for (size_t e = 0; e < part.size(); ++e) factor[e] *= term.share[e];
      }
      ParamGrad grads(model.parameters(), backend, batch.rows, route, options);
      const ParamGrad known = grads;
      Tape tape(backend, batch.rows, Mode::train, {42, 3, batch.ids}, &known);
      const Losses losses = model.loss(tape, {batch.tokens, {}}, batch.target);
      tape.backward(losses, factor, grads);
      const std::vector<double> norms = grads.realised_norms();
      if (l == 0) {
        out.nll.insert(out.nll.end(), losses.nll().begin(), losses.nll().end());
        out.norms.insert(out.norms.end(), norms.begin(), norms.end());
      } else {
        for (size_t j = 0; j < norms.size(); ++j) out.norms[first * static_cast<size_t>(blocks) + j] += norms[j];
      }
      first = last;
    }
  }
  groups.close(model.parameters(), backend);
  return out;
}

using Sums = std::vector<std::vector<double>>;

// Calls body(parameter, element, block) for all elements.
template <class Body>
void for_elements(const Transformer& model, Body body) {
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Parameter& p = model.parameters()[i];
    for (const Parameter::Slice& s : p.slices()) {
      for (int64_t row = s.row_begin; row < s.row_end; ++row) {
        for (int64_t col = s.col_begin; col < s.col_end; ++col) {
          body(i, static_cast<size_t>(row * p.cols() + col), static_cast<size_t>(s.block));
        }
      }
    }
  }
}

// |w| * magnitude(parameter, element) for every element.
template <class Magnitude>
Sums weighted_magnitudes(Magnitude magnitude, const std::vector<float>& weight, const Transformer& model) {
  Sums out;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    out.emplace_back(static_cast<size_t>(model.parameters()[i].value().size()), 0.0);
  }
  for_elements(model, [&](size_t i, size_t j, size_t b) {
    if (weight[b] != 0) out[i][j] = std::abs(static_cast<double>(weight[b])) * magnitude(i, j);
  });
  return out;
}

inline void add(Sums& to, const Sums& from) {
  if (to.empty()) to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    if (to[i].empty()) to[i].resize(from[i].size(), 0.0);
    for (size_t j = 0; j < from[i].size(); ++j) to[i][j] += from[i][j];
  }
}

// sum_i |w_i t_i|, t_i the contribution of example i in the engine's own bits.
inline Sums contributions(const Case& c) {
  Sums out;
  for (Example x : c.examples) {
    const std::vector<float> weight = x.weight;
    x.weight.assign(weight.size(), 1.0f);
    const auto model = make_model(c);
    accumulate(*model, {x}, coefficient);
    const Bits g = gradients(*model);
    add(out, weighted_magnitudes([&](size_t i, size_t j) { return std::abs(static_cast<double>(g[i][j])); }, weight,
                                 *model));
  }
  return out;
}

// sum_i |w_i| A_i, A_i the sum of the magnitudes of all paths from the loss of example i; and |w_i| |A_i| by block.
struct Paths {
  Sums sum;
  std::vector<double> norms;  // [E, B]
};

inline Paths paths(const Case& c) {
  Paths out;
  const auto model = make_model(c);
  reference::Values values;
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    const Parameter& p = model->parameters()[i];
    reference::Matrix m(p.rows(), p.cols());
    const std::vector<float> now = on_host(p.value());
    for (size_t j = 0; j < m.v.size(); ++j) m.v[j] = static_cast<double>(now[j]);
    values[p.name()] = std::move(m);
  }
  const auto blocks = static_cast<size_t>(c.blocks.blocks());
  for (const Example& x : c.examples) {
    const auto a = reference::transformer(c.config, values, x.tokens, x.target, 0, {}, true);
    const Sums mine = weighted_magnitudes(
        [&](size_t i, size_t j) {
          return static_cast<double>(coefficient) * a.grad.at(model->parameters()[i].name()).v[j];
        },
        x.weight, *model);
    std::vector<double> square(blocks, 0.0);
    for_elements(*model, [&](size_t i, size_t j, size_t b) { square[b] += mine[i][j] * mine[i][j]; });
    for (const double v : square) out.norms.push_back(std::sqrt(v));
    add(out.sum, mine);
  }
  return out;
}

// The most roundings on a path from a loss to a contribution (docs/enforcement.md counts them).
inline double roundings_of_a_path(const Case& c) {
  const TransformerConfig m = c.config.resolved();
  double longest = 0;
  for (const Example& x : c.examples) longest = std::max(longest, static_cast<double>(x.tokens.size()));
  const auto d = static_cast<double>(m.width), v = static_cast<double>(m.vocab), h = static_cast<double>(m.mlp_width);
  const double hd = static_cast<double>(m.head_dim()), share = static_cast<double>(m.heads / m.kv_heads);
  const double norm = d + 8;
  const double mlp = d + 4 + 2 * h + 2 + norm + 1;
  const double attention = d + 2 * hd + 3 + longest * (share + 1) + 3 + 3 * d + 3 + norm + 1;
  return 3 + v + norm + static_cast<double>(m.layers) * (mlp + attention) + longest;
}

inline double worst_excess(const Bits& a, const Bits& b, const Sums& bound) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a[i].size(); ++j) {
      const double off = std::abs(static_cast<double>(a[i][j]) - static_cast<double>(b[i][j]));
      worst = std::max(worst, off - bound[i][j]);
    }
  }
  return worst;
}

inline void scale(Sums& s, double factor) {
  for (auto& v : s)
    for (double& x : v) x *= factor;
}

}  // namespace govtrain::test
