// Random cases whose weights leave much out, for tests of what is skipped and in which order a batch is computed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/models/random_model.h"
#include "tools/govtrain/train/skip_plan.h"

namespace govtrain::test {

constexpr uint64_t routed_cases = 12;

// Blocks by layer, and weights that leave much out: most examples start somewhere above the input, some teach nothing.
inline Case routed_case(uint64_t seed) {
  Case c = random_case(seed);
  Random r(seed * 7 + 1);
  if (r.coin()) c.blocks = blocks_by_layer(Transformer(c.config, 0).parameters().infos());
  const int blocks = c.blocks.blocks();
  while (c.examples.size() < 8) c.examples.push_back(c.examples[c.examples.size() % 2]);
  uint64_t id = 1000 * seed;
  for (Example& x : c.examples) {
    x.id = ++id;
    random_text(r, c.config, x, r.between(1, 30));
    const int from = r.between(0, blocks);
    x.weight.clear();
    for (int b = 0; b < blocks; ++b) x.weight.push_back(b < from ? 0.0f : r.one_of({0.0f, 0.5f, 1.0f, 1.0f, 2.0f}));
  }
  return c;
}

inline bool taught(const Example& x) {
  return std::any_of(x.weight.begin(), x.weight.end(), [](float w) { return w != 0.0f; });
}

// The examples in the order that arrange() would give them.
inline std::vector<Example> arranged(const Case& c) {
  const SkipPlan plan(make_model(c)->parameters());
  std::vector<Example> out = c.examples;
  std::stable_sort(out.begin(), out.end(),
                   [&](const Example& a, const Example& b) { return plan.below(a.weight) < plan.below(b.weight); });
  return out;
}

}  // namespace govtrain::test
