// Linear layers on the device for ragged shapes and strides: float32 against the CPU backend at zero bits, tensor cores
// against double on rounded operands. What they move: counts_emulated_test.cpp.
#include "kernels/cuda/gemm.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/backend.h"
#include "tests/cuda/rounding.h"
#include "tests/cuda/support.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {
namespace {

using cuda::Precision;

// A matrix on the host with padded rows and its copy on the device, which is as large as the last element needs.
struct Twin {
  Guarded host;
  DeviceBuffer<float> device;
  Twin(int64_t rows, int64_t cols, int64_t pad, uint64_t seed)
      : host(Guarded(rows, cols, pad).randomise(seed)), device(dense(host.cview())) {}
  static std::vector<float> dense(View v) { return {v.data, v.data + (v.rows - 1) * v.ld + v.cols}; }
  View on_device() const { return {device.get(), host.cview().rows, host.cview().cols, host.cview().ld}; }
  MutView out() { return {device.get(), host.cview().rows, host.cview().cols, host.cview().ld}; }
  void fetch() {
    const auto got = device.host();
    std::copy(got.begin(), got.end(), host.view().data);
  }
  bool same() const {
    const auto got = device.host();
    return same_bits({got.data(), host.cview().rows, host.cview().cols, host.cview().ld}, host.cview());
  }
};

}  // namespace

TEST_CASE("linear layers on the device have the bits of the CPU backend") {
  uint64_t seed = 1;
  for (const auto& [d, p] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {16, 7}, {64, 33}, {100, 72}}) {
    for (const int64_t rows : {1, 77}) {
      for (const int64_t pad : {0, 3}) {
        INFO("d " << d << ", p " << p << ", rows " << rows << ", pad " << pad);
        Twin x(rows, d, pad, seed += 10);
        Twin w(p, d, pad, seed + 1);
        Twin bias(1, p, 0, seed + 2);
        Twin y(rows, p, pad, seed + 3);
        for (const bool with_bias : {false, true}) {
          cuda::linear(x.on_device(), w.on_device(), with_bias ? bias.device.get() : nullptr, y.out(), Precision::fp32,
                       nullptr);
          cpu_backend().linear(x.host.cview(), w.host.cview(), with_bias ? bias.host.span() : std::span<float>(),
                               y.host.view());
          CHECK(y.same());
        }
        for (const bool add : {true, false}) {
          cuda::linear_dx(y.on_device(), w.on_device(), x.out(), add, Precision::fp32, nullptr);
          cpu_backend().linear_dx(y.host.cview(), w.host.cview(), x.host.view(), add);
          CHECK(x.same());
        }
      }
    }
  }
}

namespace {

// sum of a[i] b[i] with operands rounded, in double; and the sum of magnitudes.
struct Dot {
  double sum, magnitude;
};
Dot dot(Precision precision, int64_t n, const std::function<float(int64_t)>& a,
        const std::function<float(int64_t)>& b) {
  Dot d{0.0, 0.0};
  for (int64_t i = 0; i < n; ++i) {
    const double product =
        static_cast<double>(rounded(a(i), precision)) * static_cast<double>(rounded(b(i), precision));
    d.sum += product;
    d.magnitude += std::abs(product);
  }
  return d;
}

// Tensor cores agree within 2 n 2^-23 of the sum of magnitudes (kernels/simt/matrix.h); bias and sum are two more.
void check_chain(float got, const Dot& d, double beside, int64_t n) {
  const double bound = 2.0 * static_cast<double>(n + 2) * 0x1p-23 * (d.magnitude + std::abs(beside));
  CHECK(std::abs(static_cast<double>(got) - (d.sum + beside)) <= bound);
}

}  // namespace

TEST_CASE("linear layers on tensor cores are products of rounded operands") {
  uint64_t seed = 1;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    for (const auto& [d, p] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {16, 7}, {64, 33}, {100, 72}}) {
      for (const int64_t pad : {0, 3}) {
        constexpr int64_t kRows = 77;
        INFO("d " << d << ", p " << p << ", pad " << pad);
        Twin x(kRows, d, pad, seed += 10);
        Twin w(p, d, pad, seed + 1);
        Twin bias(1, p, 0, seed + 2);
        Twin dy(kRows, p, pad, seed + 3);
        Twin dx(kRows, d, pad, seed + 4);
        Twin y(kRows, p, pad, seed + 5);
        const auto at = [](const Twin& m) { return m.host.cview(); };
        cuda::linear(x.on_device(), w.on_device(), bias.device.get(), y.out(), precision, nullptr);
        y.fetch();
        for (int64_t t = 0; t < kRows; ++t) {
          for (int64_t j = 0; j < p; ++j) {
            const Dot sum = dot(
                precision, d, [&](int64_t k) { return at(x).at(t, k); }, [&](int64_t k) { return at(w).at(j, k); });
            check_chain(at(y).at(t, j), sum, static_cast<double>(at(bias).at(0, j)), d);
          }
        }
        const Guarded before = dx.host;
        cuda::linear_dx(dy.on_device(), w.on_device(), dx.out(), true, precision, nullptr);
        dx.fetch();
        for (int64_t t = 0; t < kRows; ++t) {
          for (int64_t j = 0; j < d; ++j) {
            const Dot sum = dot(
                precision, p, [&](int64_t k) { return at(dy).at(t, k); }, [&](int64_t k) { return at(w).at(k, j); });
            check_chain(at(dx).at(t, j), sum, static_cast<double>(before.cview().at(t, j)), p);
          }
        }
      }
    }
  }
}

}  // namespace govtrain::test
