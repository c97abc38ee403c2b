// The routed dW kernel, scatter factors beside outer ones included: float32 against the CPU backend at zero bits,
// tensor-core paths against double within a derived bound and, emulated, against each other at zero bits, structural
// zeros, batch invariance, 32 schedules. What it moves and multiplies: counts_emulated_test.cpp.
#include "kernels/cuda/contract.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

#include "kernels/backend.h"
#include "kernels/cuda/backend.h"
#include "tests/cuda/rounding.h"
#include "tests/cuda/support.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {
namespace {

using cuda::OuterContraction;
using cuda::Precision;
using cuda::TensorCores;

struct Problem {
  int64_t p, d;
  Rows rows;
  std::deque<Guarded> dy, x;
  std::deque<Guarded> rows_to_add;  // of scatter factors, which come after the outer ones
  std::vector<std::vector<int32_t>> index;
  std::vector<float> weight, withheld;

  Problem(int64_t p_, int64_t d_, const std::vector<int32_t>& lengths, int factors, uint64_t seed, int64_t pad,
          int scatters = 0)
      : p(p_), d(d_), rows(Rows::of_lengths(lengths)) {
    for (int f = 0; f < factors; ++f) {
      dy.emplace_back(rows.total(), p, pad);
      dy.back().randomise(seed + 2 * static_cast<uint64_t>(f));
      x.emplace_back(rows.total(), d, pad);
      x.back().randomise(seed + 2 * static_cast<uint64_t>(f) + 1);
    }
    const Rng pick(seed, Stream::test);
    uint64_t draw = 0;
    for (int f = 0; f < scatters; ++f) {
      rows_to_add.emplace_back(rows.total(), d, pad);
      rows_to_add.back().randomise(seed + 1000 + static_cast<uint64_t>(f));
      std::vector<int32_t> at;  // few places, so that rows of one example meet
      for (int t = 0; t < rows.total(); ++t)
        at.push_back(static_cast<int32_t>(pick.bits(draw++) % static_cast<uint64_t>(p) / 5 * 5));
      index.push_back(std::move(at));
    }
    constexpr float kWeights[] = {1.0f, 0.0f, 0.5f, -0.25f, 2.0f};
    for (int e = 0; e < rows.examples(); ++e) {
      weight.push_back(kWeights[static_cast<uint64_t>(e) % 5]);
      withheld.push_back(weight.back() >= 0.0f && weight.back() < 1.0f ? 1.0f - weight.back() : 0.0f);
    }
  }

  std::vector<Factor> factors() const {
    std::vector<Factor> f;
    for (size_t i = 0; i < dy.size(); ++i) {
      Factor one;
      one.dy = dy[i].cview();
      one.x = x[i].cview();
      f.push_back(one);
    }
    for (size_t i = 0; i < index.size(); ++i) {
      Factor one;
      one.kind = Factor::Kind::scatter;
      one.dy = rows_to_add[i].cview();
      one.index = index[i].data();
      f.push_back(one);
    }
    return f;
  }
};

// The rows of each example by (index, row), as OuterFactor wants them.
struct Sorted {
  std::vector<int32_t> index, order;
  Sorted(const Problem& q, const std::vector<int32_t>& of) {
    for (int e = 0; e < q.rows.examples(); ++e) {
      std::vector<std::pair<int32_t, int32_t>> all;
      for (int t = q.rows.begin(e); t < q.rows.end(e); ++t) all.emplace_back(of[static_cast<size_t>(t)], t);
      std::sort(all.begin(), all.end());
      for (const auto& [at, t] : all) {
        index.push_back(at);
        order.push_back(t);
      }
    }
  }
};

struct Result {
  std::vector<float> grad, kept;  // [p, d], dense
  std::vector<double> norm2;
};

std::vector<float> start(const Problem& q, uint64_t seed) {
  Guarded g(q.p, q.d, 0);
  g.randomise(seed);
  return {g.cview().data, g.cview().data + q.p * q.d};
}

Result on_cpu(const Problem& q, bool withheld) {
  Result r{start(q, 77), start(q, 78), std::vector<double>(q.weight.size(), 0.0)};
  Contraction how;
  how.weight = q.weight;
  how.norm2 = r.norm2;
  if (withheld) {
    how.withheld = q.withheld;
    how.withheld_grad = {r.kept.data(), q.p, q.d};
  }
  cpu_backend().contract(q.factors(), q.rows, how, {r.grad.data(), q.p, q.d});
  return r;
}

// Rows of `v` with their padding, on the device.
std::vector<float> with_padding(View v) { return {v.data, v.data + v.rows * v.ld}; }

// spread: how many examples at a time, 0: none.
Result on_device(const Problem& q, bool withheld, Precision precision, TensorCores by = TensorCores::mma,
                 int spread = 0) {
  const DeviceBuffer<float> grad(start(q, 77));
  const DeviceBuffer<float> kept(start(q, 78));
  const DeviceBuffer<int32_t> offsets(q.rows.offsets());
  const DeviceBuffer<float> weight(q.weight);
  const DeviceBuffer<float> held(q.withheld);
  const DeviceBuffer<double> norm2(std::vector<double>(q.weight.size(), 0.0));
  const DeviceBuffer<double> scratch(static_cast<size_t>(cuda::contract_scratch(q.p, q.d, q.rows.examples())));
  std::deque<DeviceBuffer<float>> data;
  OuterContraction c;
  for (size_t f = 0; f < q.dy.size(); ++f) {
    const View dy = q.dy[f].cview();
    const View x = q.x[f].cview();
    data.emplace_back(with_padding(dy));
    c.factors[f].dy = {data.back().get(), dy.rows, dy.cols, dy.ld};
    data.emplace_back(with_padding(x));
    c.factors[f].x = {data.back().get(), x.rows, x.cols, x.ld};
  }
  c.count = static_cast<int>(q.dy.size());
  std::deque<DeviceBuffer<int32_t>> places;
  for (size_t f = 0; f < q.index.size(); ++f) {
    const View dy = q.rows_to_add[f].cview();
    data.emplace_back(with_padding(dy));
    const Sorted sorted(q, q.index[f]);
    places.emplace_back(sorted.index);
    places.emplace_back(sorted.order);
    c.factors[c.count++] = {
        {data.back().get(), dy.rows, dy.cols, dy.ld}, {}, places[2 * f].get(), places[2 * f + 1].get()};
  }
  c.offsets = offsets.get();
  c.examples = q.rows.examples();
  c.weight = weight.get();
  c.grad = {grad.get(), q.p, q.d};
  if (withheld) {
    c.withheld = held.get();
    c.withheld_grad = {kept.get(), q.p, q.d};
  }
  c.norm2 = norm2.get();
  c.scratch = scratch.get();
  const DeviceBuffer<float> parts(static_cast<size_t>(std::max(1, spread)) * static_cast<size_t>(q.p * q.d));
  c.spread = parts.get();
  c.spread_examples = spread;
  cuda::contract_outer(c, precision, nullptr, by);
  return {grad.host(), kept.host(), norm2.host()};
}

std::deque<Problem> problems() {
  std::deque<Problem> all;
  uint64_t seed = 1;
  for (const auto& [p, d] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {5, 70}, {64, 64}, {100, 33}, {97, 132}}) {
    all.emplace_back(p, d, std::vector<int32_t>{1}, 1, seed += 10, 3);
    all.emplace_back(p, d, std::vector<int32_t>{31, 7, 16, 33}, 1, seed += 10, 0);
    all.emplace_back(p, d, std::vector<int32_t>{3, 40, 1, 17, 2, 5, 9}, 2, seed += 10, 4);
    all.emplace_back(p, d, std::vector<int32_t>{3, 40, 1, 17, 2}, 1, seed += 10, 3, 1);
  }
  return all;
}

std::string label(const Problem& q) {
  return "p " + std::to_string(q.p) + ", d " + std::to_string(q.d) + ", examples " + std::to_string(q.rows.examples()) +
         ", scatters " + std::to_string(q.index.size());
}

// What was added to grad, what was withheld, and the norms, from rounded operands in double.
void check_against_double(const Problem& q, Precision precision, const Result& got, bool withheld) {
  const std::vector<float> first = start(q, 77), first_kept = start(q, 78);
  std::vector<double> grad(first.begin(), first.end()), kept(first_kept.begin(), first_kept.end());
  for (int e = 0; e < q.rows.examples(); ++e) {
    double square = 0.0;
    std::vector<double> scattered(static_cast<size_t>(q.p * q.d));
    for (size_t f = 0; f < q.index.size(); ++f) {
      for (int t = q.rows.begin(e); t < q.rows.end(e); ++t) {
        for (int64_t j = 0; j < q.d; ++j) {
          scattered[static_cast<size_t>(q.index[f][static_cast<size_t>(t)] * q.d + j)] +=
              static_cast<double>(q.rows_to_add[f].cview().at(t, j));
        }
      }
    }
    const auto w = static_cast<double>(q.weight[static_cast<size_t>(e)]);
    const double held = withheld ? static_cast<double>(q.withheld[static_cast<size_t>(e)]) : 0.0;
    for (int64_t i = 0; i < q.p; ++i) {
      for (int64_t j = 0; j < q.d; ++j) {
        double sum = scattered[static_cast<size_t>(i * q.d + j)];
        for (size_t f = 0; f < q.dy.size(); ++f) {
          for (int t = q.rows.begin(e); t < q.rows.end(e); ++t) {
            sum += static_cast<double>(rounded(q.dy[f].cview().at(t, i), precision)) *
                   static_cast<double>(rounded(q.x[f].cview().at(t, j), precision));
          }
        }
        square += sum * sum;
        grad[static_cast<size_t>(i * q.d + j)] += w * sum;
        kept[static_cast<size_t>(i * q.d + j)] += held * sum;
      }
    }
    if (w == 0.0) square = 0.0;
    // A tile's elements err by 4 sqrt(n) u n; a tile of few elements may cancel (tests/kernels/contract_test.cpp).
    const double n = static_cast<double>(q.rows.length(e)) * static_cast<double>(q.dy.size() + q.index.size());
    const double delta = 4 * std::sqrt(n) * 0x1p-24 * n;
    const auto size = static_cast<double>(q.p * q.d);
    const double tolerance = size >= 64 ? 1e-5 * square : 2 * delta * std::sqrt(size * square) + size * delta * delta;
    CHECK(std::abs(got.norm2[static_cast<size_t>(e)] - square) <= tolerance);
  }
  const double n = static_cast<double>(q.rows.total()) * static_cast<double>(q.dy.size() + q.index.size());
  double worst = 0.0;
  for (size_t i = 0; i < grad.size(); ++i) {
    worst = std::max(worst, std::abs(grad[i] - static_cast<double>(got.grad[i])));
    worst = std::max(worst, std::abs(kept[i] - static_cast<double>(got.kept[i])));
  }
  CHECK(worst <= 4 * std::sqrt(n) * 0x1p-24 * (n + 1));
}

constexpr Precision kAll[] = {Precision::fp32, Precision::tf32, Precision::bf16};

}  // namespace

TEST_CASE("the float32 kernel has the bits of the CPU backend") {
  for (const Problem& q : problems()) {
    INFO(label(q));
    for (const bool withheld : {false, true}) {
      const Result cpu = on_cpu(q, withheld);
      const Result device = on_device(q, withheld, Precision::fp32);
      CHECK(device.grad == cpu.grad);
      CHECK(device.kept == cpu.kept);
      check_against_double(q, Precision::fp32, device, withheld);
    }
  }
}

TEST_CASE("examples spread over blocks of their own give the same bits, as many at a time as there may be") {
  for (const Problem& q : problems()) {
    for (const Precision precision : kAll) {
      for (const bool withheld : {false, true}) {
        const Result together = on_device(q, withheld, precision);
        for (const int spread : {1, 3, 100}) {
          INFO(label(q) << ", " << name_of(precision) << ", spread " << spread);
          const Result apart = on_device(q, withheld, precision, TensorCores::mma, spread);
          CHECK(apart.grad == together.grad);
          CHECK(apart.kept == together.kept);
          CHECK(apart.norm2 == together.norm2);
        }
      }
    }
  }
}

TEST_CASE("examples are spread where a gradient has few tiles and examples are long") {
  CHECK(cuda::spread_examples(192, 192, 4096, 16) == 16);
  CHECK(cuda::spread_examples(512, 192, 4096, 16) == 10);  // 4 MiB
  CHECK(cuda::spread_examples(768, 768, 8192, 8) == 0);    // 144 tiles
  CHECK(cuda::spread_examples(192, 192, 16 * 63, 16) == 0);
  CHECK(cuda::spread_examples(192, 192, 4096, 1) == 0);
}

TEST_CASE("the tensor-core kernels match double on rounded operands") {
  for (const Problem& q : problems()) {
    INFO(label(q));
    for (const Precision precision : {Precision::tf32, Precision::bf16}) {
      const Result plain = on_device(q, false, precision);
      check_against_double(q, precision, plain, false);
      const Result both = on_device(q, true, precision);
      check_against_double(q, precision, both, true);
      CHECK(both.grad == plain.grad);
      CHECK(both.norm2 == plain.norm2);
      if (q.rows.examples() > 1) CHECK(both.kept != plain.kept);
    }
  }
}

// On a device the two may be different instructions, which add the products of a step in another order; there each of
// them is held to the bounds of the case above.
TEST_CASE("wmma is within the bounds of mma.sync, and emulated has its bits but for the order of squares in norms") {
  size_t different = 0;
  for (const Problem& q : problems()) {
    INFO(label(q));
    for (const Precision precision : {Precision::tf32, Precision::bf16}) {
      const Result mma = on_device(q, true, precision, TensorCores::mma);
      const Result wmma = on_device(q, true, precision, TensorCores::wmma);
      check_against_double(q, precision, wmma, true);
      if (!cuda_is_emulated()) {
        different += mma.grad != wmma.grad || mma.kept != wmma.kept;
        continue;
      }
      CHECK(mma.grad == wmma.grad);
      CHECK(mma.kept == wmma.kept);
      for (size_t e = 0; e < mma.norm2.size(); ++e) {
        // Each thread adds 32 squares in float32: two such sums of the same numbers differ by 64 roundings at most.
        CHECK(std::abs(mma.norm2[e] - wmma.norm2[e]) <= 64.01 * 0x1p-24 * wmma.norm2[e]);
      }
    }
  }
  if (different > 0) WARN("other bits than mma.sync's in " << different << " gradients by wmma");
}

TEST_CASE("on the device, an example of weight 0 leaves no trace, whatever it holds") {
  const int spread = GENERATE(0, 2);
  for (const Precision precision : kAll) {
    Problem q(70, 50, {20, 33, 5}, 2, 5, 3);
    q.weight = {1.0f, 0.0f, 0.5f};
    const Result before = on_device(q, false, precision, TensorCores::mma, spread);
    for (size_t f = 0; f < 2; ++f) {
      for (int t = 20; t < 53; ++t) {
        std::fill_n(q.dy[f].view().row(t), q.p, std::numeric_limits<float>::quiet_NaN());
        std::fill_n(q.x[f].view().row(t), q.d, std::numeric_limits<float>::infinity());
      }
    }
    const Result after = on_device(q, false, precision, TensorCores::mma, spread);
    CHECK(after.grad == before.grad);
    CHECK(after.norm2 == before.norm2);
    CHECK(before.norm2[1] == 0.0);
  }
}

TEST_CASE("on the device, norms do not depend on the batch and no schedule changes a bit") {
  for (const Precision precision : kAll) {
    Problem q(70, 50, {20, 33, 5}, 1, 15, 3);
    const Result first = on_device(q, true, precision);
    for (uint64_t seed = 2; seed <= 33; ++seed) {
      set_schedule(seed, seed % 4 == 0);
      const Result again = on_device(q, true, precision, TensorCores::mma, static_cast<int>(seed % 3));
      CHECK(again.grad == first.grad);
      CHECK(again.kept == first.kept);
      CHECK(again.norm2 == first.norm2);
    }
    reset_schedule();
    // The third example alone.
    Problem alone(70, 50, {5}, 1, 15, 3);
    for (int t = 0; t < 5; ++t) {
      std::copy_n(q.dy[0].cview().row(53 + t), 70, alone.dy[0].view().row(t));
      std::copy_n(q.x[0].cview().row(53 + t), 50, alone.x[0].view().row(t));
    }
    CHECK(on_device(alone, false, precision).norm2[0] == first.norm2[2]);
  }
}

}  // namespace govtrain::test
