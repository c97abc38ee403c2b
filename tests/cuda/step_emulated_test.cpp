// A whole training step on the emulated device: how often it launches and how often the host waits, and that the
// results that come back without a wait are those of the CPU backend.
#include <map>

#include "kernels/simt/runtime.h"
#include "tests/cuda/device_step.h"
#include "tests/cuda/support.h"

namespace govtrain::test {

TEST_CASE("a step on the device waits once, and clips, updates and clears in five launches") {
  set_schedule(1, false);
  for (const uint64_t seed : {3, 4}) {
    const Case c = layered_case(seed);
    INFO(describe(c));
    DeviceSteps host(cpu_backend(), c), device(cuda_backend(), c);
    host.step(c.examples, 0);
    simt::take_waits();
    device.step(c.examples, 0, [](DeviceSteps::After after) {
      CHECK(simt::take_waits() == (after == DeviceSteps::After::arrival ? 1 : 0));
      if (after == DeviceSteps::After::gradients) simt::take_counts();
    });
    std::map<std::string, int> launches;
    for (const auto& launch : simt::take_counts()) ++launches[launch.kernel];
    const bool scaled =
        std::any_of(device.clips.begin(), device.clips.end(), [](const BlockClip& b) { return b.factor != 1.0f; });
    std::map<std::string, int> expected = {{"squares", 1}, {"add_groups", 1}, {"adam", 1}, {"fill", 1}};
    if (scaled) expected["scale"] = 1;
    CHECK(std::find(device.stepped.begin(), device.stepped.end(), true) != device.stepped.end());
    CHECK(launches == expected);
    CHECK(device.stepped == host.stepped);
    for (size_t e = 0; e < host.nll.size(); ++e) CHECK(device.nll[e] == Approx(host.nll[e]).epsilon(1e-4));
    for (size_t j = 0; j < host.norms.size(); ++j) CHECK(device.norms[j] == Approx(host.norms[j]).epsilon(1e-3));
  }
  reset_schedule();
}

}  // namespace govtrain::test
