// The sketch against exact ranks, on streams that are kind and unkind to it.
#include "routing/quantile_sketch.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <random>

#include "core/error.h"

using namespace govtrain;

namespace {

struct Stream {
  std::string name;
  std::vector<double> values;
};

std::vector<Stream> streams(uint64_t seed, size_t n) {
  std::mt19937_64 engine(seed);
  const auto make = [&](const std::string& name, const std::function<double(size_t)>& value) {
    Stream s{name, {}};
    for (size_t i = 0; i < n; ++i) s.values.push_back(value(i));
    return s;
  };
  const auto uniform = [&] { return static_cast<double>(engine() >> 11) * 0x1p-53; };
  std::vector<Stream> out;
  out.push_back(make("ascending", [](size_t i) { return static_cast<double>(i); }));
  out.push_back(make("descending", [](size_t i) { return -static_cast<double>(i); }));
  out.push_back(make("random", [&](size_t) { return uniform(); }));
  out.push_back(make("heavy tail", [&](size_t) { return std::exp(8 * uniform()); }));
  out.push_back(make("one value", [](size_t) { return 3.25; }));
  out.push_back(make("few values", [&](size_t) { return static_cast<double>(engine() % 5); }));
  out.push_back(make("from both ends", [](size_t i) { return (i % 2 ? 1.0 : -1.0) * static_cast<double>(i); }));
  out.push_back(make("inwards", [n](size_t i) { return (i % 2 ? 1.0 : -1.0) * static_cast<double>(n - i); }));
  out.push_back(make("drifting", [&](size_t i) { return 1e-3 * static_cast<double>(i) + uniform(); }));
  out.push_back(make("blocks", [n](size_t i) { return static_cast<double>((i % 17) * n + i / 17); }));
  return out;
}

// Always inserts where the summary is least sure: between the two neighbours with the widest uncertainty.
Stream adversarial(double error, size_t n) {
  Stream s{"adversarial", {}};
  QuantileSketch sketch(error);
  for (size_t i = 0; i < n; ++i) {
    double value = static_cast<double>(i % 2);
    if (i > 1) {
      const nlohmann::json tuples = sketch.to_json().at("tuples");
      uint64_t widest = 0;
      for (size_t t = 1; t < tuples.size(); ++t) {
        const uint64_t width = tuples[t][1].get<uint64_t>() + tuples[t][2].get<uint64_t>();
        const double left = tuples[t - 1][0], right = tuples[t][0];
        if (width >= widest && std::nextafter(left, right) < right) widest = width, value = (left + right) / 2;
      }
    }
    s.values.push_back(value);
    sketch.insert(value);
  }
  return s;
}

// How far `value` is from rank `target`, in ranks, over all places that it has among `sorted`.
double rank_distance(const std::vector<double>& sorted, double value, double target) {
  const auto low = std::lower_bound(sorted.begin(), sorted.end(), value);
  const auto high = std::upper_bound(sorted.begin(), sorted.end(), value);
  REQUIRE(low != high);  // a value of the stream
  const double first = static_cast<double>(low - sorted.begin() + 1), last = static_cast<double>(high - sorted.begin());
  return target < first ? first - target : target > last ? target - last : 0;
}

void check_bounds(const QuantileSketch& sketch, std::vector<double> seen) {
  std::sort(seen.begin(), seen.end());
  const double n = static_cast<double>(seen.size());
  REQUIRE(sketch.count() == seen.size());
  double worst = 0;
  for (int i = 0; i <= 200; ++i) {
    const double q = i / 200.0, target = std::max(1.0, std::ceil(q * n));
    worst = std::max(worst, rank_distance(seen, sketch.quantile(q), target));
  }
  CHECK(worst <= sketch.error() * n);
  CHECK(sketch.quantile(0) == seen.front());
  CHECK(sketch.quantile(1) == seen.back());
}

}  // namespace

TEST_CASE("the rank error is at most e n on every stream, at every time, within the size of the theorem") {
  const uint64_t seed = GENERATE(1, 2, 3);
  const double error = GENERATE(0.2, 0.05, 0.01, 0.003);
  std::vector<Stream> all = streams(seed, 6000);
  if (error >= 0.01) all.push_back(adversarial(error, 1500));
  for (const Stream& s : all) {
    INFO("seed " << seed << ", error " << error << ", stream " << s.name);
    QuantileSketch sketch(error);
    std::vector<double> seen;
    size_t largest = 0;
    for (const double v : s.values) {
      sketch.insert(v);
      seen.push_back(v);
      largest = std::max(largest, sketch.size());
      const size_t n = seen.size();
      if (n <= 12 || n == 100 || n == 777 || n == s.values.size()) check_bounds(sketch, seen);
      if (static_cast<double>(sketch.size()) > sketch.size_bound()) FAIL("size " << sketch.size() << " at " << n);
    }
    CHECK(largest < s.values.size() / 2);
  }
}

TEST_CASE("a sketch of few values is exact") {
  QuantileSketch sketch(0.01);
  std::vector<double> values;
  for (int i = 0; i < 49; ++i) values.push_back((i * 31) % 49), sketch.insert(values.back());
  std::sort(values.begin(), values.end());
  for (size_t r = 1; r <= values.size(); ++r) {
    CHECK(sketch.quantile(static_cast<double>(r) / 49.0) == values[r - 1]);
  }
}

TEST_CASE("merged sketches keep the error, in any grouping") {
  const uint64_t seed = GENERATE(4, 5);
  const double error = GENERATE(0.05, 0.01);
  std::mt19937_64 engine(seed);
  for (const Stream& s : streams(seed, 3000)) {
    INFO("seed " << seed << ", error " << error << ", stream " << s.name);
    std::vector<QuantileSketch> parts(1 + engine() % 7, QuantileSketch(error));
    for (const double v : s.values) parts[engine() % parts.size()].insert(v);
    QuantileSketch whole(error);
    for (const QuantileSketch& part : parts) whole.merge(part);
    check_bounds(whole, s.values);
    whole.merge(whole);  // every value twice
    std::vector<double> twice = s.values;
    twice.insert(twice.end(), s.values.begin(), s.values.end());
    check_bounds(whole, twice);
    for (const double v : s.values) whole.insert(v), twice.push_back(v);
    check_bounds(whole, twice);
  }
  CHECK_THROWS_AS(QuantileSketch(0.1).merge(QuantileSketch(0.2)), Error);
}

TEST_CASE("a sketch goes on from its JSON text with the same bits") {
  const uint64_t seed = GENERATE(7, 8, 9);
  CAPTURE(seed);
  for (const Stream& s : streams(seed, 1500)) {
    QuantileSketch straight(0.01), resumed(0.01);
    for (size_t i = 0; i < s.values.size(); ++i) {
      straight.insert(s.values[i]);
      resumed.insert(s.values[i]);
      if (i % 97 == 0) resumed = QuantileSketch::from_json(nlohmann::json::parse(resumed.to_json().dump()));
    }
    INFO(s.name);
    CHECK(straight == resumed);
  }
}

TEST_CASE("what is no number and no sketch is refused") {
  QuantileSketch sketch(0.1);
  CHECK_THROWS_WITH(sketch.quantile(0.5), Catch::Contains("quantile of nothing"));
  CHECK_THROWS_WITH(sketch.insert(std::nan("")), Catch::Contains("finite"));
  CHECK_THROWS_WITH(QuantileSketch(0), Catch::Contains("more than 0"));
  for (int i = 0; i < 100; ++i) sketch.insert(i);
  CHECK_THROWS_WITH(sketch.quantile(1.5), Catch::Contains("from 0 to 1"));
  const nlohmann::json good = sketch.to_json();
  const auto refused = [&](const std::function<void(nlohmann::json&)>& change, const char* text) {
    nlohmann::json bad = good;
    change(bad);
    CHECK_THROWS_WITH(QuantileSketch::from_json(bad), Catch::Contains(text));
  };
  refused([](auto& j) { j.erase("n"); }, "expected numbers");
  refused([](auto& j) { j["n"] = 99u; }, "invariant");
  refused([](auto& j) { j["n"] = 101u; }, "add up");
  refused([](auto& j) { j["tuples"][0] = 3; }, "expected tuples");
  refused([](auto& j) { std::swap(j["tuples"][0], j["tuples"][2]); }, "invariant");
  refused([](auto& j) { j["tuples"][1][2] = 1000u; }, "invariant");
}
