// What the kernels move and multiply, as the emulator counts it: against what they must, for every precision.
#include <algorithm>

#include "kernels/cuda/contract.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/ops.h"
#include "tests/cuda/support.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {
namespace {

using cuda::Precision;

constexpr Precision kAll[] = {Precision::fp32, Precision::tf32, Precision::bf16};

// A dense matrix on the device.
struct OnDevice {
  int64_t rows, cols;
  DeviceBuffer<float> data;
  OnDevice(int64_t r, int64_t c, uint64_t seed) : rows(r), cols(c), data(values(r, c, seed)) {}
  static std::vector<float> values(int64_t r, int64_t c, uint64_t seed) {
    Guarded g(r, c, 0);
    g.randomise(seed);
    return {g.cview().data, g.cview().data + r * c};
  }
  View view() const { return {data.get(), rows, cols, cols}; }
  MutView out() { return {data.get(), rows, cols, cols}; }
};

simt::Counts counted() {
  simt::Counts sum;
  for (const auto& c : simt::take_counts()) sum += c;
  return sum;
}

}  // namespace

TEST_CASE("the routed kernel moves each input once per tile pass and multiplies what plain dW does") {
  const int64_t p = 512;
  const int64_t d = 576;
  const int first = GENERATE(64, 70);
  const int second = 79;
  const int64_t rows = first + second;
  // Fragments are 16 rows deep and belong to one example: an example whose length is no multiple costs up to 15 rows
  // more than in a plain dW, which cuts all rows into fragments without regard to examples.
  const int64_t deep = (first + 15) / 16 * 16 + (second + 15) / 16 * 16;
  const int64_t plain = (rows + 15) / 16 * 16;
  const OnDevice dy(rows, p, 1);
  const OnDevice x(rows, d, 2);
  OnDevice grad(p, d, 3);
  const DeviceBuffer<int32_t> offsets(std::vector<int32_t>{0, first, first + second});
  const DeviceBuffer<float> weight(std::vector<float>{1.0f, 0.5f});
  const DeviceBuffer<double> norm2(std::vector<double>(2, 0.0));
  const DeviceBuffer<double> scratch(static_cast<size_t>(cuda::contract_scratch(p, d, 2)));
  cuda::OuterContraction c;
  c.factors[0].dy = dy.view();
  c.factors[0].x = x.view();
  c.count = 1;
  c.offsets = offsets.get();
  c.examples = 2;
  c.weight = weight.get();
  c.grad = grad.out();
  c.norm2 = norm2.get();
  c.scratch = scratch.get();
  const int64_t tiles = (p / cuda::kContractTile) * (d / cuda::kContractTile);
  const int64_t inputs = tiles * rows * 2 * cuda::kContractTile * 4;
  const int64_t gradient = p * d * 4;
  const int64_t weighting_and_squares = 2 * 2 * p * d;  // of two examples
  for (const Precision precision : kAll) {
    simt::take_counts();
    cuda::contract_outer(c, precision, nullptr);
    const simt::Counts sum = counted();
    const auto ratio =
        static_cast<double>(sum.global_read + sum.global_written) / static_cast<double>(inputs + 2 * gradient);
    CAPTURE(static_cast<int>(precision), sum.global_read, sum.global_written, ratio);
    CHECK(ratio >= 1.0);
    CHECK(ratio <= 1.10);
    CHECK(sum.global_written >= gradient);
    CHECK(sum.global_written <= gradient + gradient / 100);
    if (precision == Precision::fp32) {
      CHECK(sum.mma == 0);
      CHECK(sum.fma == p * d * rows + weighting_and_squares);
    } else {
      CHECK(sum.mma == p * d * deep);
      CHECK(sum.mma <= p * d * (plain + 15));
      if (first % 16 == 0) CHECK(sum.mma == p * d * plain);
      CHECK(sum.fma == weighting_and_squares);
    }
    CHECK(sum.bank_conflicts == 0);
  }
}

TEST_CASE("mma.sync meets at one barrier a step, wmma at two") {
  const OnDevice dy(64, 64, 1);
  const OnDevice x(64, 64, 2);
  OnDevice grad(64, 64, 3);
  const DeviceBuffer<int32_t> offsets(std::vector<int32_t>{0, 64});
  const DeviceBuffer<float> weight(std::vector<float>{1.0f});
  cuda::OuterContraction c;
  c.factors[0].dy = dy.view();
  c.factors[0].x = x.view();
  c.count = 1;
  c.offsets = offsets.get();
  c.examples = 1;
  c.weight = weight.get();
  c.grad = grad.out();
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    const auto barriers = [&](cuda::TensorCores by) {
      simt::take_counts();
      cuda::contract_outer(c, precision, nullptr, by);
      return counted().barriers;
    };
    CHECK(barriers(cuda::TensorCores::mma) == 1 + 4);  // four steps
    CHECK(barriers(cuda::TensorCores::wmma) == 3 + 2 * 4);
  }
}

TEST_CASE("a linear layer on the device reads each operand once per tile pass, without bank conflicts") {
  OnDevice x(128, 128, 1);
  OnDevice w(128, 128, 2);
  OnDevice y(128, 128, 3);
  for (const Precision precision : kAll) {
    simt::take_counts();
    cuda::linear(x.view(), w.view(), nullptr, y.out(), precision, nullptr);
    cuda::linear_dx(y.view(), w.view(), x.out(), false, precision, nullptr);
    const auto counts = simt::take_counts();
    REQUIRE(counts.size() == 2);
    for (const auto& c : counts) {
      INFO(c.kernel << " " << static_cast<int>(precision));
      CHECK(c.global_read == 4 * 2 * 64 * 128 * 4);  // 4 tiles, 2 operands
      CHECK(c.global_written == 128 * 128 * 4);
      CHECK((precision == Precision::fp32 ? c.fma : c.mma) == 128 * 128 * 128);
      CHECK(c.bank_conflicts == 0);
    }
  }
}

TEST_CASE("attention on tensor cores multiplies what the rows of a warp see, and reads a side once per tile of 64") {
  constexpr int kRows = 160;  // three tiles, the last one half full
  constexpr int kTile = cuda::attention_tile(Precision::bf16);
  constexpr int64_t kOther = 32;
  const int width = GENERATE(32, 64, 128);
  const OnDevice q(kRows, width, 1);
  const OnDevice lse(kRows, 1, 2);
  OnDevice out(kRows, width, 3);
  OnDevice sums(kRows, 1, 4);
  OnDevice dq(kRows, width, 5);
  OnDevice dk(kRows, width, 6);
  OnDevice dv(kRows, width, 7);
  const DeviceBuffer<float> delta(kRows);
  const DeviceBuffer<cuda::AttentionTile> tiles(
      std::vector<cuda::AttentionTile>{{0, kRows, 0}, {0, kRows, kTile}, {0, kRows, 2 * kTile}});
  const cuda::AttentionShape shape{tiles.get(), 3, 1, 1, width, 0.1f};
  // Tiles of 16 x 32 that are not all masked, queries by keys and keys by queries; rows that a tile walks over.
  int64_t by_query = 0;
  int64_t by_key = 0;
  for (int64_t r = 0; r < kRows; r += 16) {
    by_query += (r + 15) / kOther + 1;
    by_key += kRows / kOther - r / kOther;
  }
  int64_t keys_read = 0;
  int64_t queries_read = 0;
  for (int64_t first = 0; first < kRows; first += kTile) {
    keys_read += std::min<int64_t>(first + kTile, kRows);
    queries_read += kRows - first;
  }
  const auto near = [](int64_t bytes, int64_t least) {
    CHECK(bytes >= least);
    CHECK(static_cast<double>(bytes) <= 1.10 * static_cast<double>(least));
  };
  const int64_t row = int64_t{width} * 4;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    CAPTURE(width, static_cast<int>(precision));
    simt::take_counts();
    cuda::attention(q.view(), q.view(), q.view(), shape, out.out(), sums.out(), precision, nullptr);
    cuda::attention_backward(q.view(), q.view(), q.view(), q.view(), lse.view(), q.view(), shape, delta.get(), dq.out(),
                             dk.out(), dv.out(), precision, nullptr);
    const auto counts = simt::take_counts();
    REQUIRE(counts.size() == 4);  // delta is the second
    const int64_t product = 16 * kOther * width;
    CHECK(counts[0].mma == 2 * by_query * product);
    CHECK(counts[2].mma == 3 * by_query * product);
    CHECK(counts[3].mma == 4 * by_key * product);
    near(counts[0].global_read, (kRows + 2 * keys_read) * row);
    near(counts[0].global_written, kRows * (row + 4));
    near(counts[2].global_read, (2 * kRows + 2 * keys_read) * row + kRows * 8);
    near(counts[2].global_written, kRows * row);
    near(counts[3].global_read, (2 * kRows + 2 * queries_read) * row + queries_read * 8);
    near(counts[3].global_written, 2 * kRows * row);
    for (const auto& c : counts) CHECK(c.bank_conflicts == 0);
  }
}

TEST_CASE("gains read each row once, and attention keeps one product of out and dout for each head and row") {
  constexpr int kRows = 64;  // of an example
  constexpr int64_t d = 192;
  const OnDevice dy(2 * kRows, d, 1);
  const OnDevice x(2 * kRows, d, 2);
  const DeviceBuffer<float> rstd(std::vector<float>(2 * kRows, 1.0f));
  const DeviceBuffer<float> grad(std::vector<float>(d, 0.0f));
  const DeviceBuffer<int32_t> offsets(std::vector<int32_t>{0, kRows, 2 * kRows});
  const DeviceBuffer<float> weight(std::vector<float>{1.0f, 0.5f});
  const DeviceBuffer<double> norm2(std::vector<double>(2, 0.0));
  const DeviceBuffer<double> scratch(static_cast<size_t>(cuda::contract_vector_scratch(d, 2)));
  cuda::VectorContraction c;
  c.factors[0] = {dy.view(), x.view(), nullptr, rstd.get()};
  c.count = 1;
  c.offsets = offsets.get();
  c.examples = 2;
  c.weight = weight.get();
  c.grad = grad.get();
  c.columns = d;
  c.norm2 = norm2.get();
  c.scratch = scratch.get();
  simt::take_counts();
  cuda::contract_vector(c, nullptr);
  // A sector of rstd comes with a sector of dy and one of x.
  CHECK(counted().global_read <= 1.6 * 2 * 2 * kRows * d * 4);

  constexpr int kHeads = 3;
  const DeviceBuffer<cuda::AttentionTile> tiles(std::vector<cuda::AttentionTile>{{0, kRows, 0}, {0, kRows, 32}});
  const cuda::AttentionShape shape{tiles.get(), 2, kHeads, kHeads, 64, 0.125f};
  const OnDevice q(kRows, d, 3);
  OnDevice dq(kRows, d, 4);
  OnDevice dk(kRows, d, 5);
  OnDevice dv(kRows, d, 6);
  const OnDevice lse(kRows, kHeads, 7);
  const DeviceBuffer<float> delta(static_cast<size_t>(kRows) * kHeads);
  simt::take_counts();
  cuda::attention_backward(q.view(), q.view(), q.view(), q.view(), lse.view(), q.view(), shape, delta.get(), dq.out(),
                           dk.out(), dv.out(), Precision::fp32, nullptr);
  int64_t bytes = 0;
  for (const auto& launch : simt::take_counts()) {
    if (launch.kernel == "attention_delta") bytes += launch.global_read + launch.global_written;
  }
  CHECK(bytes >= (2 * d + kHeads) * kRows * 4);
  CHECK(bytes <= 1.10 * (2 * d + kHeads) * kRows * 4);
}

}  // namespace govtrain::test
