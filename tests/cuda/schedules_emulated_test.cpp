// Law 8 on the emulated device: a whole step of a random model (forward, backward, contraction, clipping, optimizer)
// has the same bits whatever the order of blocks and threads. Two whole steps, so that moments are not 0.
#include "kernels/simt/simt.h"
#include "tests/models/random_step.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

constexpr uint64_t schedules = 32;

bool same_step(const Step& a, const Step& b) {
  bool same = same_bits(a.outcome.nll, b.outcome.nll) && same_bits(a.outcome.norms, b.outcome.norms) &&
              same_bits(a.outcome.rows, b.outcome.rows) && same_bits(a.grads, b.grads) &&
              same_bits(a.values, b.values) && a.moments.size() == b.moments.size() && a.stepped == b.stepped;
  for (size_t i = 0; same && i < a.moments.size(); ++i) same = same_bits(a.moments[i], b.moments[i]);
  for (size_t i = 0; same && i < a.clips.size(); ++i) same = a.clips[i].norm == b.clips[i].norm;
  return same;
}

// The steps of a case under the schedule of this seed.
Step under(uint64_t schedule, bool observe, const Case& c, How how) {
  const simt::Settings before = simt::settings();
  simt::settings() = {observe, schedule};
  const Step step = run_step(c, c.examples, c.examples, coefficient, how);
  simt::settings() = before;
  return step;
}

}  // namespace

TEST_CASE("law 8 on the device: 32 random schedules of blocks and warps give the same bits", "[slow]") {
  const OnBackend on(GENERATE("cuda", "cuda tf32", "cuda bf16"));
  for (const uint64_t seed : {3, 8}) {
    const Case c = random_case(seed);
    const Step want = under(0, false, c, How::withheld);
    for (uint64_t schedule = 1; schedule <= schedules; ++schedule) {
      INFO(describe(c) << ", schedule " << schedule);
      CHECK(same_step(want, under(schedule * 0x9E3779B97F4A7C15u, false, c, How::withheld)));
    }
    INFO(describe(c) << ", observed");
    CHECK(same_step(want, under(99, true, c, How::withheld)));
  }
}
