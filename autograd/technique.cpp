#include "autograd/technique.h"

#include <algorithm>

#include "core/error.h"

namespace govtrain {

Techniques parse_techniques(const std::vector<std::string>& names) {
  Techniques t;
  t.scale = false;
  if (names.empty()) throw Error("technique", "expected at least one technique, got none");
  for (const std::string& name : names) {
    bool* which = name == "scale"            ? &t.scale
                  : name == "boundary"       ? &t.boundary
                  : name == "residual_gate"  ? &t.residual_gate
                  : name == "attention_gate" ? &t.attention_gate
                                             : nullptr;
    if (which == nullptr) {
      throw Error("technique", "expected one of scale, boundary, residual_gate, attention_gate, got '{}'", name);
    }
    if (*which) throw Error("technique", "'{}' is there twice", name);
    *which = true;
  }
  return t;
}

void GatePlan::parameter_weights(std::span<const float> weights, std::span<float> out_weights) const {
  int closed = -1;  // everything up to this place gets nothing
  for (size_t b = 0; b < out.size(); ++b) {
    if (weights[b] == 0.0f) closed = std::max(closed, out[b]);
  }
  for (size_t b = 0; b < weights.size(); ++b) {
    const bool cut = weights[b] == 0.0f || (!out.empty() && highest[b] <= closed);
    out_weights[b] = cut ? 0.0f : scale || !gated[b] ? weights[b] : 1.0f;
  }
}

}  // namespace govtrain
