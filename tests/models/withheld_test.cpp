// Withheld gradients on random models: what they are, that admitted and withheld add up, and that keeping them changes
// nothing. Zero bits of tolerance unless a bound is derived.
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "tests/models/random_model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

uint64_t cases() { return cases_here(30, 3); }
constexpr float coefficient = 1.0f / 64;

Bits withheld(const Transformer& model) {
  Bits out;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Tensor& t = model.parameters()[i].withheld();
    if (!t.defined()) continue;
    out.push_back(on_host(t));
  }
  return out;
}

void any_weights(Random& r, Case& c) {
  for (Example& x : c.examples) {
    for (float& w : x.weight) w = r.one_of({-0.5f, 0.0f, 0.1f, 0.3f, 0.7f, 1.0f, 1.5f, 2.0f});
  }
}

OptimizerOptions optimizer_for(uint64_t seed) {
  Random r(seed);
  OptimizerOptions o;
  o.kind = r.one_of({OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw});
  o.momentum = o.kind == OptimizerKind::sgd ? r.one_of({0.0f, 0.9f}) : 0.0f;
  o.weight_decay = r.one_of({0.0f, 0.1f});
  return o;
}

}  // namespace

TEST_CASE("the withheld gradient is the sum of (1-w) g over w < 1, for every sign and size of w") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    Random r(seed + 21);
    any_weights(r, c);
    const auto model = make_model(c);
    accumulate(*model, c.examples, coefficient, How::withheld);
    const Bits kept = withheld(*model), admitted = gradients(*model);
    std::vector<std::vector<double>> want, sum, magnitude;
    for (const auto& g : kept) want.emplace_back(g.size(), 0.0);
    sum = magnitude = want;
    for (Example x : c.examples) {
      const std::vector<float> weight = x.weight;
      x.weight.assign(weight.size(), 1.0f);
      const auto alone = make_model(c);
      accumulate(*alone, {x}, coefficient);
      for (size_t i = 0; i < kept.size(); ++i) {
        const Parameter& p = alone->parameters()[i];
        const std::vector<float> grad = on_host(p.grad());
        for (const Parameter::Slice& s : p.slices()) {
          const auto w = static_cast<double>(weight[static_cast<size_t>(s.block)]);
          for (int64_t row = s.row_begin; row < s.row_end; ++row) {
            for (int64_t col = s.col_begin; col < s.col_end; ++col) {
              const auto j = static_cast<size_t>(row * p.cols() + col);
              const auto g = static_cast<double>(grad[j]);
              want[i][j] += std::max(0.0, 1.0 - w) * g;
              sum[i][j] += std::max(1.0, w) * g;  // what is amplified takes nothing away from anybody
              magnitude[i][j] += (std::abs(w) + std::max(0.0, 1.0 - w)) * std::abs(g);
            }
          }
        }
      }
    }
    double worst = 0;  // per sum: E roundings of the running sum, one of the product, one of 1 - w
    const double unit = static_cast<double>(c.examples.size() + 2) * 0x1p-24;
    for (size_t i = 0; i < kept.size(); ++i) {
      for (size_t j = 0; j < kept[i].size(); ++j) {
        const double bound = magnitude[i][j] * unit;
        const auto w = static_cast<double>(kept[i][j]), a = static_cast<double>(admitted[i][j]);
        worst = std::max(worst, std::abs(w - want[i][j]) - bound);
        worst = std::max(worst, std::abs(a + w - sum[i][j]) - 2 * bound);
      }
    }
    CHECK(worst <= 0);
  }
}

TEST_CASE("where a block's weights are 0, 1/2 or 1 for all, admitted and withheld add up to the very bits") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    Random r(seed + 23);
    for (int b = 0; b < c.blocks.blocks(); ++b) {
      const float w = r.one_of({0.0f, 0.5f, 1.0f});
      for (Example& x : c.examples) x.weight[static_cast<size_t>(b)] = w;
    }
    const auto split = make_model(c);
    accumulate(*split, c.examples, coefficient, How::withheld);
    for (Example& x : c.examples) std::fill(x.weight.begin(), x.weight.end(), 1.0f);
    const auto full = make_model(c);
    accumulate(*full, c.examples, coefficient);
    const Bits a = gradients(*split), w = withheld(*split), all = gradients(*full);
    int64_t different = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t j = 0; j < all[i].size(); ++j) different += a[i][j] + w[i][j] == all[i][j] ? 0 : 1;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("an inert optimizer leaves model and live optimizer alone, and moves what the same rule would have moved") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    const OptimizerOptions options = optimizer_for(seed);
    const auto with = make_model(c), without = make_model(c), other = make_model(c);
    Optimizer live(with->parameters(), test_backend(), options), alone(without->parameters(), test_backend(), options);
    Optimizer inert(with->parameters(), test_backend(), options, Drives::displacement);
    // What the same rule does to a model of zeros that is taught with 1 - w and without decay.
    OptimizerOptions plain = options;
    plain.weight_decay = 0;
    Optimizer mirror(other->parameters(), test_backend(), plain);
    std::vector<Tensor> moved;
    for (size_t i = 0; i < other->parameters().size(); ++i) {
      const Parameter& p = other->parameters()[i];
      moved.push_back(Tensor::zeros(p.rows(), p.cols()));
    }
    for (uint64_t step = 1; step <= 4; ++step) {
      for (const auto& model : {with.get(), without.get()}) {
        zero_grad(model->parameters(), test_backend());
        zero_withheld(model->parameters(), test_backend());
      }
      accumulate(*with, c.examples, coefficient, How::withheld, step);
      accumulate(*without, c.examples, coefficient, How::routed, step);
      clip_blocks(with->parameters(), test_backend(), 0.05);
      clip_blocks(without->parameters(), test_backend(), 0.05);
      clip_withheld(with->parameters(), test_backend(), 0.05);
      // The withheld gradient as the gradient of `other`, whose values are the displacement so far.
      std::vector<Tensor> gradient;
      for (size_t i = 0; i < with->parameters().size(); ++i) gradient.push_back(with->parameters()[i].withheld());
      for (size_t i = 0; i < moved.size(); ++i) {
        other->parameters()[i].value().assign(moved[i].values());
      }
      set_gradient(other->parameters(), test_backend(), gradient, 1.0f);
      CHECK(live.step(0.01) == alone.step(0.01));
      inert.step(0.01);
      mirror.step(0.01);
      for (size_t i = 0; i < moved.size(); ++i) {
        moved[i].assign(other->parameters()[i].value().host().values());
      }
    }
    CHECK(same_bits(values(*with), values(*without)));
    const OptimizerState a = live.export_state(), b = alone.export_state();
    for (size_t i = 0; i < a.buffers.size(); ++i) {
      CHECK(std::memcmp(a.buffers[i].value.data(), b.buffers[i].value.data(),
                        static_cast<size_t>(a.buffers[i].value.size()) * sizeof(float)) == 0);
    }
    size_t seen = 0;
    for (const auto& buffer : inert.export_state().buffers) {
      if (!buffer.name.ends_with(".displacement")) continue;
      const Parameter* p = with->parameters().find(buffer.name.substr(0, buffer.name.rfind('.')));
      REQUIRE(p != nullptr);
      const Tensor& want = moved[static_cast<size_t>(p->index())];
      CHECK(std::memcmp(buffer.value.data(), want.data(), static_cast<size_t>(want.size()) * sizeof(float)) == 0);
      ++seen;
    }
    CHECK(seen == with->parameters().size());
  }
}

TEST_CASE("law 2 with withheld gradients: what is kept out changes nothing that the block receives") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  int pairs = 0;
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const auto run = [&](const std::vector<Example>& examples) {
      const auto model = make_model(c);
      Optimizer live(model->parameters(), test_backend(), optimizer_for(seed));
      Optimizer inert(model->parameters(), test_backend(), optimizer_for(seed), Drives::displacement);
      accumulate(*model, examples, coefficient, How::withheld);
      clip_blocks(model->parameters(), test_backend(), 0.05);
      clip_withheld(model->parameters(), test_backend(), 0.05);
      const Bits g = gradients(*model);
      live.step(0.01);
      inert.step(0.01);
      return std::pair(g, values(*model));
    };
    const auto model = make_model(c);
    const auto before = run(c.examples);
    for (size_t e = 0; e < c.examples.size(); ++e) {
      Random r(seed * 37 + e);
      std::vector<Example> changed = c.examples;
      random_text(r, c.config, changed[e], r.between(1, 30));
      const auto after = run(changed);
      for (int b = 0; b < c.blocks.blocks(); ++b) {
        if (c.examples[e].weight[static_cast<size_t>(b)] != 0) continue;
        ++pairs;
        CHECK(same_bits(of_block(*model, before.first, b), of_block(*model, after.first, b)));
        CHECK(same_bits(of_block(*model, before.second, b), of_block(*model, after.second, b)));
      }
    }
  }
  CHECK(pairs > 10 * static_cast<int>(cases()) / 3);
}

TEST_CASE("withheld gradients have the same bits for any number of threads and any cut into micro-batches") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    const int threads = thread_count();
    set_thread_count(1);
    const auto whole = make_model(c);
    accumulate(*whole, c.examples, coefficient, How::withheld);
    set_thread_count(3);
    const auto cut = make_model(c);
    for (const Example& x : c.examples) accumulate(*cut, {x}, coefficient, How::withheld);
    set_thread_count(threads);
    CHECK(same_bits(withheld(*whole), withheld(*cut)));
    clip_withheld(whole->parameters(), test_backend(), 0.01);
    clip_withheld(cut->parameters(), test_backend(), 0.01);
    CHECK(same_bits(withheld(*whole), withheld(*cut)));
  }
}

TEST_CASE("a withheld gradient that is not finite is told and set aside; what is admitted does not notice") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  Random r(5);
  TransformerConfig config;
  config.vocab = 9, config.context = 40, config.layers = 2, config.width = 8, config.heads = 2,
  config.tied_head = false;
  Case c;
  c.seed = 5;
  c.config = config;
  c.blocks = blocks_by_layer(Transformer(config, 0).parameters().infos());
  for (uint64_t e = 0; e < 2; ++e) {
    Example x;
    x.id = e;
    random_text(r, config, x, 9);
    x.weight.assign(static_cast<size_t>(c.blocks.blocks()), 1.0f);
    c.examples.push_back(x);
  }
  c.examples[1].weight.assign(c.examples[1].weight.size(), 0.0f);
  const auto run = [&](float spoiled, How how) {
    auto model = make_model(c);
    const std::vector<Example> one = {c.examples[0]}, two = {c.examples[1]};
    accumulate(*model, one, coefficient, how);
    accumulate(*model, two, spoiled, how);  // the objective of the second example overflows
    return model;
  };
  const auto bad = run(std::numeric_limits<float>::infinity(), How::withheld);
  const auto good = run(coefficient, How::routed);
  const std::vector<BlockClip> clips = clip_withheld(bad->parameters(), test_backend(), 1.0);
  int not_finite = 0;
  for (const BlockClip& clip : clips) not_finite += std::isfinite(clip.norm) ? 0 : 1;
  CHECK(not_finite == c.blocks.blocks());
  CHECK(same_bits(gradients(*bad), gradients(*good)));
  for (const auto& t : withheld(*bad)) CHECK(std::all_of(t.begin(), t.end(), [](float x) { return x == 0; }));
  Optimizer inert(bad->parameters(), test_backend(), {}, Drives::displacement);
  for (const bool stepped : inert.step(0.01)) CHECK_FALSE(stepped);
}
