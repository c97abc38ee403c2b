// Linear layers on the device against the CPU backend at zero bits, for ragged shapes and strides.
#include "kernels/cuda/gemm.h"

#include "kernels/backend.h"
#include "tests/cuda/support.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {
namespace {

// A matrix on the host with padded rows and its copy on the device, which is as large as the last element needs.
struct Twin {
  Guarded host;
  DeviceBuffer<float> device;
  Twin(int64_t rows, int64_t cols, int64_t pad, uint64_t seed)
      : host(Guarded(rows, cols, pad).randomise(seed)), device(dense(host.cview())) {}
  static std::vector<float> dense(View v) { return {v.data, v.data + (v.rows - 1) * v.ld + v.cols}; }
  View on_device() const { return {device.get(), host.cview().rows, host.cview().cols, host.cview().ld}; }
  MutView out() { return {device.get(), host.cview().rows, host.cview().cols, host.cview().ld}; }
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
          cuda::linear(x.on_device(), w.on_device(), with_bias ? bias.device.get() : nullptr, y.out(), nullptr);
          cpu_backend().linear(x.host.cview(), w.host.cview(), with_bias ? bias.host.span() : std::span<float>(),
                               y.host.view());
          CHECK(y.same());
        }
        for (const bool add : {true, false}) {
          cuda::linear_dx(y.on_device(), w.on_device(), x.out(), add, nullptr);
          cpu_backend().linear_dx(y.host.cview(), w.host.cview(), x.host.view(), add);
          CHECK(x.same());
        }
      }
    }
  }
}

}  // namespace govtrain::test
