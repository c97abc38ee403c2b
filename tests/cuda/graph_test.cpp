// Steps as CUDA graphs: the same bits with and without them whatever changes between steps, and graphs where the same
// launches come again.
#include "tests/cuda/device_step.h"
#include "tests/cuda/support.h"

namespace govtrain::test {
namespace {

struct Outcomes {
  std::vector<std::vector<double>> nll, norms;  // by step
  std::vector<Bits> values;
  std::vector<CudaWork> work;
};

Outcomes run(const Case& c, const std::vector<std::vector<Example>>& steps, bool graphs) {
  use_cuda_graphs(graphs);
  DeviceSteps device(cuda_backend(), c);
  Outcomes out;
  take_cuda_work();
  for (uint64_t n = 0; n < steps.size(); ++n) {
    device.step(steps[n], n);
    out.work.push_back(take_cuda_work());
    out.nll.push_back(device.nll);
    out.norms.push_back(device.norms);
    out.values.push_back(device.values());
  }
  use_cuda_graphs(true);
  return out;
}

// Examples of the same lengths with other tokens, targets, identities and weights: zeros stay where they are.
std::vector<Example> reworded(const Case& c, uint64_t seed) {
  Random r(seed);
  std::vector<Example> out = c.examples;
  for (Example& x : out) {
    random_text(r, c.config, x, static_cast<int>(x.tokens.size()));
    x.id = seed * 100 + static_cast<uint64_t>(r.below(100));
    for (float& w : x.weight) w = w == 0.0f ? 0.0f : r.one_of({0.25f, 0.5f, 1.0f, 2.0f});
  }
  return out;
}

}  // namespace

TEST_CASE("steps have the same bits with CUDA graphs and without, and steps of the same lengths become graphs") {
  for (const bool observe : {false, true}) {
    set_schedule(1, observe);
    Case c = layered_case(observe ? 12 : 11);
    c.config.dropout = 0.2;
    INFO(describe(c));
    std::vector<std::vector<Example>> steps;
    const auto other_lengths = [&] {
      steps.push_back(reworded(c, steps.size()));
      steps.back().pop_back();
    };
    for (int n = 0; n < 4; ++n) steps.push_back(reworded(c, steps.size()));
    if (!observe) {
      other_lengths();
      for (int n = 0; n < 3; ++n) steps.push_back(reworded(c, steps.size()));
      other_lengths();
      steps.push_back(reworded(c, steps.size()));
    }
    const Outcomes with = run(c, steps, true), without = run(c, steps, false);
    CHECK(with.nll == without.nll);
    CHECK(with.norms == without.norms);
    for (size_t n = 0; n < steps.size(); ++n) CHECK(same_bits(with.values[n], without.values[n]));
    for (const CudaWork& w : without.work) CHECK(w.graphs == 0);
    CHECK(with.work[0].graphs == 0);
    // The third step finds the addresses of the second, is captured, and is replayed from then on. Other lengths take
    // more memory, once; when all have theirs, each finds its graphs again.
    for (const size_t n : observe ? std::vector<size_t>{3} : std::vector<size_t>{3, 7, 9}) {
      INFO("step " << n << ": " << with.work[n].in_graphs << " in " << with.work[n].graphs << " graphs, "
                   << with.work[n].single << " single, " << with.work[n].captures << " captured");
      CHECK(with.work[n].captures == 0);
      CHECK(with.work[n].in_graphs > 20 * with.work[n].single);
    }
    if (!observe) CHECK(with.work[4].single > with.work[4].in_graphs);
  }
  reset_schedule();
}

TEST_CASE("what differs in one argument is not replayed") {
  Backend& k = cuda_backend();
  const Tensor x = Tensor::zeros(1, 40, k.allocator()), y = Tensor::zeros(1, 40, k.allocator());
  const auto go = [&](View from, MutView to) {
    for (int i = 0; i < 4; ++i) k.accumulate(from, to);
    k.submit();
    return take_cuda_work();
  };
  k.fill({x.data(), 40}, 1.0f);
  k.submit();
  take_cuda_work();
  CHECK(go(x.cview(), y.view()).single == 4);
  CHECK(go(x.cview(), y.view()).captures == 1);
  const CudaWork third = go(x.cview(), y.view());
  CHECK(third.graphs == 1);
  CHECK(third.in_graphs == 4);
  CHECK(third.single == 0);
  CHECK(go(x.cview().block(0, 1, 0, 39), y.view().block(0, 1, 0, 39)).graphs == 0);
  CHECK(y.host().values()[38] == 16.0f);
  CHECK(y.host().values()[39] == 12.0f);
}

}  // namespace govtrain::test
