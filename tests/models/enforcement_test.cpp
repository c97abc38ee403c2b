// The enforcement points on random models: mixed batches with five profiles, against `backward`, against one example at
// a time, and by the laws. Zero bits of tolerance unless a bound is derived.
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "tests/models/enforcement_bounds.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

uint64_t cases() { return cases_here(20, 2); }

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
