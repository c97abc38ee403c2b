// A whole training step on the emulated device, below the program: how often it launches and how often the host waits,
// and that the results that come back without a wait are those of the CPU backend.
#include "autograd/optimizer.h"
#include "kernels/cuda/backend.h"
#include "kernels/simt/runtime.h"
#include "tests/models/random_model.h"

namespace govtrain::test {
namespace {

// The case's model with the same values on a backend's memory.
std::unique_ptr<Transformer> model_on(Backend& k, const Case& c) {
  const auto host = make_model(c);
  auto model = std::make_unique<Transformer>(c.config, c.seed, k.allocator());
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    model->parameters()[i].value().assign(host->parameters()[i].value().values());
  }
  model->parameters().assign_blocks(c.blocks);
  model->set_techniques(parse_techniques(c.techniques));
  return model;
}

struct After {
  std::vector<double> nll, norms;
  std::vector<BlockClip> clips;
  std::vector<bool> stepped;
  Bits values;
  int64_t waits = 0;                    // of the last step
  std::map<std::string, int> launches;  // of the last step's end: clip, update, clearing
};

// What the trainer does.
After steps(Backend& k, const Case& c, int count) {
  const auto model = model_on(k, c);
  Optimizer optimizer(model->parameters(), k, {});
  After after;
  for (int step = 0; step < count; ++step) {
    const Batch batch(c.examples, c.blocks.blocks());
    simt::take_waits();
    zero_grad(model->parameters(), k);
    ParamGrad grads(model->parameters(), k, batch.rows, batch.route, {true, false, model->gates()});
    const ParamGrad known = grads;
    Tape tape(k, batch.rows, Mode::train, {42, static_cast<uint64_t>(step), batch.ids}, &known);
    const Losses losses = model->loss(tape, {batch.tokens, {}}, batch.target);
    tape.backward(losses, std::vector<float>(c.examples.size(), 1.0f / 64), grads);
    const auto norms = grads.realised_norms_later();
    CHECK(simt::take_waits() == 0);
    simt::take_counts();
    after.clips = clip_blocks(model->parameters(), k, 0.05);
    after.nll = losses.nll();
    after.norms = norms();
    after.waits = simt::take_waits();
    after.stepped = optimizer.step(0.01);
    zero_grad(model->parameters(), k);
    CHECK(simt::take_waits() == 0);
    after.launches.clear();
    for (const auto& launch : simt::take_counts()) ++after.launches[launch.kernel];
  }
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    const Tensor v = model->parameters()[i].value().host();
    after.values.emplace_back(v.data(), v.data() + v.size());
  }
  return after;
}

}  // namespace

TEST_CASE("a step on the device waits once, and clips, updates and clears in five launches") {
  simt::settings().observe = false;
  for (const uint64_t seed : {3, 4, 5, 6}) {
    Case c = random_case(seed);
    c.blocks = blocks_by_layer(Transformer::parameter_infos(c.config));
    for (Example& x : c.examples) x.weight.resize(static_cast<size_t>(c.blocks.blocks()), 1.0f);
    INFO(describe(c));
    const After host = steps(cpu_backend(), c, 2);
    const After device = steps(cuda_backend(), c, 2);
    CHECK(device.waits == 1);
    const bool scaled =
        std::any_of(device.clips.begin(), device.clips.end(), [](const BlockClip& b) { return b.factor != 1.0f; });
    std::map<std::string, int> expected = {{"squares", 1}, {"add_groups", 1}, {"adam", 1}, {"fill", 1}};
    if (scaled) expected["scale"] = 1;
    const bool any = std::find(device.stepped.begin(), device.stepped.end(), true) != device.stepped.end();
    if (any) CHECK(device.launches == expected);
    CHECK(device.stepped == host.stepped);
    for (size_t e = 0; e < host.nll.size(); ++e) CHECK(device.nll[e] == Approx(host.nll[e]).epsilon(1e-4));
    for (size_t j = 0; j < host.norms.size(); ++j) CHECK(device.norms[j] == Approx(host.norms[j]).epsilon(1e-3));
  }
  simt::settings() = {};
}

}  // namespace govtrain::test
