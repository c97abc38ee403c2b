// Adam, AdamW and SGD against 100 steps of PyTorch (make_optimizer_fixture.py).
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/backend.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {
namespace {

float grad(int i, int t) {
  return i % 5 == 0 ? 0.0f : static_cast<float>((i * 37 + t * 101 + i * t * 7) % 257 - 128) / 64.0f;
}

struct State {
  Guarded value, m, v;
  explicit State(int size) : value(1, size, 0), m(1, size, 0), v(1, size, 0) {
    for (int i = 0; i < size; ++i) value.view().at(0, i) = static_cast<float>(i - 18) / 16.0f;
  }
};

void step(State& s, const nlohmann::json& c, const std::vector<float>& g, int t) {
  const auto& o = c["options"];
  const auto get = [&](const char* key) { return o.value(key, 0.0f); };
  if (c["kind"] == "SGD") {
    const SgdUpdate update{
        s.value.view(),
        g.data(),
        s.m.view().data,
        {get("lr"), get("momentum"), get("dampening"), get("weight_decay"), o.value("nesterov", false), t == 1}};
    return cpu_backend().sgd({&update, 1});
  }
  const AdamUpdate update{
      s.value.view(),
      g.data(),
      s.m.view().data,
      s.v.view().data,
      {get("lr"), get("beta1"), get("beta2"), get("eps"), get("weight_decay"), c["kind"] == "AdamW", t}};
  cpu_backend().adam({&update, 1});
}

}  // namespace

TEST_CASE("optimizers follow PyTorch for 100 steps") {
  std::ifstream file(std::string(GOVTRAIN_SOURCE_DIR) + "/tests/kernels/optimizer_fixture.json");
  const auto fixture = nlohmann::json::parse(file);
  REQUIRE(fixture["format"] == "govtrain-optimizer-fixture");
  REQUIRE(fixture["cases"].size() == 9);
  const int size = fixture["size"];
  for_each_instruction_set([&] {
    for (const auto& c : fixture["cases"]) {
      INFO(c["name"]);
      State s(size);
      for (int t = 1; t <= fixture["steps"]; ++t) {
        std::vector<float> g;
        for (int i = 0; i < size; ++i) g.push_back(grad(i, t));
        step(s, c, g, t);
        if (!c["values"].contains(std::to_string(t))) continue;
        // Each step rounds the value a few times (u |x|, |x| below 8 here) and its update once or twice; the moments'
        // own roundings and beta2 stored as float (1e-5 of 1 - beta2, cancelled by the bias correction to first order)
        // change an update by less than 2e-5 of itself, and errors add over the steps.
        const double lr = c["options"].value("lr", 0.0);
        double worst = 0.0;
        for (int i = 0; i < size; ++i) {
          const double expected = c["values"][std::to_string(t)][static_cast<size_t>(i)];
          worst = std::max(worst, std::abs(static_cast<double>(s.value.cview().at(0, i)) - expected));
        }
        INFO("step " << t);
        CHECK(worst <= t * (4 * 0x1p-24 * 8.0 + 2e-5 * lr));
      }
      CHECK(s.value.intact());
      CHECK(s.m.intact());
      CHECK(s.v.intact());
    }
  });
}

TEST_CASE("an optimizer step on many values has the bits of the same step on few") {
  for_each_instruction_set([] {
    constexpr int kMany = 40000;
    Guarded value(1, kMany, 0), g(1, kMany, 0), m(1, kMany, 0), v(1, kMany, 0);
    for (Guarded* x : {&value, &g, &m}) x->randomise(3);
    v.randomise(4);
    for (float& x : v.span()) x = std::abs(x);
    const Guarded value0 = value, m0 = m, v0 = v;
    const AdamOptions o{0.01f, 0.9f, 0.999f, 1e-8f, 0.1f, true, 5};
    const AdamUpdate whole{value.view(), g.view().data, m.view().data, v.view().data, o};
    cpu_backend().adam({&whole, 1});
    for (const int at : {0, 1, 17, 16384, 39999}) {
      float x = value0.cview().at(0, at), mm = m0.cview().at(0, at), vv = v0.cview().at(0, at);
      const float gg = g.cview().at(0, at);
      const AdamUpdate one{{&x, 1, 1}, &gg, &mm, &vv, o};
      cpu_backend().adam({&one, 1});
      CHECK(x == value.cview().at(0, at));
      CHECK(mm == m.cview().at(0, at));
      CHECK(vv == v.cview().at(0, at));
    }
  });
}

}  // namespace govtrain::test
