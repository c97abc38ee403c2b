// The decision for one batch: how strongly each example may teach each block, and why. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace govtrain {

struct RouteTable {
  int examples = 0;
  int blocks = 0;
  std::vector<float> weight;  // [examples, blocks]; finite; 0 keeps out, 1 admits
  std::vector<int32_t> rule;  // [examples, blocks]; index into the policy's rule table, of the rule that decided

  RouteTable() = default;
  RouteTable(int e, int b, float w)
      : examples(e), blocks(b), weight(static_cast<size_t>(e) * static_cast<size_t>(b), w), rule(weight.size(), 0) {}
  float& at(int e, int b) {
    return weight[static_cast<size_t>(e) * static_cast<size_t>(blocks) + static_cast<size_t>(b)];
  }
  float at(int e, int b) const {
    return weight[static_cast<size_t>(e) * static_cast<size_t>(blocks) + static_cast<size_t>(b)];
  }
  // weight[e, :].
  std::span<const float> row(size_t e) const {
    const auto n = static_cast<size_t>(blocks);
    return {weight.data() + e * n, n};
  }
  // weight[:, b] as [examples].
  std::vector<float> column(int b) const {
    std::vector<float> out(static_cast<size_t>(examples));
    for (int e = 0; e < examples; ++e) out[static_cast<size_t>(e)] = at(e, b);
    return out;
  }
};

}  // namespace govtrain
