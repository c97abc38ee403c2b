// Routed gradients on hand-made factors: slices, tied uses, refusals, clipping, zeroing.
#include "autograd/param_grad.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "autograd/tape.h"
#include "core/error.h"

using namespace govtrain;

namespace {

Tensor random_tensor(std::mt19937_64& engine, int64_t rows, int64_t cols) {
  Tensor t(rows, cols);
  for (int64_t i = 0; i < t.size(); ++i) t.data()[i] = static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f;
  return t;
}

Factor outer(const Tensor& dy, const Tensor& x) {
  Factor f;
  f.kind = Factor::Kind::outer;
  f.dy = dy.cview();
  f.x = x.cview();
  return f;
}

Factor scatter(const Tensor& dy, const std::vector<int32_t>& index) {
  Factor f;
  f.kind = Factor::Kind::scatter;
  f.dy = dy.cview();
  f.index = index.data();
  return f;
}

// Four rectangles that meet at (r, c), in blocks 0 to 3.
BlockMap quarters(int64_t rows, int64_t cols, int64_t r, int64_t c) {
  return {{"a", "b", "c", "d"},
          {{0, 0, 0, r, 0, c}, {0, 1, 0, r, c, cols}, {0, 2, r, rows, 0, c}, {0, 3, r, rows, c, cols}}};
}

}  // namespace

TEST_CASE("slices of one parameter are weighted and measured each by its own block, tied uses summed before") {
  std::mt19937_64 engine(11);
  for (int trial = 0; trial < 20; ++trial) {
    INFO("seed 11, trial " << trial);
    const int64_t p = 2 + static_cast<int64_t>(engine() % 20), d = 2 + static_cast<int64_t>(engine() % 20);
    const Rows rows = Rows::of_lengths({3, 1, 7});
    ParameterSet set;
    Parameter& w = set.add_matrix("w", "embedding", -1, p, d);
    set.assign_blocks(quarters(p, d, 1 + static_cast<int64_t>(engine() % static_cast<uint64_t>(p - 1)), 1));
    const Tensor dy = random_tensor(engine, 11, p), x = random_tensor(engine, 11, d), dz = random_tensor(engine, 11, d);
    std::vector<int32_t> index;
    for (int t = 0; t < 11; ++t) index.push_back(static_cast<int32_t>(engine() % static_cast<uint64_t>(p)));
    RouteTable route(3, 4, 0);
    const float choices[] = {0.0f, 0.25f, 0.5f, 1.0f, 2.0f};
    for (float& weight : route.weight) weight = choices[engine() % 5];

    ParamGrad grads(set, cpu_backend(), rows, route);
    grads.expect(w);
    grads.expect(w);
    grads.add(w, outer(dy, x), {dy, x});
    for (int64_t j = 0; j < w.grad().size(); ++j) CHECK(w.grad().data()[j] == 0.0f);  // waits for the last use
    grads.add(w, scatter(dz, index), {dz});
    grads.finish();

    const std::vector<double> norms = grads.realised_norms();
    for (const Parameter::Slice& s : w.slices()) {
      std::vector<double> want(static_cast<size_t>(p * d), 0.0);
      for (int e = 0; e < 3; ++e) {
        double norm2 = 0;
        const double weight = static_cast<double>(route.at(e, s.block));
        for (int64_t r = s.row_begin; r < s.row_end; ++r) {
          for (int64_t c = s.col_begin; c < s.col_end; ++c) {
            double g = 0;
            for (int t = rows.begin(e); t < rows.end(e); ++t) {
              g += static_cast<double>(dy.view().at(t, r)) * static_cast<double>(x.view().at(t, c));
              if (index[static_cast<size_t>(t)] == r) g += static_cast<double>(dz.view().at(t, c));
            }
            norm2 += g * g;
            want[static_cast<size_t>(r * d + c)] += weight * g;
          }
        }
        const double realised = weight * std::sqrt(norm2);
        CHECK(std::abs(norms[static_cast<size_t>(e * 4 + s.block)] - realised) <= 1e-6 * realised);
      }
      for (int64_t r = s.row_begin; r < s.row_end; ++r) {
        for (int64_t c = s.col_begin; c < s.col_end; ++c) {
          CHECK(std::abs(static_cast<double>(w.grad().view().at(r, c)) - want[static_cast<size_t>(r * d + c)]) < 2e-5);
        }
      }
    }
  }
}

TEST_CASE("weights of a block never reach another block's slice") {
  std::mt19937_64 engine(3);
  const Rows rows = Rows::of_lengths({4});
  const Tensor dy = random_tensor(engine, 4, 6), x = random_tensor(engine, 4, 5);
  for (int admitted = 0; admitted < 4; ++admitted) {
    ParameterSet set;
    Parameter& w = set.add_matrix("w", "mlp", 0, 6, 5);
    set.assign_blocks(quarters(6, 5, 2, 3));
    RouteTable route(1, 4, 0);
    route.at(0, admitted) = 1;
    ParamGrad grads(set, cpu_backend(), rows, route);
    grads.expect(w);
    grads.add(w, outer(dy, x), {});
    for (size_t k = 0; k < 4; ++k) {
      const Parameter::Slice& s = w.slices()[k];
      CHECK(w.touched(k) == (s.block == admitted));
      for (int64_t r = s.row_begin; r < s.row_end; ++r) {
        for (int64_t c = s.col_begin; c < s.col_end; ++c) {
          CHECK((w.grad().view().at(r, c) != 0.0f) == (s.block == admitted));
        }
      }
    }
  }
}

TEST_CASE("plain gradients are the sum over all rows") {
  std::mt19937_64 engine(5);
  const Rows rows = Rows::of_lengths({2, 3});
  ParameterSet set;
  Parameter& w = set.add_matrix("w", "mlp", 0, 3, 4);
  const Tensor dy = random_tensor(engine, 5, 3), x = random_tensor(engine, 5, 4);
  ParamGrad grads = ParamGrad::plain(set, cpu_backend(), rows);
  grads.expect(w);
  grads.add(w, outer(dy, x), {});
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t c = 0; c < 4; ++c) {
      double want = 0;
      for (int t = 0; t < 5; ++t)
        want += static_cast<double>(dy.view().at(t, r)) * static_cast<double>(x.view().at(t, c));
      CHECK(static_cast<double>(w.grad().view().at(r, c)) == Approx(want).epsilon(1e-5));
    }
  }
  CHECK(w.touched(0));
  CHECK_THROWS_AS(grads.realised_norms(), Error);
}

TEST_CASE("tables and factors that do not fit are refused") {
  std::mt19937_64 engine(5);
  const Rows rows = Rows::of_lengths({2, 3});
  ParameterSet set;
  Parameter& w = set.add_matrix("w", "mlp", 0, 3, 4);
  Parameter& b = set.add_vector("b", "mlp", 0, 3);
  using Catch::Contains;
  CHECK_THROWS_WITH(ParamGrad(set, cpu_backend(), rows, RouteTable(3, 1, 1)),
                    Contains("expected [2 examples, 1 blocks], got [3, 1]"));
  CHECK_THROWS_WITH(ParamGrad(set, cpu_backend(), rows, RouteTable(2, 2, 1)), Contains("got [2, 2]"));
  RouteTable bad(2, 1, 1);
  bad.at(1, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(ParamGrad(set, cpu_backend(), rows, bad), Contains("weight of example 1 in block 0 is not finite"));
  ParamGrad grads(set, cpu_backend(), rows, RouteTable(2, 1, 1));
  const Tensor dy = random_tensor(engine, 5, 3), x = random_tensor(engine, 5, 4), y = random_tensor(engine, 4, 3);
  CHECK_THROWS_WITH(grads.add(w, outer(dy, x), {}), Contains("not announced"));
  grads.expect(w);
  grads.expect(b);
  CHECK_THROWS_WITH(grads.add(w, outer(x, dy), {}),
                    Contains("outer factor for 'w' [3, 4]; expected dy [5, 3], got dy [5, 4]"));
  CHECK_THROWS_WITH(grads.add(w, outer(y, x), {}), Contains("got dy [4, 3]"));
  CHECK_THROWS_WITH(grads.add(b, outer(dy, x), {}), Contains("outer factor for 'b'"));
  CHECK_THROWS_WITH(grads.finish(), Contains("did not arrive"));
  CHECK_THROWS_AS(set.add_matrix("w", "mlp", 0, 3, 4), Error);
  CHECK_THROWS_AS(set.assign_blocks({{"a"}, {{0, 0, 0, 3, 0, 4}}}), Error);  // b is in no block
}

TEST_CASE("each block is clipped by its own norm") {
  std::mt19937_64 engine(9);
  const Rows rows = Rows::of_lengths({4});
  ParameterSet set;
  Parameter& w = set.add_matrix("w", "mlp", 0, 6, 5);
  set.assign_blocks(quarters(6, 5, 2, 3));
  RouteTable route(1, 4, 1);
  route.at(0, 1) = 0;
  route.at(0, 2) = 0.001f;
  const Tensor dy = random_tensor(engine, 4, 6), x = random_tensor(engine, 4, 5);
  ParamGrad grads(set, cpu_backend(), rows, route);
  grads.expect(w);
  grads.add(w, outer(dy, x), {});
  const Tensor before = w.grad().clone();
  const auto measured = clip_blocks(set, cpu_backend(), 0);
  CHECK(std::equal(before.data(), before.data() + 30, w.grad().data()));
  const auto clips = clip_blocks(set, cpu_backend(), 0.1);
  for (const Parameter::Slice& s : w.slices()) {
    const auto b = static_cast<size_t>(s.block);
    double square = 0;
    for (int64_t r = s.row_begin; r < s.row_end; ++r) {
      for (int64_t c = s.col_begin; c < s.col_end; ++c) {
        square += std::pow(static_cast<double>(before.view().at(r, c)), 2);
        CHECK(w.grad().view().at(r, c) == before.view().at(r, c) * clips[b].factor);
      }
    }
    CHECK(clips[b].norm == Approx(std::sqrt(square)).epsilon(1e-12));
    CHECK(measured[b].norm == clips[b].norm);
    CHECK(measured[b].factor == 1.0f);
    const double factor = 0.1 / (std::sqrt(square) + 1e-6);
    CHECK(static_cast<double>(clips[b].factor) == Approx(std::min(1.0, factor)).epsilon(1e-6));
  }
  CHECK(clips[0].factor < 1);
  CHECK(clips[1].norm == 0);
  CHECK(clips[2].factor == 1);
  zero_grad(set, cpu_backend());
  for (int64_t j = 0; j < 30; ++j) CHECK(w.grad().data()[j] == 0.0f);
  for (size_t k = 0; k < 4; ++k) CHECK_FALSE(w.touched(k));
}

TEST_CASE("only param_grad writes gradients") {
  // What the compiler proves: nothing but a const reference can be had from a parameter.
  static_assert(std::is_same_v<decltype(std::declval<Parameter&>().grad()), const Tensor&>);
  static_assert(!std::is_copy_constructible_v<Parameter>);
  static_assert(!std::is_convertible_v<Parameter&, Tensor> && !std::is_convertible_v<Parameter&, View>);
  SUCCEED();
}
