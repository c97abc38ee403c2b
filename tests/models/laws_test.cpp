// The laws of routed training on random transformers: zero bits of tolerance unless a bound is stated.
#include <cmath>

#include "core/parallel.h"
#include "tests/models/random_step.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

uint64_t cases() { return cases_here(40, 4); }

}  // namespace

TEST_CASE("law 1: a routed batch has the bits of one example at a time") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const auto batch = make_model(c);
    const auto single = make_model(c);
    const Outcome whole = accumulate(*batch, c.examples, coefficient);
    std::vector<double> norms;
    for (size_t e = 0; e < c.examples.size(); ++e) {
      const Outcome one = accumulate(*single, {c.examples[e]}, coefficient);
      CHECK(same_bits(one.nll, {whole.nll[e]}));
      CHECK(same_bits(one.rows[0], whole.rows[e]));
      norms.insert(norms.end(), one.norms.begin(), one.norms.end());
    }
    CHECK(same_bits(gradients(*batch), gradients(*single)));
    CHECK(same_bits(norms, whole.norms));
  }
}

TEST_CASE("law 1: the routed gradient is the weighted sum of gradients taken alone with weight 1") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const auto routed = make_model(c);
    accumulate(*routed, c.examples, coefficient);
    const Bits got = gradients(*routed);
    std::vector<std::vector<double>> want;
    for (const auto& g : got) want.emplace_back(g.size(), 0.0);
    auto magnitude = want;
    for (Example x : c.examples) {
      const auto model = make_model(c);
      const std::vector<float> weight = x.weight;
      x.weight.assign(weight.size(), 1.0f);
      accumulate(*model, {x}, coefficient);
      for (size_t i = 0; i < got.size(); ++i) {
        const Parameter& p = model->parameters()[i];
        const std::vector<float> grad = on_host(p.grad());
        for (const Parameter::Slice& s : p.slices()) {
          for (int64_t r = s.row_begin; r < s.row_end; ++r) {
            for (int64_t col = s.col_begin; col < s.col_end; ++col) {
              const auto j = static_cast<size_t>(r * p.cols() + col);
              const double term =
                  static_cast<double>(weight[static_cast<size_t>(s.block)]) * static_cast<double>(grad[j]);
              want[i][j] += term;
              magnitude[i][j] += std::abs(term);
            }
          }
        }
      }
    }
    double worst = 0;  // E roundings of the running sum and one of each product
    for (size_t i = 0; i < got.size(); ++i) {
      for (size_t j = 0; j < got[i].size(); ++j) {
        const double bound = magnitude[i][j] * static_cast<double>(c.examples.size() + 1) * 0x1p-24;
        const double error = std::abs(static_cast<double>(got[i][j]) - want[i][j]);
        if (error > bound) worst = std::max(worst, error);
      }
    }
    CHECK(worst == 0);
  }
}

namespace {

enum class Denominator { fixed, counted_tokens };

struct Leaks {
  int pairs = 0;  // (example, block) with weight 0
  int found = 0;  // those in which the example's content changed what the block receives
};

Leaks count_leaks(Denominator denominator) {
  Leaks leaks;
  const auto scale = [&](const std::vector<Example>& examples) {
    if (denominator == Denominator::fixed) return coefficient;
    int64_t counted = 0;
    for (const Example& x : examples) {
      counted += std::count_if(x.target.begin(), x.target.end(), [](int32_t y) { return y >= 0; });
    }
    return 1.0f / static_cast<float>(std::max<int64_t>(counted, 1));
  };
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = random_case(seed);
    const auto model = make_model(c);
    const Step before = run_step(c, c.examples, c.examples, scale(c.examples));
    for (size_t e = 0; e < c.examples.size(); ++e) {
      Random r(seed * 31 + e);
      std::vector<Example> changed = c.examples;
      random_text(r, c.config, changed[e], r.between(1, 30));  // other tokens, other labels, another length
      const Step after = run_step(c, c.examples, changed, scale(changed));
      for (size_t b = 0; b < c.examples[e].weight.size(); ++b) {
        if (c.examples[e].weight[b] != 0.0f) continue;
        const int block = static_cast<int>(b);
        const bool same = same_bits(of_block(*model, before.grads, block), of_block(*model, after.grads, block)) &&
                          same_bits(of_block(*model, before.values, block), of_block(*model, after.values, block)) &&
                          before.clips[b].norm == after.clips[b].norm &&
                          before.clips[b].factor == after.clips[b].factor && before.stepped[b] == after.stepped[b] &&
                          after.outcome.norms[e * before.clips.size() + b] == 0;
        ++leaks.pairs;
        if (!same) {
          ++leaks.found;
          if (denominator == Denominator::fixed) UNSCOPED_INFO(describe(c) << ", example " << e << ", block " << b);
        }
      }
    }
  }
  return leaks;
}

}  // namespace

TEST_CASE("law 2: what an example holds never reaches a block that does not admit it") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  const Leaks leaks = count_leaks(Denominator::fixed);
  CHECK(leaks.pairs > 5 * static_cast<int>(cases()) / 2);
  CHECK(leaks.found == 0);
}

TEST_CASE("the test of law 2 sees a loss denominator that depends on the batch") {
  const Leaks leaks = count_leaks(Denominator::counted_tokens);
  CHECK(leaks.found > leaks.pairs / 4);
}

TEST_CASE("law 3: an example with no weight anywhere might as well be absent") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    Random r(seed + 5);
    const size_t out = static_cast<size_t>(r.below(static_cast<int>(c.examples.size())));
    std::fill(c.examples[out].weight.begin(), c.examples[out].weight.end(), 0.0f);
    std::vector<Example> without = c.examples;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(out));
    const Step with = run_step(c, c.examples, c.examples);
    const Step absent = run_step(c, without, without);
    CHECK(same_bits(with.grads, absent.grads));
    CHECK(same_bits(with.values, absent.values));
    std::vector<double> nll = with.outcome.nll;
    std::vector<double> norms = with.outcome.norms;
    nll.erase(nll.begin() + static_cast<std::ptrdiff_t>(out));
    const auto first = norms.begin() + static_cast<std::ptrdiff_t>(out * with.clips.size());
    norms.erase(first, first + static_cast<std::ptrdiff_t>(with.clips.size()));
    CHECK(same_bits(nll, absent.outcome.nll));
    CHECK(same_bits(norms, absent.outcome.norms));
  }
}

TEST_CASE("law 4: routing never changes a forward value") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    const auto model = make_model(c);
    const Outcome routed = accumulate(*model, c.examples, coefficient);
    const Outcome plain = accumulate(*model, c.examples, coefficient, How::plain);
    const Outcome withheld = accumulate(*model, c.examples, coefficient, How::withheld);
    CHECK(same_bits(routed.nll, plain.nll));
    CHECK(same_bits(routed.nll, withheld.nll));
    CHECK(same_bits(routed.rows, plain.rows));

    c.config.dropout = 0;  // the only op that differs in evaluation
    const auto clear = make_model(c);
    const Outcome train = accumulate(*clear, c.examples, coefficient);
    const Batch batch(c.examples, c.blocks.blocks());
    Tape tape(test_backend(), batch.rows, Mode::eval);
    std::vector<float> row_loss(batch.tokens.size());
    const Losses eval = clear->loss(tape, {batch.tokens, {}}, batch.target, row_loss);
    CHECK(same_bits(train.nll, eval.nll()));
    for (int e = 0; e < batch.rows.examples(); ++e) {
      const auto first = row_loss.begin() + batch.rows.begin(e);
      CHECK(same_bits(train.rows[static_cast<size_t>(e)], {first, first + batch.rows.length(e)}));
    }
  }
}

TEST_CASE("law 5: a block to which nothing was admitted is not stepped") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    std::vector<Example> shut = c.examples;
    Random r(seed + 9);
    const auto b = static_cast<size_t>(r.below(c.blocks.blocks()));
    for (Example& x : c.examples) x.weight[b] = 1.0f;
    for (Example& x : shut) x.weight[b] = 0.0f;
    const auto model = make_model(c);
    Optimizer optimizer(model->parameters(), test_backend(), random_optimizer(seed));
    accumulate(*model, c.examples, coefficient);
    CHECK(optimizer.step(0.01)[b]);
    zero_grad(model->parameters(), test_backend());
    const std::vector<float> before = of_block(*model, values(*model), static_cast<int>(b));
    accumulate(*model, shut, coefficient);
    CHECK_FALSE(optimizer.step(0.01)[b]);
    CHECK(same_bits(of_block(*model, values(*model), static_cast<int>(b)), before));
  }
}

TEST_CASE("law 6: realised norms are those of each example's own gradient") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const auto model = make_model(c);
    const auto blocks = static_cast<size_t>(c.blocks.blocks());
    const Outcome whole = accumulate(*model, c.examples, coefficient);
    for (size_t e = 0; e < c.examples.size(); ++e) {
      Example alone = c.examples[e];
      alone.weight.assign(blocks, 1.0f);
      const auto fresh = make_model(c);
      accumulate(*fresh, {alone}, coefficient);
      for (size_t b = 0; b < blocks; ++b) {
        double square = 0;
        for (const float g : of_block(*fresh, gradients(*fresh), static_cast<int>(b))) {
          square += static_cast<double>(g) * static_cast<double>(g);
        }
        const double want = static_cast<double>(c.examples[e].weight[b]) * std::sqrt(square);
        const double got = whole.norms[e * blocks + b];
        if (want == 0) {
          CHECK(got == 0);
        } else {
          CHECK(std::abs(got / want - 1) < 1e-5);
        }
      }
    }
  }
}

TEST_CASE("law 8: the same bits for any number of threads and any cut into micro-batches") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const int threads = thread_count();
    set_thread_count(1);
    const Step one = run_step(c, c.examples, c.examples);
    for (const int n : {2, 5}) {
      set_thread_count(n);
      const Step many = run_step(c, c.examples, c.examples);
      CHECK(same_bits(one.grads, many.grads));
      CHECK(same_bits(one.values, many.values));
      CHECK(same_bits(one.outcome.nll, many.outcome.nll));
      CHECK(same_bits(one.outcome.norms, many.outcome.norms));
    }
    set_thread_count(threads);

    Random r(seed + 3);
    const auto whole = make_model(c);
    const auto cut = make_model(c);
    const Outcome all = accumulate(*whole, c.examples, coefficient);
    std::vector<double> norms;
    for (size_t e = 0; e < c.examples.size();) {
      const size_t end = e + static_cast<size_t>(r.between(1, static_cast<int>(c.examples.size() - e)));
      const Outcome part = accumulate(
          *cut,
          {c.examples.begin() + static_cast<std::ptrdiff_t>(e), c.examples.begin() + static_cast<std::ptrdiff_t>(end)},
          coefficient);
      norms.insert(norms.end(), part.norms.begin(), part.norms.end());
      e = end;
    }
    CHECK(same_bits(gradients(*whole), gradients(*cut)));
    CHECK(same_bits(all.norms, norms));
    const auto a = clip_blocks(whole->parameters(), test_backend(), 0.05);
    const auto b = clip_blocks(cut->parameters(), test_backend(), 0.05);
    for (size_t i = 0; i < a.size(); ++i) CHECK(a[i].factor == b[i].factor);
  }
}

TEST_CASE("withheld gradients add up with the admitted ones to the whole, and change nothing else") {
  const OnBackend on(GENERATE(from_range(backend_and_precision_names())));
  for (uint64_t seed = 1; seed <= cases(); ++seed) {
    Case c = random_case(seed);
    INFO(describe(c));
    for (Example& x : c.examples) {
      for (float& w : x.weight) w = std::min(w, 1.0f);
    }
    const auto routed = make_model(c);
    accumulate(*routed, c.examples, coefficient);
    const auto both = make_model(c);
    accumulate(*both, c.examples, coefficient, How::withheld);
    CHECK(same_bits(gradients(*routed), gradients(*both)));
    CHECK_FALSE(routed->parameters()[0].withheld().defined());
    for (Example& x : c.examples) std::fill(x.weight.begin(), x.weight.end(), 1.0f);
    const auto full = make_model(c);
    accumulate(*full, c.examples, coefficient);
    double worst = 0;
    double largest = 0;
    for (size_t i = 0; i < full->parameters().size(); ++i) {
      const Parameter& p = both->parameters()[i];
      const std::vector<float> all = on_host(full->parameters()[i].grad());
      const std::vector<float> admitted = on_host(p.grad()), kept = on_host(p.withheld());
      for (size_t j = 0; j < all.size(); ++j) {
        const auto want = static_cast<double>(all[j]);
        worst = std::max(worst, std::abs(static_cast<double>(admitted[j]) + static_cast<double>(kept[j]) - want));
        largest = std::max(largest, std::abs(want));
      }
    }
    CHECK(worst < largest * 1e-6);
    CHECK(largest > 0);
  }
}
