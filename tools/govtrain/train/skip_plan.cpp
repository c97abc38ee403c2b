#include "tools/govtrain/train/skip_plan.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace govtrain {
namespace {

template <class T>
void append(const std::vector<T>& from, size_t begin, size_t count, std::vector<T>& to) {
  const auto first = from.begin() + static_cast<std::ptrdiff_t>(begin);
  to.insert(to.end(), first, first + static_cast<std::ptrdiff_t>(count));
}

}  // namespace

SkipPlan::SkipPlan(const ParameterSet& set, const GatePlan* gates, bool by_profile)
    : gates_(gates), by_profile_(by_profile), below_(static_cast<size_t>(set.blocks()), 0) {
  std::vector<bool> seen(below_.size(), false);
  for (size_t i = 0; i < set.size(); ++i) {
    for (const Parameter::Slice& s : set[i].slices()) {
      const auto b = static_cast<size_t>(s.block);
      if (!seen[b]) below_[b] = elements_;
      seen[b] = true;
    }
    elements_ += set[i].info().layer < 0 ? 1 : set[i].value().size();
  }
}

int64_t SkipPlan::below(std::span<const float> weights) const {
  std::vector<float> own(weights.begin(), weights.end());
  if (gates_ != nullptr) gates_->parameter_weights(weights, own);
  int64_t lowest = nothing();
  for (size_t b = 0; b < own.size(); ++b) {
    if (own[b] != 0.0f) lowest = std::min(lowest, below_[b]);
  }
  return lowest;
}

std::vector<size_t> arrange(Batch& batch, RouteTable& route, const SkipPlan& plan) {
  const size_t n = batch.examples.size();
  if (static_cast<size_t>(route.examples) != n) {
    throw Error("arrange", "route table; expected {} examples, got {}", n, route.examples);
  }
  std::vector<int64_t> key(n);
  for (size_t e = 0; e < n; ++e) key[e] = plan.below(route.row(e));
  const auto before = [&](size_t a, size_t b) {
    if (key[a] != key[b] || !plan.by_profile()) return key[a] < key[b];
    const auto left = route.row(a), right = route.row(b);
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end());
  };
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  if (std::is_sorted(order.begin(), order.end(), before)) return order;
  std::stable_sort(order.begin(), order.end(), before);

  Batch to = batch;
  to.tokens.clear();
  to.targets.clear();
  to.examples.clear();
  RouteTable table(route.examples, route.blocks, 0);
  table.weight.clear();
  table.rule.clear();
  std::vector<int32_t> lengths;
  const auto blocks = static_cast<size_t>(route.blocks);
  for (const size_t e : order) {
    const auto i = static_cast<int>(e);
    const auto begin = static_cast<size_t>(batch.rows.begin(i));
    const auto length = static_cast<size_t>(batch.rows.length(i));
    append(batch.tokens, begin, length, to.tokens);
    append(batch.targets, begin, length, to.targets);
    append(route.weight, e * blocks, blocks, table.weight);
    append(route.rule, e * blocks, blocks, table.rule);
    to.examples.push_back(batch.examples[e]);
    lengths.push_back(batch.rows.length(i));
  }
  to.rows = Rows::of_lengths(lengths);
  batch = std::move(to);
  route = std::move(table);
  return order;
}

}  // namespace govtrain
