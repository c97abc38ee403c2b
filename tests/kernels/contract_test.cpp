// The routed kernel: zero-tolerance against one example at a time, norms against double, structural zeros, tied and
// shared parameters, rectangles of a parameter, withheld gradients.
#include <catch2/catch.hpp>
#include <cmath>
#include <deque>
#include <limits>

#include "kernels/backend.h"
#include "tests/kernels/guarded.h"
#include "tests/reference/backend_reference.h"

namespace govtrain::test {
namespace {

using reference::Matrix;
using Kind = Factor::Kind;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The operands of one contraction: a list of factor kinds, a parameter of [p,d], a batch.
struct Problem {
  std::vector<Kind> kinds;
  int64_t p, d;
  Rows rows;
  std::deque<Guarded> dy, x;
  std::deque<std::vector<float>> mean, rstd;
  std::deque<std::vector<int32_t>> index;
  std::vector<float> weight, withheld;

  Problem(std::vector<Kind> k, int64_t p_, int64_t d_, const std::vector<int32_t>& lengths, uint64_t seed)
      : kinds(std::move(k)), p(p_), d(d_), rows(Rows::of_lengths(lengths)) {
    const Rng rng(seed, Stream::test);
    uint64_t draw = 0;
    const auto n = static_cast<size_t>(rows.total());
    for (size_t f = 0; f < kinds.size(); ++f) {
      dy.emplace_back(rows.total(), kinds[f] == Kind::outer ? p : d);
      dy.back().randomise(seed + 10 * f + 1);
      x.emplace_back(rows.total(), d, 5);
      x.back().randomise(seed + 10 * f + 2);
      mean.emplace_back(n);
      rstd.emplace_back(n);
      index.emplace_back(n);
      for (size_t t = 0; t < n; ++t) {
        mean.back()[t] = rng.uniform(draw++) - 0.5f;
        rstd.back()[t] = rng.uniform(draw++) + 0.5f;
        index.back()[t] = static_cast<int32_t>(rng.bits(draw++) % static_cast<uint32_t>(p));
      }
    }
    constexpr float kWeights[] = {0.0f, 0.5f, 1.0f, 2.0f, -0.25f, 1.0f};
    for (int e = 0; e < rows.examples(); ++e) {
      weight.push_back(kWeights[rng.bits(draw++) % 6]);
      withheld.push_back(weight.back() < 1.0f && weight.back() >= 0.0f ? 1.0f - weight.back() : 0.0f);
    }
  }

  // Factors over the rows of example e, or of the whole batch for e < 0.
  std::vector<Factor> factors(int e = -1) const {
    const int begin = e < 0 ? 0 : rows.begin(e);
    const int length = e < 0 ? rows.total() : rows.length(e);
    std::vector<Factor> out;
    for (size_t f = 0; f < kinds.size(); ++f) {
      Factor factor;
      factor.kind = kinds[f];
      factor.dy = dy[f].cview().row_range(begin, length);
      factor.x = x[f].cview().row_range(begin, length);
      factor.mean = f % 2 == 0 ? mean[f].data() + begin : nullptr;
      factor.rstd = rstd[f].data() + begin;
      factor.index = index[f].data() + begin;
      out.push_back(factor);
    }
    return out;
  }

  // The unweighted tile of example e, in double.
  Matrix tile(int e) const {
    Matrix sum(p, d);
    for (size_t f = 0; f < kinds.size(); ++f) {
      const Matrix g(dy[f].cview());
      const int begin = rows.begin(e);
      const int end = rows.end(e);
      switch (kinds[f]) {
        case Kind::outer:
          reference::add_outer(g, Matrix(x[f].cview()), begin, end, sum);
          break;
        case Kind::gain:
          reference::add_gain(g, Matrix(x[f].cview()), f % 2 == 0 ? mean[f] : std::vector<float>(), rstd[f], begin, end,
                              sum);
          break;
        case Kind::bias:
          reference::add_bias(g, begin, end, sum);
          break;
        case Kind::scatter:
          reference::add_scatter(g, index[f], begin, end, sum);
          break;
      }
    }
    return sum;
  }
};

struct Result {
  Guarded grad, kept;
  std::vector<double> norm2;
  Result(int64_t p, int64_t d, int examples) : grad(p, d), kept(p, d), norm2(static_cast<size_t>(examples), 0.0) {
    grad.randomise(77);
    kept.randomise(78);
  }
  Contraction how(const std::vector<float>& weight, const std::vector<float>& withheld, size_t e, size_t n) {
    Contraction c;
    c.weight = std::span(weight).subspan(e, n);
    c.norm2 = std::span(norm2).subspan(e, n);
    if (!withheld.empty()) {
      c.withheld = std::span(withheld).subspan(e, n);
      c.withheld_grad = kept.view();
    }
    return c;
  }
};

Result routed(const Problem& q, const std::vector<float>& withheld) {
  Result r(q.p, q.d, q.rows.examples());
  cpu_backend().contract(q.factors(), q.rows, r.how(q.weight, withheld, 0, q.weight.size()), r.grad.view());
  return r;
}

// The oracle: batches of one example, in ascending order, into the same buffers.
Result one_at_a_time(const Problem& q, const std::vector<float>& withheld) {
  Result r(q.p, q.d, q.rows.examples());
  for (int e = 0; e < q.rows.examples(); ++e) {
    const Rows alone = Rows::of_lengths({q.rows.length(e)});
    cpu_backend().contract(q.factors(e), alone, r.how(q.weight, withheld, static_cast<size_t>(e), 1), r.grad.view());
  }
  return r;
}

void check_same(const Result& a, const Result& b) {
  CHECK(same_bits(a.grad.cview(), b.grad.cview()));
  CHECK(same_bits(a.kept.cview(), b.kept.cview()));
  CHECK(a.norm2 == b.norm2);
}

const std::vector<std::vector<Kind>>& matrix_mixes() {
  static const std::vector<std::vector<Kind>> mixes = {
      {Kind::outer},
      {Kind::outer, Kind::outer},
      {Kind::outer, Kind::scatter},
      {Kind::scatter, Kind::outer},
      {Kind::outer, Kind::scatter, Kind::outer, Kind::scatter},
      {Kind::scatter},
      {Kind::scatter, Kind::scatter},
  };
  return mixes;
}

std::vector<Problem> problems() {
  std::vector<Problem> all;
  const std::vector<std::vector<int32_t>> batches = {
      {1}, {1, 1}, {31, 32, 33}, {7, 700, 2, 256, 257, 1}, {16, 16, 16, 300, 5, 64, 64, 64, 64, 9}};
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{1, 1}, {5, 70}, {48, 64}, {100, 33}, {97, 400}};
  uint64_t seed = 1;
  for (const auto& lengths : batches) {
    for (const auto& mix : matrix_mixes()) {
      for (const auto& [p, d] : shapes) all.emplace_back(mix, p, d, lengths, seed++);
    }
    for (const int64_t d : {1, 31, 32, 100, 192}) {
      all.emplace_back(std::vector{Kind::bias}, 1, d, lengths, seed++);
      all.emplace_back(std::vector{Kind::gain}, 1, d, lengths, seed++);
      all.emplace_back(std::vector{Kind::gain, Kind::bias, Kind::gain}, 1, d, lengths, seed++);
    }
  }
  return all;
}

std::string label(const Problem& q) {
  std::string s = "p " + std::to_string(q.p) + " d " + std::to_string(q.d) + " kinds";
  for (const Kind k : q.kinds) s += " " + std::to_string(static_cast<int>(k));
  return s + " examples " + std::to_string(q.rows.examples());
}

}  // namespace

TEST_CASE("a contracted batch has the bits of one example at a time", "[slow]") {
  for_each_instruction_set([] {
    for (const Problem& q : problems()) {
      INFO(label(q));
      for (const auto& withheld : {std::vector<float>(), q.withheld}) {
        const Result batch = routed(q, withheld);
        check_same(batch, one_at_a_time(q, withheld));
        CHECK(batch.grad.intact());
        CHECK(batch.kept.intact());
        for (const int threads : {1, 5}) {
          set_thread_count(threads);
          check_same(batch, routed(q, withheld));
        }
        set_thread_count(2);
      }
    }
  });
}

TEST_CASE("contracted gradients and norms match double", "[slow]") {
  for_each_instruction_set([] {
    for (const Problem& q : problems()) {
      INFO(label(q));
      const Result r = routed(q, q.withheld);
      const Result before(q.p, q.d, q.rows.examples());
      Matrix grad(before.grad.cview());
      Matrix kept(before.kept.cview());
      for (int e = 0; e < q.rows.examples(); ++e) {
        const auto i = static_cast<size_t>(e);
        const Matrix tile = q.tile(e);
        double square = 0.0;
        for (size_t n = 0; n < tile.v.size(); ++n) {
          square += tile.v[n] * tile.v[n];
          grad.v[n] += static_cast<double>(q.weight[i]) * tile.v[n];
          kept.v[n] += static_cast<double>(q.withheld[i]) * tile.v[n];
        }
        const double expected = q.weight[i] == 0.0f ? 0.0 : square;
        // A tile of a few elements can cancel to almost nothing; then the elements' own rounding errors decide.
        const double terms = static_cast<double>(q.rows.length(e)) * static_cast<double>(q.kinds.size());
        const double delta = 4 * std::sqrt(terms) * 0x1p-24 * terms;
        const auto size = static_cast<double>(q.p * q.d);
        const double tolerance =
            size >= 64 ? 1e-5 * expected : 2 * delta * std::sqrt(size * expected) + size * delta * delta;
        CHECK(std::abs(r.norm2[i] - expected) <= tolerance);
      }
      // n terms of magnitude below 4 (hat is at most 1.5 * 1.5), about n / 2 in sum, times the largest weight.
      const double n = static_cast<double>(q.rows.total()) * static_cast<double>(q.kinds.size());
      const double tolerance = 4 * std::sqrt(n) * 0x1p-24 * (n + 1);
      double worst = 0.0;
      for (int64_t a = 0; a < q.p; ++a) {
        for (int64_t b = 0; b < q.d; ++b) {
          worst = std::max(worst, std::abs(static_cast<double>(r.grad.cview().at(a, b)) - grad.at(a, b)));
          worst = std::max(worst, std::abs(static_cast<double>(r.kept.cview().at(a, b)) - kept.at(a, b)));
        }
      }
      CHECK(worst <= tolerance);
    }
  });
}

TEST_CASE("an example of weight 0 leaves no trace, whatever it holds") {
  for_each_instruction_set([] {
    for (Problem& q : problems()) {
      INFO(label(q));
      for (size_t e = 0; e < q.weight.size(); e += 2) q.weight[e] = 0.0f;
      const Result before = routed(q, {});
      for (int e = 0; e < q.rows.examples(); e += 2) {
        for (size_t f = 0; f < q.kinds.size(); ++f) {
          for (int t = q.rows.begin(e); t < q.rows.end(e); ++t) {
            std::fill_n(q.dy[f].view().row(t), q.dy[f].cview().cols, kNan);
            std::fill_n(q.x[f].view().row(t), q.d, kNan);
            q.index[f][static_cast<size_t>(t)] = std::numeric_limits<int32_t>::max();
          }
        }
      }
      check_same(before, routed(q, {}));
    }
  });
}

TEST_CASE("an example that is only withheld reaches the withheld gradient alone") {
  Problem q({Kind::outer, Kind::scatter}, 20, 40, {12, 30}, 5);
  q.weight = {0.0f, 1.0f};
  q.withheld = {1.0f, 0.0f};
  const Result both = routed(q, q.withheld);
  q.withheld = {0.0f, 0.0f};
  const Result none = routed(q, q.withheld);
  CHECK(same_bits(both.grad.cview(), none.grad.cview()));
  CHECK_FALSE(same_bits(both.kept.cview(), none.kept.cview()));
  CHECK(both.norm2[0] == 0.0);
  CHECK(both.norm2 == none.norm2);
}

TEST_CASE("the norm of a tied parameter is the norm of the sum") {
  Problem q({Kind::outer, Kind::scatter}, 8, 16, {6}, 9);
  q.weight = {1.0f};
  // The scatter rows cancel the outer product where they meet: row 3 of the sum is 0.
  Matrix outer(q.p, q.d);
  reference::add_outer(Matrix(q.dy[0].cview()), Matrix(q.x[0].cview()), 0, 6, outer);
  for (int t = 0; t < 6; ++t) {
    q.index[1][static_cast<size_t>(t)] = 3;
    for (int64_t j = 0; j < q.d; ++j) q.dy[1].view().at(t, j) = static_cast<float>(-outer.at(3, j) / 6.0);
  }
  double expected = 0.0;
  double separate = 0.0;
  for (int64_t i = 0; i < q.p; ++i) {
    for (int64_t j = 0; j < q.d; ++j) {
      expected += i == 3 ? 0.0 : outer.at(i, j) * outer.at(i, j);
      separate += outer.at(i, j) * outer.at(i, j) * (i == 3 ? 2.0 : 1.0);
    }
  }
  const Result r = routed(q, {});
  CHECK(std::abs(r.norm2[0] - expected) <= 1e-5 * expected);
  CHECK(std::abs(r.norm2[0] - separate) > 0.01 * separate);
}

TEST_CASE("a rectangle of a parameter has the bits of its part of the whole") {
  for_each_instruction_set([] {
    Problem q({Kind::outer}, 96, 128, {40, 300, 17}, 21);
    const Result whole = routed(q, {});
    Result part(q.p, q.d, 3);
    double total = 0.0;
    for (const auto& [r0, r, c0, c] : {std::array<int64_t, 4>{0, 30, 0, 128}, {30, 66, 0, 50}, {30, 66, 50, 78}}) {
      Result piece(1, 1, 3);
      auto f = q.factors();
      f[0].dy = f[0].dy.block(0, f[0].dy.rows, r0, r);
      f[0].x = f[0].x.block(0, f[0].x.rows, c0, c);
      cpu_backend().contract(f, q.rows, piece.how(q.weight, {}, 0, 3), part.grad.view().block(r0, r, c0, c));
      total += piece.norm2[1];
    }
    CHECK(same_bits(part.grad.cview(), whole.grad.cview()));
    CHECK(part.grad.intact());
    CHECK(total == Approx(whole.norm2[1]).epsilon(1e-6));
  });
}

TEST_CASE("the plain gradient is the routed one with every weight 1") {
  for_each_instruction_set([] {
    for (Problem& q : problems()) {
      INFO(label(q));
      std::fill(q.weight.begin(), q.weight.end(), 1.0f);
      const Result r = routed(q, {});
      Result plain(q.p, q.d, 1);
      cpu_backend().contract_plain(q.factors(), plain.grad.view());
      CHECK(plain.grad.intact());
      const double n = static_cast<double>(q.rows.total()) * static_cast<double>(q.kinds.size());
      double worst = 0.0;
      for (int64_t i = 0; i < q.p; ++i) {
        for (int64_t j = 0; j < q.d; ++j) {
          worst = std::max(worst, static_cast<double>(std::abs(r.grad.cview().at(i, j) - plain.grad.cview().at(i, j))));
        }
      }
      CHECK(worst <= 8 * std::sqrt(n) * 0x1p-24 * (n + 1));
      if (q.rows.examples() == 1 && q.kinds.size() == 1) CHECK(same_bits(r.grad.cview(), plain.grad.cview()));
    }
  });
}

}  // namespace govtrain::test
