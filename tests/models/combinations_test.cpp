// The laws in every combination of granularity, techniques, form of weights and withheld mode that there is, on random
// models and ragged batches: zero bits of tolerance.
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "tests/models/random_combination.h"
#include "tests/models/random_step.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// What is withheld can only be kept with `scale` alone.
std::vector<How> modes(const Case& c) {
  if (c.techniques == std::vector<std::string>{"scale"}) return {How::routed, How::withheld};
  return {How::routed};
}

bool same_clip(const BlockClip& a, const BlockClip& b) { return a.norm == b.norm && a.factor == b.factor; }

// Block b received the same in both steps.
bool same_block(const Transformer& model, const Step& a, const Step& b, int block) {
  const auto k = static_cast<size_t>(block);
  const auto same = [&](const Bits& x, const Bits& y) {
    return same_bits(of_block(model, x, block), of_block(model, y, block));
  };
  bool moments = a.moments.size() == b.moments.size();
  for (size_t i = 0; moments && i < a.moments.size(); ++i) moments = same(a.moments[i], b.moments[i]);
  return moments && same(a.grads, b.grads) && same(a.values, b.values) && same_clip(a.clips[k], b.clips[k]) &&
         a.stepped[k] == b.stepped[k];
}

void spoil_row(const Parameter& p, int64_t row) {
  change(p.value(), [&](std::vector<float>& v) { std::fill_n(v.begin() + row * p.cols(), p.cols(), infinity); });
}

// A place of the model that is not finite, and a text that meets it. Nothing where every text would.
bool spoil(const Case& c, Transformer& model) {
  const char* const positions = "transformer.wpe.weight";
  if (Parameter* p = model.parameters().find(positions); p != nullptr) {
    spoil_row(*p, p->rows() - 1);
    return true;
  }
  if (c.config.tied_head) return false;
  spoil_row(model.parameters()[0], c.config.vocab - 1);
  return true;
}

void meet(const Case& c, Random& r, Example& x) {
  random_text(r, c.config, x, static_cast<int>(c.config.context));  // its last position
  x.tokens.back() = static_cast<int32_t>(c.config.vocab - 1);
}

struct Pairs {
  int text = 0, objective = 0, activations = 0;
};

}  // namespace

TEST_CASE("laws 1, 4, 6 and 8 in every combination: one example at a time, skipped or not, on any number of threads",
          "[slow]") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  const auto forms = static_cast<int>(forms_here(0).size());
  const int threads = thread_count();
  int norms_compared = 0;
  for_all_combinations(1000, [&](const Case& c) {
    for (const How how : modes(c)) {
      set_thread_count(1);
      const auto batch = make_model(c), single = make_model(c), plain = make_model(c);
      const Outcome whole = accumulate(*batch, c.examples, coefficient, how, 3, how == How::routed);
      const Outcome want = accumulate(*plain, c.examples, coefficient, How::plain);
      CHECK(same_bits(whole.nll, want.nll));
      CHECK(same_bits(whole.rows, want.rows));
      set_thread_count(3);
      const auto blocks = static_cast<size_t>(c.blocks.blocks());
      std::vector<double> norms;
      for (const Example& x : c.examples) {
        const Outcome one = accumulate(*single, {x}, coefficient, how);
        norms.insert(norms.end(), one.norms.begin(), one.norms.end());
        const auto alone = make_model(c);
        accumulate(*alone, {x}, coefficient, how);
        const Bits g = gradients(*alone);
        for (size_t b = 0; b < blocks; ++b) {
          double square = 0;
          for (const float v : of_block(*alone, g, static_cast<int>(b)))
            square += static_cast<double>(v) * static_cast<double>(v);
          const double norm = one.norms[b];
          if (x.weight[b] == 0) CHECK((norm == 0 && square == 0));
          CHECK(std::abs(norm - std::sqrt(square)) <= 1e-5 * norm);
          norms_compared += norm > 0 ? 1 : 0;
        }
      }
      CHECK(same_bits(gradients(*batch), gradients(*single)));
      CHECK(same_bits(norms, whole.norms));
    }
  });
  set_thread_count(threads);
  CHECK(norms_compared > 250 * forms);
}

TEST_CASE("law 2 in every combination: no text, objective or activation reaches a block that keeps its example out",
          "[slow]") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  const auto forms = static_cast<int>(forms_here(0).size());
  Pairs pairs;
  const auto served = for_all_combinations(5000, [&](Case c) {
    for (Example& x : c.examples) {  // none meets what is not finite
      for (int32_t& t : x.tokens) t = std::min(t, static_cast<int32_t>(c.config.vocab - 2));
    }
    const auto model = make_model(c);
    const bool spoilt = spoil(c, *model);
    const auto prepare = [&](Transformer& m) { spoil(c, m); };
    for (const How how : modes(c)) {
      const Step before = run_step(c, c.examples, c.examples, coefficient, how, prepare);
      const auto blocks = static_cast<size_t>(c.blocks.blocks());
      Random r(c.seed + 3);
      const auto e = static_cast<size_t>(r.below(static_cast<int>(c.examples.size())));
      const auto check = [&](const std::vector<Example>& changed, int& count) {
        const Step after = run_step(c, c.examples, changed, coefficient, how, prepare);
        for (size_t b = 0; b < blocks; ++b) {
          for (size_t other = 0; other < c.examples.size(); ++other) {
            const size_t at = other * blocks + b;
            if (other != e) CHECK(before.outcome.norms[at] == after.outcome.norms[at]);
          }
          if (c.examples[e].weight[b] != 0) continue;
          ++count;
          CHECK(after.outcome.norms[e * blocks + b] == 0);
          CHECK(same_block(*model, before, after, static_cast<int>(b)));
        }
        return after;
      };
      std::vector<Example> changed = c.examples;
      random_text(r, c.config, changed[e], r.between(1, 30));  // other tokens, other labels, another length
      for (int32_t& t : changed[e].tokens) t = std::min(t, static_cast<int32_t>(c.config.vocab - 2));
      check(changed, pairs.text);
      changed[e].objective = infinity;
      check(changed, pairs.objective);
      if (!spoilt) continue;
      changed = c.examples;
      meet(c, r, changed[e]);
      const Step after = check(changed, pairs.activations);
      CHECK_FALSE(std::isfinite(after.outcome.nll[e]));
    }
  });
  CHECK(pairs.text > 125 * forms);
  CHECK(pairs.objective == pairs.text);
  CHECK(pairs.activations > 75 * forms);
  // Every granularity that a technique can serve was there, and nothing else.
  enum { no, yes, at_times };
  //   scale  boundary  residual  attention, then those with scale, and of both gates
  const std::vector<std::vector<int>> allowed = {
      {yes, at_times, at_times, at_times, at_times, at_times, at_times, at_times},  // rectangles
      {yes, yes, yes, yes, yes, yes, yes, yes},                                     // layer
      {yes, yes, yes, yes, yes, yes, yes, yes},                                     // group
      {yes, yes, yes, yes, yes, yes, yes, yes},                                     // position
      {yes, no, yes, yes, no, yes, yes, no},                                        // role
      {yes, no, at_times, yes, no, yes, at_times, no},                              // head
      {yes, no, at_times, yes, no, yes, at_times, no},                              // channels
      {yes, no, no, yes, no, yes, no, no},                                          // tensor
      {yes, no, no, yes, no, yes, no, no},                                          // selectors
      {yes, at_times, at_times, yes, at_times, yes, at_times, at_times},            // learned
  };
  for (size_t kind = 0; kind < allowed.size(); ++kind) {
    for (size_t t = 0; t < allowed[kind].size(); ++t) {
      INFO("blocks by " << kind_name(static_cast<int>(kind)) << ", techniques " << t);
      const int want = allowed[kind][t], got = served[kind][t];
      CHECK((want == yes ? got == forms : want == no ? got == 0 : got > 0 || forms == 1));
    }
  }
}

TEST_CASE("laws 3 and 5 in every combination: an example that is kept out everywhere might as well be absent",
          "[slow]") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  const auto forms = static_cast<int>(forms_here(0).size());
  int untouched = 0;
  for_all_combinations(9000, [&](Case c) {
    Random r(c.seed + 5);
    const auto out = static_cast<std::ptrdiff_t>(r.below(static_cast<int>(c.examples.size())));
    std::fill(c.examples[static_cast<size_t>(out)].weight.begin(), c.examples[static_cast<size_t>(out)].weight.end(),
              0.0f);
    std::vector<Example> without = c.examples;
    without.erase(without.begin() + out);
    const auto model = make_model(c);
    const Step absent = run_step(c, without, without);
    for (const How how : modes(c)) {
      const Step with = run_step(c, c.examples, c.examples, coefficient, how);
      CHECK(same_bits(with.grads, absent.grads));
      CHECK(same_bits(with.values, absent.values));
      CHECK(with.stepped == absent.stepped);
      CHECK(with.moments.size() == absent.moments.size());
      for (size_t i = 0; i < with.moments.size(); ++i) CHECK(same_bits(with.moments[i], absent.moments[i]));
    }
    for (int b = 0; b < c.blocks.blocks(); ++b) {
      const auto k = static_cast<size_t>(b);
      const bool admits =
          std::any_of(without.begin(), without.end(), [&](const Example& x) { return x.weight[k] != 0; });
      if (!admits) CHECK_FALSE(absent.stepped[k]);
      if (absent.stepped[k]) continue;
      ++untouched;
      CHECK(same_bits(of_block(*model, absent.start, b), of_block(*model, absent.values, b)));
    }
  });
  CHECK(untouched > 12 * forms);
}
