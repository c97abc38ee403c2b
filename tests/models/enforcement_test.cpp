// The enforcement points on random models: mixed batches with five profiles, against `backward`, against one example at
// a time, and by the laws. Zero bits of tolerance unless a bound is derived.
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "tests/models/random_model.h"
#include "tests/reference/model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

uint64_t cases() { return cases_here(20, 2); }
constexpr float coefficient = 1.0f / 64;
constexpr double unit = 0x1p-24;  // half the distance from 1 to the next float

enum class Weights { any, powers };  // powers: all differences of levels are powers of two

// Examples of five profiles in random order: full, graded, amplifying, with negative weights, kept out everywhere.
Case mixed_case(uint64_t seed, Weights kind = Weights::any) {
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

bool kept_out(const Example& x) {
  return std::all_of(x.weight.begin(), x.weight.end(), [](float w) { return w == 0.0f; });
}

// One step's gradient at an enforcement point, in micro-batches that end before the examples of `cuts`.
Outcome enforce(Transformer& model, const std::vector<Example>& examples, Enforcement point,
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

void add(Sums& to, const Sums& from) {
  if (to.empty()) to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    if (to[i].empty()) to[i].resize(from[i].size(), 0.0);
    for (size_t j = 0; j < from[i].size(); ++j) to[i][j] += from[i][j];
  }
}

// sum_i |w_i t_i|, t_i the contribution of example i in the engine's own bits.
Sums contributions(const Case& c) {
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

Paths paths(const Case& c) {
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
double roundings_of_a_path(const Case& c) {
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

double worst_excess(const Bits& a, const Bits& b, const Sums& bound) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a[i].size(); ++j) {
      const double off = std::abs(static_cast<double>(a[i][j]) - static_cast<double>(b[i][j]));
      worst = std::max(worst, off - bound[i][j]);
    }
  }
  return worst;
}

void scale(Sums& s, double factor) {
  for (auto& v : s)
    for (double& x : v) x *= factor;
}

const std::vector<Enforcement> others = {Enforcement::optimizer, Enforcement::loss};

}  // namespace

// Each contribution t_i has the same bits at both points. backward: one rounding of each addition (the product is
// fused), so at most E u. optimizer: at most E additions inside of groups, one product for each group, at most E
// additions of groups. Together (3 E + 1) u times the sum of magnitudes, to first order; 1.01 covers the rest.
TEST_CASE("optimizer gives the gradient of backward on mixed batches of five profiles, within the roundings of sums") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = mixed_case(seed);
    INFO(describe(c));
    const auto want = make_model(c), got = make_model(c);
    const Outcome a = accumulate(*want, c.examples, coefficient);
    const Outcome b = enforce(*got, c.examples, Enforcement::optimizer);
    Sums bound = contributions(c);
    scale(bound, 1.01 * unit * (3 * static_cast<double>(c.examples.size()) + 1));
    CHECK(worst_excess(gradients(*want), gradients(*got), bound) <= 0);
    CHECK(same_bits(a.norms, b.norms));
    Case wrong = c;  // the bound is narrow: a weight that is off by 1 in 10^4 does not pass
    for (Example& x : wrong.examples)
      for (float& w : x.weight) w *= 1.0001f;
    const auto off = make_model(wrong);
    enforce(*off, wrong.examples, Enforcement::optimizer);
    CHECK(worst_excess(gradients(*want), gradients(*off), bound) > 0);
  }
}

TEST_CASE("loss gives the gradient of backward where differences of levels are powers of two, as optimizer does") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = mixed_case(seed, Weights::powers);
    INFO(describe(c));
    const auto want = make_model(c), got = make_model(c);
    const Outcome a = accumulate(*want, c.examples, coefficient);
    const Outcome b = enforce(*got, c.examples, Enforcement::loss);
    // share * t_i has no rounding; E additions at backward, at most E L at loss, L = 4 levels.
    Sums bound = contributions(c);
    scale(bound, 1.01 * unit * 5 * static_cast<double>(c.examples.size()));
    CHECK(worst_excess(gradients(*want), gradients(*got), bound) <= 0);
    for (size_t j = 0; j < a.norms.size(); ++j) CHECK(std::abs(a.norms[j] - b.norms[j]) <= 1e-12 * a.norms[j]);
  }
}

// The backward pass is linear in the factor of the loss; forward values have the same bits in all passes. With K
// roundings on a path, a pass is off by at most K u A, A the sum of the magnitudes of all paths. Shares of a weight add
// up to it, so that backward and loss are each off by K u |w| A, and by E and E L roundings of the outer sum.
TEST_CASE("loss gives the gradient of backward for any weights, within the roundings of the backward pass") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  int noticed = 0, total = 0, compared = 0;
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = mixed_case(seed);
    c.config.dropout = 0;
    INFO(describe(c));
    const auto want = make_model(c), got = make_model(c);
    const Outcome a = accumulate(*want, c.examples, coefficient);
    const Outcome b = enforce(*got, c.examples, Enforcement::loss);
    Paths bound = paths(c);
    const double pass = 1.01 * unit * 2 * roundings_of_a_path(c);
    scale(bound.sum, pass + 1.01 * unit * 5 * static_cast<double>(c.examples.size()));
    CHECK(worst_excess(gradients(*want), gradients(*got), bound.sum) <= 0);
    for (size_t j = 0; j < a.norms.size(); ++j) {
      const double off = std::abs(a.norms[j] - b.norms[j]);
      CHECK(off <= pass * bound.norms[j]);
      if (bound.norms[j] > 100 * a.norms[j]) continue;  // what is left of cancellation, such as a bias of keys
      ++compared;
      CHECK(off <= 1e-5 * a.norms[j]);
      CHECK((a.norms[j] == 0) == (b.norms[j] == 0));
    }
    Case wrong = c;
    for (Example& x : wrong.examples)
      for (float& w : x.weight) w *= 1.05f;
    const auto off = make_model(wrong);
    enforce(*off, wrong.examples, Enforcement::loss);
    noticed += worst_excess(gradients(*want), gradients(*off), bound.sum) > 0 ? 1 : 0;
    ++total;
  }
  CHECK(noticed == total);
  CHECK(compared > 25 * static_cast<int>(cases()));
}

TEST_CASE("where the order of summation is the same, the points have the bits of backward") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = mixed_case(seed);
    Random r(seed);
    INFO(describe(c));
    std::vector<float> profile;
    for (int b = 0; b < c.blocks.blocks(); ++b) profile.push_back(r.coin() ? 1.0f : 0.0f);
    const bool one = r.coin();  // a single profile, or for loss any binary ones
    for (const Enforcement point : others) {
      for (Example& x : c.examples) {
        for (size_t b = 0; b < x.weight.size(); ++b) {
          const bool free = point == Enforcement::loss && !one;
          x.weight[b] = free ? (r.coin() ? 1.0f : 0.0f) : profile[b] * (point == Enforcement::loss ? 1.0f : 0.5f);
        }
      }
      INFO("point " << static_cast<int>(point) << (one ? ", one profile" : ""));
      const auto want = make_model(c), got = make_model(c);
      const Outcome a = accumulate(*want, c.examples, coefficient);
      const Outcome b = enforce(*got, c.examples, point);
      CHECK(same_bits(gradients(*want), gradients(*got)));
      CHECK(same_bits(a.norms, b.norms));
    }
  }
}

TEST_CASE("law 1 at every point: the bits of one example at a time; micro-batches and threads change none") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (const Enforcement point : others) {
    for (uint64_t seed = 1; seed <= cases(); ++seed) {
      const Case c = mixed_case(seed);
      INFO(describe(c));
      Random r(seed);
      const auto whole = make_model(c);
      const int threads = thread_count();
      set_thread_count(1);
      const Outcome all = enforce(*whole, c.examples, point);
      set_thread_count(3);
      std::vector<size_t> cuts;
      for (size_t e = 1; e < c.examples.size(); ++e) cuts.push_back(e);
      const auto single = make_model(c);
      const Outcome each = enforce(*single, c.examples, point, cuts);
      CHECK(same_bits(gradients(*whole), gradients(*single)));
      CHECK(same_bits(all.norms, each.norms));
      const auto some = make_model(c);
      enforce(*some, c.examples, point, {static_cast<size_t>(r.between(1, 4)), static_cast<size_t>(r.between(5, 9))});
      set_thread_count(threads);
      CHECK(same_bits(gradients(*whole), gradients(*some)));
    }
  }
}

TEST_CASE("laws 2, 3 and 5 at every point: kept out is absent, block by block, and nothing else is touched") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  int pairs = 0;
  for (const Enforcement point : others) {
    for (uint64_t seed = 1; seed <= cases(); ++seed) {
      const Case c = mixed_case(seed);
      INFO(describe(c));
      const auto before = make_model(c);
      const Outcome a = enforce(*before, c.examples, point);
      Random r(seed);
      for (size_t e = 0; e < c.examples.size(); ++e) {
        std::vector<Example> changed = c.examples;
        random_text(r, c.config, changed[e], r.between(1, 30));
        const auto after = make_model(c);
        enforce(*after, changed, point);
        for (int b = 0; b < c.blocks.blocks(); ++b) {
          const auto k = static_cast<size_t>(b);
          if (c.examples[e].weight[k] != 0) continue;
          ++pairs;
          CHECK(same_bits(of_block(*before, gradients(*before), b), of_block(*after, gradients(*after), b)));
          CHECK(a.norms[e * c.examples[e].weight.size() + k] == 0);
        }
        if (!kept_out(c.examples[e])) continue;
        changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(e));
        const auto without = make_model(c);
        enforce(*without, changed, point);
        CHECK(same_bits(gradients(*before), gradients(*without)));
      }
      const auto plain = make_model(c);
      accumulate(*plain, c.examples, coefficient);
      for (size_t i = 0; i < plain->parameters().size(); ++i) {
        for (size_t k = 0; k < plain->parameters()[i].slices().size(); ++k) {
          CHECK(before->parameters()[i].touched(k) == plain->parameters()[i].touched(k));
        }
      }
    }
  }
  CHECK(pairs > 20 * static_cast<int>(cases()));
}

TEST_CASE("law 2 at every point: what is not finite does not reach a block that keeps it out") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (const Enforcement point : others) {
    ParameterSet set(test_backend().allocator());
    Parameter& table = set.add_matrix("table", "embedding", -1, 3, 4);
    Parameter& head = set.add_matrix("head", "head", 1, 3, 4);
    table.value().assign(std::vector<float>(12, 1.0f));
    head.value().assign(std::vector<float>(12, std::numeric_limits<float>::infinity()));
    BlockMap map;
    map.names = {"low", "high"};
    map.slices = {{0, 0, 0, 3, 0, 4}, {1, 1, 0, 3, 0, 4}};
    set.assign_blocks(map);
    const Rows rows = Rows::of_lengths({2, 1});
    RouteTable route(2, 2, 0.0f);
    route.at(0, 1) = route.at(1, 1) = 0.5f;
    ProfileGroups groups;
    ParamGradOptions options;
    if (point == Enforcement::optimizer) options.groups = &groups;
    ParamGrad grads(set, test_backend(), rows, point == Enforcement::loss ? loss_term(route, 0).reaches : route,
                    options);
    Tape tape(test_backend(), rows, Mode::train);
    const Var x = linear(embedding(tape, table, std::vector<int32_t>{0, 1, 2}), head);
    tape.backward(cross_entropy(x, std::vector<int32_t>{0, 1, 2}), std::vector<float>{1.0f, 1.0f}, grads);
    groups.close(set, test_backend());
    for (const float g : on_host(table.grad())) CHECK(g == 0);
    CHECK(std::isnan(on_host(head.grad())[0]));
    CHECK_FALSE(table.touched(0));
    CHECK(head.touched(0));
  }
}

TEST_CASE("law 4 at every point: losses have the bits of a plain forward pass") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (const Enforcement point : others) {
    for (uint64_t seed = 1; seed <= cases(); ++seed) {
      const Case c = mixed_case(seed);
      INFO(describe(c));
      const auto plain = make_model(c), routed = make_model(c);
      const Outcome a = accumulate(*plain, c.examples, coefficient, How::plain);
      CHECK(same_bits(a.nll, enforce(*routed, c.examples, point).nll));
    }
  }
}

TEST_CASE("optimizer withholds what backward withholds, within the roundings of sums, and both change nothing") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = mixed_case(seed);
    INFO(describe(c));
    const auto want = make_model(c), got = make_model(c), discarding = make_model(c), cut = make_model(c);
    accumulate(*want, c.examples, coefficient, How::withheld);
    enforce(*got, c.examples, Enforcement::optimizer, {}, true);
    enforce(*cut, c.examples, Enforcement::optimizer, {1, 3, 4, 8}, true);
    const auto withheld = [](const Transformer& model) {
      Bits out;
      for (size_t i = 0; i < model.parameters().size(); ++i) {
        out.push_back(on_host(model.parameters()[i].withheld()));
      }
      return out;
    };
    Case rest = c;  // 1 - w; a product that is not fused for backward, too: its weight is rounded as well
    for (Example& x : rest.examples)
      for (float& w : x.weight) w = w < 1.0f ? 1.0f - w : 0.0f;
    Sums bound = contributions(rest);
    scale(bound, 1.01 * unit * (3 * static_cast<double>(c.examples.size()) + 1));
    CHECK(worst_excess(withheld(*want), withheld(*got), bound) <= 0);
    CHECK(same_bits(withheld(*got), withheld(*cut)));
    CHECK(same_bits(gradients(*got), gradients(*cut)));
    for (size_t i = 0; i < got->parameters().size(); ++i) {
      for (size_t k = 0; k < got->parameters()[i].slices().size(); ++k) {
        CHECK(got->parameters()[i].withholds(k) == want->parameters()[i].withholds(k));
        CHECK(got->parameters()[i].touched(k) == want->parameters()[i].touched(k));
      }
    }
  }
}

TEST_CASE("loss terms: levels upwards from 0, then downwards; shares add up to the weights") {
  RouteTable route(3, 4, 0);
  route.weight = {0.5f, 1, 0, 2.5f, -0.25f, 1, -1, 0, 0, 0, 0, 0};
  CHECK(loss_terms(route) == 3);
  const LossTerm a = loss_term(route, 0), b = loss_term(route, 1), c = loss_term(route, 2);
  CHECK(a.share == std::vector<float>{0.5f, 1, 0});
  CHECK(a.reaches.weight == std::vector<float>{1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0});
  CHECK(b.share == std::vector<float>{0.5f, -0.25f, 0});
  CHECK(b.reaches.weight == std::vector<float>{0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0});
  CHECK(c.share == std::vector<float>{1.5f, -0.75f, 0});
  CHECK(c.reaches.weight == std::vector<float>{0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0});
  CHECK(loss_terms(RouteTable(2, 3, 0)) == 0);
  CHECK_THROWS_WITH(parse_enforcement("step"), Catch::Contains("backward, optimizer or loss"));
}

TEST_CASE("runs of profiles: examples that are kept out everywhere end none, unless they are withheld") {
  RouteTable route(5, 2, 0);
  route.weight = {1, 0, 0, 0, 1, 0, 0, 1, 1, 0};
  const ProfileRuns runs = profile_runs(route, false);
  CHECK(runs.of == std::vector<int>{0, -1, 0, 1, 2});
  CHECK(runs.profile == std::vector<std::vector<float>>{{1, 0}, {0, 1}, {1, 0}});
  CHECK(profile_runs(route, true).of == std::vector<int>{0, 1, 2, 3, 4});
}
