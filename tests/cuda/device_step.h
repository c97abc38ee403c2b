// Training steps below the program, on either backend, as the trainer makes them; for tests of what surrounds kernels.
#pragma once

#include <functional>

#include "autograd/optimizer.h"
#include "kernels/cuda/backend.h"
#include "tests/models/random_model.h"

namespace govtrain::test {

// The case's model with the same values in a backend's memory.
inline std::unique_ptr<Transformer> model_on(Backend& k, const Case& c) {
  const auto host = make_model(c);
  auto model = std::make_unique<Transformer>(c.config, c.seed, k.allocator());
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    model->parameters()[i].value().assign(host->parameters()[i].value().values());
  }
  model->parameters().assign_blocks(c.blocks);
  model->set_techniques(parse_techniques(c.techniques));
  return model;
}

// A random case whose blocks are the layers.
inline Case layered_case(uint64_t seed) {
  Case c = random_case(seed);
  c.blocks = blocks_by_layer(Transformer::parameter_infos(c.config));
  for (Example& x : c.examples) x.weight.resize(static_cast<size_t>(c.blocks.blocks()), 1.0f);
  return c;
}

class DeviceSteps {
 public:
  std::vector<double> nll, norms;
  std::vector<BlockClip> clips;
  std::vector<bool> stepped;

  enum class After { gradients, arrival, update };
  DeviceSteps(Backend& k, const Case& c) : k_(&k), model_(model_on(k, c)), optimizer_(model_->parameters(), k, {}) {}

  // `at` is called when the gradients are queued, when norms and losses have arrived, and when the update is queued.
  void step(const std::vector<Example>& examples, uint64_t number, const std::function<void(After)>& at = {}) {
    ParameterSet& set = model_->parameters();
    const Batch batch(examples, set.blocks());
    ParamGrad grads(set, *k_, batch.rows, batch.route, {true, false, model_->gates()});
    const ParamGrad known = grads;
    Tape tape(*k_, batch.rows, Mode::train, {42, number, batch.ids}, &known);
    const Losses losses = model_->loss(tape, {batch.tokens, {}}, batch.target);
    tape.backward(losses, std::vector<float>(examples.size(), 1.0f / 64), grads);
    const auto norms_of = grads.realised_norms_later();
    k_->submit();
    if (at) at(After::gradients);
    clips = clip_blocks(set, *k_, 0.05);
    nll = losses.nll();
    norms = norms_of();
    if (at) at(After::arrival);
    stepped = optimizer_.step(0.01);
    zero_grad(set, *k_);
    k_->submit();
    if (at) at(After::update);
  }
  Bits values() const {
    Bits out;
    for (size_t i = 0; i < model_->parameters().size(); ++i) {
      const Tensor v = model_->parameters()[i].value().host();
      out.emplace_back(v.data(), v.data() + v.size());
    }
    return out;
  }

 private:
  Backend* k_;
  std::unique_ptr<Transformer> model_;
  Optimizer optimizer_;
};

}  // namespace govtrain::test
