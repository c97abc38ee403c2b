// Eigenvalues, matrix-based entropy, effective rank, CKA and the loss window: against closed forms, against numpy
// (representation_fixture.json, written by make_representation_fixture.py), and as properties of random matrices.
#include "routing/representation.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "core/error.h"
#include "core/rng.h"
#include "routing/eigenvalues.h"
#include "routing/loss_window.h"

using namespace govtrain;

namespace {

constexpr double tiny = 1e-12;

Representation formula(size_t n, size_t d, double seed) {
  Representation x{n, d, {}};
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < d; ++j) {
      const auto a = static_cast<double>(i), b = static_cast<double>(j);
      x.values.push_back(std::sin(1.7 * a + 0.3 * b * b + seed) + 0.4 * std::cos(0.9 * a * (b + 1) + 2 * seed));
    }
  }
  return x;
}

Representation random(uint64_t seed, size_t n, size_t d) {
  const Rng rng(seed, Stream::test);
  Representation x{n, d, {}};
  for (size_t i = 0; i < n * d; ++i) x.values.push_back(static_cast<double>(rng.normal(i)));
  return x;
}

Representation times(const Representation& x, const std::vector<double>& square, double scale) {
  Representation out{x.examples, x.width, std::vector<double>(x.values.size(), 0)};
  for (size_t i = 0; i < x.examples; ++i) {
    for (size_t j = 0; j < x.width; ++j) {
      for (size_t k = 0; k < x.width; ++k) out.values[i * x.width + j] += scale * x.row(i)[k] * square[k * x.width + j];
    }
  }
  return out;
}

// A Householder reflection: orthogonal and symmetric.
std::vector<double> reflection(uint64_t seed, size_t d) {
  const Representation v = random(seed, 1, d);
  double length = 0;
  for (const double x : v.values) length += x * x;
  std::vector<double> out(d * d);
  for (size_t i = 0; i < d; ++i) {
    for (size_t j = 0; j < d; ++j) out[i * d + j] = (i == j ? 1 : 0) - 2 * v.values[i] * v.values[j] / length;
  }
  return out;
}

}  // namespace

TEST_CASE("eigenvalues of matrices whose eigenvalues are known") {
  CHECK(symmetric_eigenvalues({}, 0).empty());
  CHECK(symmetric_eigenvalues({3}, 1) == std::vector<double>{3});
  for (size_t n : {2, 3, 10, 101}) {
    // The second difference matrix: 2 - 2 cos(k pi / (n + 1)).
    std::vector<double> a(n * n, 0);
    for (size_t i = 0; i < n; ++i) {
      a[i * n + i] = 2;
      if (i > 0) a[i * n + i - 1] = a[(i - 1) * n + i] = -1;
    }
    const std::vector<double> found = symmetric_eigenvalues(a, n);
    for (size_t k = 0; k < n; ++k) {
      const double angle = static_cast<double>(k + 1) * std::numbers::pi / static_cast<double>(n + 1);
      CHECK(found[k] == Approx(2 - 2 * std::cos(angle)).margin(tiny));
    }
    // All ones: n once, 0 otherwise; the identity; zero; a diagonal that already splits.
    const std::vector<double> ones = symmetric_eigenvalues(std::vector<double>(n * n, 1), n);
    CHECK(ones.back() == Approx(static_cast<double>(n)).epsilon(tiny));
    for (size_t k = 0; k + 1 < n; ++k) CHECK(std::abs(ones[k]) < tiny * static_cast<double>(n));
    CHECK(symmetric_eigenvalues(std::vector<double>(n * n, 0), n) == std::vector<double>(n, 0));
  }
  CHECK(symmetric_eigenvalues({5, 9, 9, 0, -2, 9, 0, 0, 1}, 3) == std::vector<double>{-2, 1, 5});
  CHECK_THROWS_AS(symmetric_eigenvalues({1, 2, 3}, 2), Error);
  CHECK_THROWS_AS(symmetric_eigenvalues({1, 0, std::nan(""), 1}, 2), Error);
}

TEST_CASE("random symmetric matrices: what was put in comes out, and trace and Frobenius norm are kept") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const Rng rng(seed, Stream::test, 9);
    const size_t n = 2 + rng.bits(0) % 40;
    std::vector<double> eigenvalues, a(n * n, 0);
    for (size_t i = 0; i < n; ++i) {  // with repeated values and zeros
      eigenvalues.push_back(rng.bits(10 + i) % 4 == 0 ? 0 : static_cast<double>(rng.bits(10 + i) % 7) - 2);
    }
    const std::vector<double> q = reflection(seed, n), q2 = reflection(seed + 1000, n);
    std::vector<double> h(n * n, 0);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        for (size_t k = 0; k < n; ++k) h[i * n + j] += q[i * n + k] * q2[k * n + j];
      }
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        for (size_t k = 0; k < n; ++k) a[i * n + j] += h[i * n + k] * eigenvalues[k] * h[j * n + k];
      }
    }
    std::sort(eigenvalues.begin(), eigenvalues.end());
    const std::vector<double> found = symmetric_eigenvalues(a, n);
    for (size_t k = 0; k < n; ++k) CHECK(found[k] == Approx(eigenvalues[k]).margin(1e-11));
  }
}

TEST_CASE("entropy, effective rank and CKA agree with numpy") {
  std::ifstream file(std::string(GOVTRAIN_SOURCE_DIR) + "/tests/routing/representation_fixture.json");
  const auto cases = nlohmann::json::parse(file);
  REQUIRE(cases.size() == 7);
  for (const auto& c : cases) {
    CAPTURE(c.at("n"), c.at("d"));
    const size_t n = c.at("n"), d = c.at("d");
    const double seed = c.at("seed");
    const std::vector<double> p = gram_spectrum(formula(n, d, seed));
    const std::vector<double> expected = c.at("spectrum");
    REQUIRE(p.size() == expected.size());
    for (size_t i = 0; i < p.size(); ++i) CHECK(p[i] == Approx(expected[i]).margin(tiny));
    for (const auto& [alpha, entropy] : c.at("entropy").items()) {
      CAPTURE(alpha);
      // For alpha < 1 eigenvalues at the level of rounding count: their alpha-th power is not small.
      CHECK(normalised_entropy(p, std::stod(alpha)) == Approx(entropy.get<double>()).epsilon(1e-6));
      if (std::stod(alpha) >= 1)
        CHECK(normalised_entropy(p, std::stod(alpha)) == Approx(entropy.get<double>()).epsilon(tiny));
    }
    CHECK(capacity_use(p) == Approx(c.at("capacity").get<double>()).epsilon(1e-11));
    const double cka = linear_cka(formula(n, d, seed), formula(n, d + 3, seed + 0.5));
    CHECK(cka == Approx(c.at("cka").get<double>()).margin(tiny));
  }
}

TEST_CASE("entropy: closed forms, bounds, continuity in alpha and what it does not depend on") {
  Representation orthogonal{3, 5, std::vector<double>(15, 0)};
  for (size_t i = 0; i < 3; ++i) orthogonal.values[i * 5 + i] = static_cast<double>(i + 1);
  for (const double alpha : {0.5, 1.0, 2.0, 7.0}) {
    CHECK(normalised_entropy(gram_spectrum(orthogonal), alpha) == Approx(1));
    const double one_direction = normalised_entropy(gram_spectrum({4, 2, {1, 2, 2, 4, 3, 6, -1, -2}}), alpha);
    CHECK(one_direction < 1e-6);
    // Two orthogonal groups of 1 and 3 rows: eigenvalues 1/4 and 3/4.
    const double p = alpha == 1 ? -(0.25 * std::log(0.25) + 0.75 * std::log(0.75))
                                : std::log(std::pow(0.25, alpha) + std::pow(0.75, alpha)) / (1 - alpha);
    CHECK(normalised_entropy(gram_spectrum({4, 2, {1, 0, 0, 2, 0, 3, 0, 1}}), alpha) == Approx(p / std::log(2)));
  }
  CHECK(capacity_use(gram_spectrum(orthogonal)) == Approx(1));
  CHECK(capacity_use(gram_spectrum({4, 2, {1, 2, 2, 4, 3, 6, -1, -2}})) == Approx(0.5));
  CHECK(gram_spectrum({2, 2, {0, 0, 0, 0}}).empty());
  CHECK(normalised_entropy({}, 1) == 0);
  CHECK(capacity_use({}) == 0);
  // Rows that point apart have negative products: a clamp to 0 would turn this spectrum of (1, 0) into (1/2, 1/2).
  CHECK(normalised_entropy(gram_spectrum({2, 3, {1, 1, 1, -2, -2, -2}}), 1) < 1e-6);

  for (uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    const size_t n = 2 + seed % 11, d = 2 + seed % 7;
    const Representation x = random(seed, n, d);
    const std::vector<double> p = gram_spectrum(x);
    double previous = 2;
    for (const double alpha : {0.5, 0.9, 1.0, 1.5, 2.0, 4.0}) {  // S_alpha falls with alpha
      const double s = normalised_entropy(p, alpha);
      CHECK(s >= 0);
      CHECK(s <= previous + tiny);
      previous = s;
    }
    CHECK(normalised_entropy(p, 1 + 1e-7) == Approx(normalised_entropy(p, 1)).epsilon(1e-6));
    const std::vector<double> turned = gram_spectrum(times(x, reflection(seed, d), 3.5));
    for (size_t i = 0; i < p.size(); ++i) CHECK(turned[i] == Approx(p[i]).margin(tiny));
    Representation reversed{n, d, {}};
    for (size_t i = n; i-- > 0;) reversed.values.insert(reversed.values.end(), x.row(i), x.row(i) + d);
    CHECK(normalised_entropy(gram_spectrum(reversed), 1) == Approx(normalised_entropy(p, 1)).epsilon(1e-11));
  }
}

TEST_CASE("CKA: 1 for the same up to rotation, scale and shift; symmetric; less for others; defined at the edges") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    const size_t n = 3 + seed % 9, d = 2 + seed % 6;
    const Representation x = random(seed, n, d), other = random(seed + 500, n, d + 1);
    Representation same = times(x, reflection(seed, d), -0.3);
    for (size_t i = 0; i < same.values.size(); ++i) same.values[i] += static_cast<double>(i % d);
    CHECK(linear_cka(x, same) == Approx(1).epsilon(tiny));
    CHECK(linear_cka(x, other) == Approx(linear_cka(other, x)).epsilon(tiny));
    CHECK(linear_cka(x, other) < 1 - 1e-6);
    CHECK(linear_cka(x, other) >= 0);
  }
  const Representation constant{3, 2, {1, 2, 1, 2, 1, 2}};
  CHECK(linear_cka(constant, constant) == 1);
  CHECK(linear_cka(constant, random(1, 3, 2)) == 0);
  CHECK_THROWS_AS(linear_cka(random(1, 3, 2), random(1, 4, 2)), Error);
}

TEST_CASE("spread and order of entropies") {
  CHECK(entropy_spread({}) == 0);
  CHECK(entropy_spread({0.4, 0.4, 0.4}) == Approx(0).margin(tiny));
  CHECK(entropy_spread({0, 1}) == 1);
  CHECK(entropy_spread({0.2, 0.4}) == Approx(0.2));
  CHECK(entropy_order({0.1}) == 0);
  CHECK(entropy_order({0.1, 0.2, 0.9}) == 1);
  CHECK(entropy_order({0.9, 0.2, 0.1}) == 1);
  CHECK(entropy_order({0.1, 0.9, 0.1, 0.9}) == Approx(2.0 / 6));
  CHECK(entropy_order({0.5, 0.5, 0.5}) == 0);
}

TEST_CASE("the loss window: progress between two strips, by token, from counted steps only") {
  LossWindow w(2);
  CHECK_FALSE(w.progress());
  w.add({8, 2});
  w.add({0, 0});  // nothing counted
  w.add({24, 6});
  w.add({3, 1});
  CHECK_FALSE(w.progress());
  w.add({9, 5});
  CHECK(w.progress().value() == Approx((4.0 - 2.0) / 4.0));
  w.add({16, 2});  // the oldest step leaves
  CHECK(w.progress().value() == Approx((27.0 / 7 - 25.0 / 7) / (27.0 / 7)));
  CHECK(w.steps().size() == 4);
  LossWindow restored(2);
  restored.restore(w.steps());
  CHECK(restored.progress() == w.progress());
  LossWindow zero(1);
  zero.add({0, 3});
  zero.add({1, 3});
  CHECK(zero.progress().value() == 0);
}
