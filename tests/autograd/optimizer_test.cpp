// Optimizers: the published rules in double, per-slice clocks, untouched blocks, resumption; schedules.
#include "autograd/optimizer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "autograd/param_grad.h"
#include "core/error.h"

using namespace govtrain;

namespace {

// A matrix of two blocks (left and right columns) and a vector in the second.
struct Model {
  ParameterSet set;
  Parameter *w, *b;
  Rows rows = Rows::of_lengths({2});

  Model() {
    w = &set.add_matrix("w", "mlp", 0, 3, 4);
    b = &set.add_vector("b", "mlp", 0, 3);
    set.assign_blocks({{"left", "right"}, {{0, 0, 0, 3, 0, 2}, {0, 1, 0, 3, 2, 4}, {1, 1, 0, 1, 0, 3}}});
    for (int64_t j = 0; j < 12; ++j) w->value().data()[j] = 0.1f * static_cast<float>(j) - 0.5f;
    for (int64_t j = 0; j < 3; ++j) b->value().data()[j] = 1.0f + static_cast<float>(j);
  }
  // The gradients of step n, with the weight of each block.
  void gradients(int n, float left, float right) {
    zero_grad(set, cpu_backend());
    std::mt19937_64 engine(static_cast<uint64_t>(n));
    Tensor dy(2, 3), x(2, 4);
    for (int64_t j = 0; j < 6; ++j) dy.data()[j] = static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f;
    for (int64_t j = 0; j < 8; ++j) x.data()[j] = static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f;
    RouteTable route(1, 2, left);
    route.at(0, 1) = right;
    ParamGrad grads(set, cpu_backend(), rows, route);
    Factor outer;
    outer.kind = Factor::Kind::outer;
    outer.dy = dy.cview();
    outer.x = x.cview();
    Factor bias;
    bias.kind = Factor::Kind::bias;
    bias.dy = dy.cview();
    grads.expect(*w);
    grads.expect(*b);
    grads.add(*w, outer, {dy, x});
    grads.add(*b, bias, {dy});
  }
  std::vector<float> values() const {
    std::vector<float> out(w->value().data(), w->value().data() + 12);
    out.insert(out.end(), b->value().data(), b->value().data() + 3);
    return out;
  }
  std::vector<float> all_grads() const {
    std::vector<float> out(w->grad().data(), w->grad().data() + 12);
    out.insert(out.end(), b->grad().data(), b->grad().data() + 3);
    return out;
  }
};

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

std::vector<OptimizerOptions> all_options() {
  std::vector<OptimizerOptions> out;
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
    for (const float decay : {0.0f, 0.1f}) {
      OptimizerOptions o;
      o.kind = kind;
      o.weight_decay = decay;
      out.push_back(o);
      o.decay_vectors = true;
      out.push_back(o);
      if (kind != OptimizerKind::sgd) continue;
      o.momentum = 0.9f;
      out.push_back(o);
      o.dampening = 0.3f;
      out.push_back(o);
      o.dampening = 0;
      o.nesterov = true;
      out.push_back(o);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("every optimizer follows its published rule") {
  for (const OptimizerOptions& o : all_options()) {
    Model model;
    Optimizer optimizer(model.set, cpu_backend(), o);
    std::vector<double> x, m(15, 0.0), v(15, 0.0);
    for (const float value : model.values()) x.push_back(static_cast<double>(value));
    for (int t = 1; t <= 30; ++t) {
      model.gradients(t, 1, 0.5f);
      const double lr = 0.01 / t;
      const std::vector<float> grads = model.all_grads();
      optimizer.step(lr);
      for (size_t j = 0; j < 15; ++j) {
        double g = static_cast<double>(grads[j]);
        const double decay = j < 12 || o.decay_vectors ? static_cast<double>(o.weight_decay) : 0.0;
        if (o.kind == OptimizerKind::adamw) {
          x[j] -= lr * decay * x[j];
        } else {
          g += decay * x[j];
        }
        if (o.kind == OptimizerKind::sgd) {
          const double momentum = static_cast<double>(o.momentum);
          m[j] = t == 1 ? g : momentum * m[j] + (1 - static_cast<double>(o.dampening)) * g;
          if (momentum == 0) m[j] = g;
          x[j] -= lr * (o.nesterov ? g + momentum * m[j] : m[j]);
        } else {
          const double beta1 = static_cast<double>(o.beta1), beta2 = static_cast<double>(o.beta2);
          m[j] = beta1 * m[j] + (1 - beta1) * g;
          v[j] = beta2 * v[j] + (1 - beta2) * g * g;
          x[j] -= lr * (m[j] / (1 - std::pow(beta1, t))) /
                  (std::sqrt(v[j] / (1 - std::pow(beta2, t))) + static_cast<double>(o.eps));
        }
      }
    }
    INFO("kind " << static_cast<int>(o.kind) << ", momentum " << o.momentum << ", decay " << o.weight_decay);
    const std::vector<float> got = model.values();
    for (size_t j = 0; j < 15; ++j) CHECK(std::abs(static_cast<double>(got[j]) - x[j]) < 3e-6);
  }
}

TEST_CASE("a block that is not touched keeps its values and its clock; another one's steps do not move it") {
  for (OptimizerOptions o : all_options()) {
    Model model;
    Optimizer optimizer(model.set, cpu_backend(), o);
    model.gradients(1, 1, 1);
    CHECK(optimizer.step(0.01) == std::vector<bool>{true, true});
    const std::vector<float> before = model.values();
    for (int t = 2; t < 5; ++t) {
      model.gradients(t, 1, 0);
      CHECK(optimizer.step(0.01) == std::vector<bool>{true, false});
    }
    const std::vector<float> after = model.values();
    for (size_t j = 0; j < 15; ++j) CHECK((after[j] == before[j]) == (j >= 12 || j % 4 >= 2));
    CHECK(optimizer.export_state().clocks[0].steps == std::vector<int64_t>{4, 1});
    CHECK(optimizer.export_state().clocks[1].steps == std::vector<int64_t>{1});

    // What the right block does next is what it would have done had the steps between not been.
    Model twin;
    Optimizer other(twin.set, cpu_backend(), o);
    twin.gradients(1, 1, 1);
    other.step(0.01);
    twin.gradients(9, 1, 1);
    other.step(0.01);
    model.gradients(9, 1, 1);
    optimizer.step(0.01);
    const std::vector<float> a = model.values(), b = twin.values();
    for (size_t j = 0; j < 15; ++j) {
      if (j >= 12 || j % 4 >= 2) CHECK(a[j] == b[j]);
    }
  }
}

TEST_CASE("untouched: step moves a block by its momentum and its decay alone") {
  OptimizerOptions o;
  o.weight_decay = 0.1f;
  o.untouched = Untouched::step;
  Model model;
  Optimizer optimizer(model.set, cpu_backend(), o);
  const std::vector<float> start = model.values();
  CHECK(optimizer.step(0.01) == std::vector<bool>{true, true});  // before any gradient: decay alone
  for (size_t j = 0; j < 15; ++j) CHECK(model.values()[j] == Approx(j < 12 ? 0.999f * start[j] : start[j]));
  model.gradients(1, 1, 1);
  optimizer.step(0.01);
  const std::vector<float> before = model.values();
  model.gradients(2, 1, 0);
  CHECK(optimizer.step(0.01) == std::vector<bool>{true, true});
  CHECK(model.values()[2] != before[2]);
  CHECK(model.values()[14] != before[14]);
}

TEST_CASE("training resumed from saved state has the bits of training that went on") {
  for (const OptimizerOptions& o : all_options()) {
    Model through;
    Optimizer whole(through.set, cpu_backend(), o);
    for (int t = 1; t <= 6; ++t) {
      through.gradients(t, 1, t % 2 == 0 ? 0.5f : 0.0f);
      whole.step(0.01);
    }
    Model first;
    Optimizer before(first.set, cpu_backend(), o);
    for (int t = 1; t <= 3; ++t) {
      first.gradients(t, 1, t % 2 == 0 ? 0.5f : 0.0f);
      before.step(0.01);
    }
    Model second;
    for (size_t i = 0; i < second.set.size(); ++i) {
      std::copy_n(first.set[i].value().data(), first.set[i].value().size(), second.set[i].value().data());
    }
    Optimizer resumed(second.set, cpu_backend(), o);
    resumed.import_state(before.export_state());
    for (int t = 4; t <= 6; ++t) {
      second.gradients(t, 1, t % 2 == 0 ? 0.5f : 0.0f);
      resumed.step(0.01);
    }
    CHECK(same(through.values(), second.values()));
    const OptimizerState a = whole.export_state(), b = resumed.export_state();
    for (size_t i = 0; i < a.buffers.size(); ++i) {
      CHECK(a.buffers[i].name == b.buffers[i].name);
      CHECK(std::memcmp(a.buffers[i].value.data(), b.buffers[i].value.data(),
                        static_cast<size_t>(a.buffers[i].value.size()) * 4) == 0);
    }
  }
}

TEST_CASE("state of another model or optimizer is refused with all that is wrong, and changes nothing") {
  Model model;
  Optimizer optimizer(model.set, cpu_backend(), {});
  model.gradients(1, 1, 1);
  optimizer.step(0.01);
  OptimizerState state = optimizer.export_state();
  CHECK(state.buffers[0].name == "w.exp_avg");
  CHECK(state.buffers[1].name == "w.exp_avg_sq");
  const float kept = state.buffers[2].value.data()[0];
  state.buffers[0].value = Tensor::zeros(2, 2);
  state.buffers[1].name = "w.momentum_buffer";
  state.buffers[2].value = Tensor::zeros(1, 3);
  state.clocks[0].steps = {1};
  state.clocks[1].steps = {-1};
  using Catch::Contains;
  CHECK_THROWS_WITH(optimizer.import_state(state),
                    Contains("'w.exp_avg': expected [3, 4], got [2, 2]") && Contains("'w.exp_avg_sq' is missing") &&
                        Contains("'w.momentum_buffer' is unknown") &&
                        Contains("steps of 'w': expected 2 slices, got 1") && Contains("steps of 'b': expected >= 0"));
  CHECK(optimizer.export_state().buffers[2].value.data()[0] == kept);
  OptimizerOptions bad;
  bad.beta1 = 1;
  CHECK_THROWS_WITH(Optimizer(model.set, cpu_backend(), bad), Contains("beta1; expected in [0, 1), got 1"));
  bad = {};
  bad.nesterov = true;
  CHECK_THROWS_WITH(Optimizer(model.set, cpu_backend(), bad), Contains("nesterov"));
  bad = {};
  bad.weight_decay = std::nanf("");
  CHECK_THROWS_WITH(Optimizer(model.set, cpu_backend(), bad), Contains("weight_decay"));
}

TEST_CASE("schedules warm up, decay, and end where they should") {
  Schedule s;
  s.lr = 1;
  s.min_lr = 0.1;
  s.warmup_steps = 10;
  s.total_steps = 111;
  CHECK(s.at(0) == Approx(0.1));
  CHECK(s.at(9) == Approx(1));
  CHECK(s.at(10) == Approx(1));
  CHECK(s.at(60) == Approx(0.55));
  CHECK(s.at(110) == Approx(0.1));
  CHECK(s.at(1000) == Approx(0.1));
  s.kind = Schedule::Kind::linear;
  CHECK(s.at(35) == Approx(0.775));
  CHECK(s.at(110) == Approx(0.1));
  s.kind = Schedule::Kind::constant;
  CHECK(s.at(5) == Approx(0.6));
  CHECK(s.at(500) == 1);
  s.total_steps = 1;
  s.warmup_steps = 0;
  s.kind = Schedule::Kind::cosine;
  CHECK(std::isfinite(s.at(0)));
}
