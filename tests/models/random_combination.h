// All combinations of granularity, techniques and form of weights, with random cases of each. What a division into
// blocks does not allow is told, not drawn: docs/techniques.md says which.
#pragma once

#include <optional>

#include "core/error.h"
#include "tests/models/random_model.h"

namespace govtrain::test {

inline const std::vector<std::vector<std::string>>& all_techniques() {
  static const std::vector<std::vector<std::string>> techniques = {{"scale"},
                                                                   {"boundary"},
                                                                   {"residual_gate"},
                                                                   {"attention_gate"},
                                                                   {"scale", "boundary"},
                                                                   {"scale", "attention_gate"},
                                                                   {"residual_gate", "attention_gate"},
                                                                   {"boundary", "residual_gate"}};
  return techniques;
}

enum class WeightForm { binary, graded, amplifying, negative };

inline std::vector<float> random_weights(Random& r, WeightForm form, int blocks) {
  std::vector<float> out;
  for (int b = 0; b < blocks; ++b) {
    switch (form) {
      case WeightForm::binary:
        out.push_back(r.one_of({0.0f, 1.0f}));
        break;
      case WeightForm::graded:
        out.push_back(r.one_of({0.0f, 0.0f, 0.25f, 0.3f, 0.7f, 1.0f}));
        break;
      case WeightForm::amplifying:
        out.push_back(r.one_of({0.0f, 0.0f, 1.0f, 1.3f, 2.0f}));
        break;
      case WeightForm::negative:
        out.push_back(r.one_of({0.0f, 0.0f, -0.5f, -0.2f, 0.5f, 1.0f}));
        break;
    }
  }
  return out;
}

// Nothing when these blocks do not allow these techniques.
inline std::optional<Case> combined_case(uint64_t seed, int kind, const std::vector<std::string>& techniques,
                                         WeightForm form) {
  Case c = random_case(seed, kind);
  c.techniques = techniques;
  Random r(seed + 17);
  for (Example& x : c.examples) x.weight = random_weights(r, form, c.blocks.blocks());
  try {
    make_model(c);
  } catch (const Error& e) {
    if (std::string(e.what()).find("these blocks do not allow it") == std::string::npos) throw;
    return std::nullopt;
  }
  return c;
}

// The forms of weights that a combination of blocks and techniques is tested with: all, or, on the emulated device,
// which is slower, one in turn.
inline std::vector<WeightForm> forms_here(size_t combination) {
  const std::vector<WeightForm> all = {WeightForm::binary, WeightForm::graded, WeightForm::amplifying,
                                       WeightForm::negative};
  const auto some = static_cast<size_t>(cases_here(all.size(), 1));
  std::vector<WeightForm> out;
  for (size_t i = 0; i < some; ++i) out.push_back(all[(combination + i) % all.size()]);
  return out;
}

// Calls body(case) for every combination, and returns how many cases each kind of blocks had under each technique.
template <class Body>
std::vector<std::vector<int>> for_all_combinations(uint64_t first_seed, Body body) {
  std::vector<std::vector<int>> served(block_kinds, std::vector<int>(all_techniques().size(), 0));
  uint64_t seed = first_seed;
  for (int kind = 0; kind < block_kinds; ++kind) {
    for (size_t t = 0; t < all_techniques().size(); ++t) {
      for (const WeightForm form : forms_here(static_cast<size_t>(kind) + t)) {
        for (int attempt = 0; attempt < 5; ++attempt) {  // where it depends on the model whether it is allowed
          const std::optional<Case> c = combined_case(++seed, kind, all_techniques()[t], form);
          if (!c) continue;
          INFO(describe(*c) << ", weights of form " << static_cast<int>(form));
          body(*c);
          ++served[static_cast<size_t>(kind)][t];
          break;
        }
      }
    }
  }
  return served;
}

}  // namespace govtrain::test
