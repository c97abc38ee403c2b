// One whole step of a random case and all that it leaves behind, for tests of the laws. Zero bits of tolerance are the
// caller's business; so is what the step must equal.
#pragma once

#include "tests/models/random_model.h"

namespace govtrain::test {

inline constexpr float coefficient = 1.0f / 64;  // the fixed loss denominator of these tests

inline OptimizerOptions random_optimizer(uint64_t seed) {
  Random r(seed);
  OptimizerOptions o;
  o.kind = r.one_of({OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw});
  o.momentum = r.one_of({0.0f, 0.9f});
  o.weight_decay = r.one_of({0.0f, 0.1f});
  o.decay_vectors = r.coin();
  return o;
}

struct Step {
  Outcome outcome;
  Bits start, grads, values;  // start: the values before the step
  std::vector<Bits> moments;  // each kind of buffer of the optimizer
  std::vector<BlockClip> clips;
  std::vector<bool> stepped;
};

// Buffers by kind; a kind has one for every parameter.
inline std::vector<Bits> moments(const Optimizer& optimizer) {
  std::vector<std::string> kinds;
  std::vector<Bits> out;
  for (const OptimizerState::Buffer& b : optimizer.export_state().buffers) {
    const std::string kind = b.name.substr(b.name.rfind('.'));
    const auto at = static_cast<size_t>(std::find(kinds.begin(), kinds.end(), kind) - kinds.begin());
    if (at == kinds.size()) {
      kinds.push_back(kind);
      out.emplace_back();
    }
    out[at].emplace_back(b.value.data(), b.value.data() + b.value.size());
  }
  return out;
}

// One step with `examples`, after one with `first`, so that moments and momentum are not 0. With How::withheld an inert
// optimizer takes what is withheld, as in quarantine. `prepare` may change the fresh model.
template <class Prepare>
Step run_step(const Case& c, const std::vector<Example>& first, const std::vector<Example>& examples, float k, How how,
              Prepare prepare) {
  const auto model = make_model(c);
  prepare(*model);
  Optimizer optimizer(model->parameters(), test_backend(), random_optimizer(c.seed));
  Optimizer inert(model->parameters(), test_backend(), random_optimizer(c.seed + 1), Drives::displacement);
  const auto keep_withheld = [&] {
    if (how != How::withheld) return;
    clip_withheld(model->parameters(), test_backend(), 0.05);
    inert.step(0.01);
    zero_withheld(model->parameters(), test_backend());
  };
  accumulate(*model, first, coefficient, how, 2);
  clip_blocks(model->parameters(), test_backend(), 0.05);
  keep_withheld();
  optimizer.step(0.01);
  zero_grad(model->parameters(), test_backend());

  Step s;
  s.start = values(*model);
  s.outcome = accumulate(*model, examples, k, how);
  s.clips = clip_blocks(model->parameters(), test_backend(), 0.05);
  s.grads = gradients(*model);
  keep_withheld();
  s.stepped = optimizer.step(0.01);
  s.values = values(*model);
  s.moments = moments(optimizer);
  return s;
}

inline Step run_step(const Case& c, const std::vector<Example>& first, const std::vector<Example>& examples,
                     float k = coefficient, How how = How::routed) {
  return run_step(c, first, examples, k, how, [](Transformer&) {});
}

}  // namespace govtrain::test
