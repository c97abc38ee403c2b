// Routed gains and biases on the device: gradients with the bits of the CPU backend, norms of the same sums.
#include <cmath>
#include <deque>

#include "kernels/backend.h"
#include "kernels/cuda/contract.h"
#include "tests/cuda/support.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {
namespace {

using Kind = Factor::Kind;

std::vector<float> values(int64_t rows, int64_t cols, uint64_t seed) {
  Guarded g(rows, cols, 0);
  g.randomise(seed);
  return {g.cview().data, g.cview().data + rows * cols};
}

void check(const std::vector<Kind>& kinds, int64_t d, bool with_withheld) {
  const Rows rows = Rows::of_lengths({31, 2, 40, 1, 17});
  const std::vector<float> weight = {1.0f, 0.0f, -0.5f, 2.0f, 0.25f};
  const std::vector<float> withheld = {0.0f, 1.0f, 0.0f, 0.0f, 0.75f};
  std::deque<std::vector<float>> host;
  std::deque<DeviceBuffer<float>> device;
  const auto both = [&](int64_t r, int64_t c, uint64_t seed) {
    host.push_back(values(r, c, seed));
    device.emplace_back(host.back());
  };
  std::vector<Factor> factors;
  cuda::VectorContraction c;
  for (size_t f = 0; f < kinds.size(); ++f) {
    both(rows.total(), d, 10 * f + 1);
    Factor one;
    one.kind = kinds[f];
    one.dy = {host.back().data(), rows.total(), d};
    c.factors[f].dy = {device.back().get(), rows.total(), d};
    if (kinds[f] == Kind::gain) {
      both(rows.total(), d, 10 * f + 2);
      one.x = {host.back().data(), rows.total(), d};
      c.factors[f].x = {device.back().get(), rows.total(), d};
      both(1, rows.total(), 10 * f + 3);
      one.rstd = host.back().data();
      c.factors[f].rstd = device.back().get();
      if (f % 2 == 0) {
        both(1, rows.total(), 10 * f + 4);
        one.mean = host.back().data();
        c.factors[f].mean = device.back().get();
      }
    }
    factors.push_back(one);
  }
  auto grad = values(1, d, 77);
  auto kept = values(1, d, 78);
  const DeviceBuffer<float> device_grad(grad);
  const DeviceBuffer<float> device_kept(kept);
  const DeviceBuffer<float> device_weight(weight);
  const DeviceBuffer<float> device_withheld(withheld);
  const DeviceBuffer<int32_t> offsets(rows.offsets());
  std::vector<double> norm2(weight.size(), 0.5);
  const DeviceBuffer<double> device_norm2(norm2);
  const DeviceBuffer<double> scratch(static_cast<size_t>(cuda::contract_vector_scratch(d, rows.examples())));
  c.count = static_cast<int>(kinds.size());
  c.offsets = offsets.get();
  c.examples = rows.examples();
  c.weight = device_weight.get();
  c.grad = device_grad.get();
  c.columns = d;
  c.norm2 = device_norm2.get();
  c.scratch = scratch.get();
  Contraction how;
  how.weight = weight;
  how.norm2 = norm2;
  if (with_withheld) {
    c.withheld = device_withheld.get();
    c.withheld_grad = device_kept.get();
    how.withheld = withheld;
    how.withheld_grad = {kept.data(), 1, d};
  }
  cuda::contract_vector(c, nullptr);
  cpu_backend().contract(factors, rows, how, {grad.data(), 1, d});
  CHECK(device_grad.host() == grad);
  CHECK(device_kept.host() == kept);
  const auto got = device_norm2.host();
  // The sums are the same; the CPU adds their squares in float32, at most 200 of them: far below 1e-5.
  for (size_t e = 0; e < norm2.size(); ++e) CHECK(std::abs(got[e] - norm2[e]) <= 1e-5 * norm2[e]);
  CHECK(got[1] == 0.5);
}

}  // namespace

TEST_CASE("routed gains and biases on the device have the bits of the CPU backend") {
  for (const int64_t d : {1, 31, 128, 200}) {
    for (const bool withheld : {false, true}) {
      INFO("d " << d);
      check({Kind::bias}, d, withheld);
      check({Kind::gain}, d, withheld);
      check({Kind::gain, Kind::bias, Kind::gain}, d, withheld);
    }
  }
}

}  // namespace govtrain::test
