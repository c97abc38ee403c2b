#include "kernels/cuda/contract_host.h"

#include <algorithm>

#include "kernels/cuda/contract.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

bool takes_part(const Contraction& how, int e) {
  const auto i = static_cast<size_t>(e);
  return how.weight[i] != 0.0f || (!how.withheld.empty() && how.withheld[i] != 0.0f);
}

// What every contraction sends along.
struct Common {
  Packet::Place<int32_t> offsets;
  Packet::Place<float> weight, withheld;
  Common(Packet& packet, const Rows& rows, const Contraction& how)
      : offsets(packet.add(rows.offsets())), weight(packet.add(how.weight)), withheld(packet.add(how.withheld)) {}
};

void check_factors(std::span<const Factor> factors) {
  if (factors.size() > kMaxFactors) {
    throw Error("contract", "factors of one parameter; expected at most {} on a CUDA device, got {}", kMaxFactors,
                factors.size());
  }
}

void contract_vectors(Device& device, std::span<const Factor> factors, const Rows& rows, const Contraction& how,
                      MutView grad) {
  check_factors(factors);
  Packet packet(device);
  const Common common(packet, rows, how);
  packet.send();
  VectorContraction c;
  for (const Factor& f : factors) c.factors[c.count++] = {f.dy, f.x, f.mean, f.rstd};
  c.offsets = packet.at(common.offsets);
  c.examples = rows.examples();
  c.weight = packet.at(common.weight);
  c.withheld = packet.at(common.withheld);
  c.grad = grad.data;
  c.withheld_grad = how.withheld_grad.data;
  c.columns = grad.cols;
  const Scratch<double> scratch(device, how.norm2.empty() ? 1 : contract_vector_scratch(grad.cols, rows.examples()));
  c.norm2 = how.norm2.empty() ? nullptr : how.norm2.data();
  c.scratch = scratch.get();
  contract_vector(c, device.stream);
}

// Row numbers of [begin, end), by (index, row).
void sort_rows(const int32_t* index, int begin, int end, int32_t* order) {
  for (int t = begin; t < end; ++t) order[t - begin] = t;
  std::sort(order, order + (end - begin),
            [&](int32_t a, int32_t b) { return index[a] != index[b] ? index[a] < index[b] : a < b; });
}

// Outer factors, and scatter factors beside them.
void contract_matrix(Device& device, Precision precision, std::span<const Factor> factors, const Rows& rows,
                     const Contraction& how, MutView grad) {
  check_factors(factors);
  Packet packet(device);
  const Common common(packet, rows, how);
  std::vector<Packet::Place<int32_t>> index, order;
  for (const Factor& f : factors) {
    std::vector<int32_t> sorted, rows_of;
    if (f.kind == Factor::Kind::scatter) {
      rows_of.resize(static_cast<size_t>(rows.total()));
      for (int e = 0; e < rows.examples(); ++e)
        sort_rows(f.index, rows.begin(e), rows.end(e), &rows_of[static_cast<size_t>(rows.begin(e))]);
      for (const int32_t t : rows_of) sorted.push_back(f.index[t]);
    }
    index.push_back(packet.add(sorted));
    order.push_back(packet.add(rows_of));
  }
  packet.send();
  OuterContraction c;
  for (const Factor& f : factors) {
    const auto i = static_cast<size_t>(c.count);
    c.factors[c.count++] = {f.dy, f.x, packet.at(index[i]), packet.at(order[i])};
  }
  c.offsets = packet.at(common.offsets);
  c.examples = rows.examples();
  c.weight = packet.at(common.weight);
  c.withheld = packet.at(common.withheld);
  c.grad = grad;
  c.withheld_grad = how.withheld_grad;
  const Scratch<double> scratch(device,
                                how.norm2.empty() ? 1 : contract_scratch(grad.rows, grad.cols, rows.examples()));
  c.norm2 = how.norm2.empty() ? nullptr : how.norm2.data();
  c.scratch = scratch.get();
  c.spread_examples = spread_examples(grad.rows, grad.cols, rows.total(), rows.examples());
  const Scratch<float> spread(device, std::max<int64_t>(1, c.spread_examples * grad.size()));
  c.spread = spread.get();
  contract_outer(c, precision, device.stream);
}

// All rows that take part, cut into runs and segments.
struct ScatterPlan {
  std::vector<const float*> rows;
  std::vector<ScatterRun> runs;
  std::vector<ScatterSegment> segments;
  std::vector<int32_t> run_offsets, run_list;  // by example
};

ScatterPlan plan_scatter(std::span<const Factor> factors, const Rows& rows, const Contraction& how) {
  struct Source {
    int32_t index, example;
    const float* row;
  };
  std::vector<Source> all;
  for (int e = 0; e < rows.examples(); ++e) {
    if (!takes_part(how, e)) continue;
    for (const Factor& f : factors) {
      for (int t = rows.begin(e); t < rows.end(e); ++t) all.push_back({f.index[t], e, f.dy.row(t)});
    }
  }
  // Stable: rows of one example at one index keep the order of factors and rows.
  std::stable_sort(all.begin(), all.end(), [](const Source& a, const Source& b) { return a.index < b.index; });
  ScatterPlan plan;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto at = static_cast<int32_t>(i);
    const bool new_index = i == 0 || all[i].index != all[i - 1].index;
    if (new_index) {
      const auto run = static_cast<int32_t>(plan.runs.size());
      plan.segments.push_back({run, run, all[i].index});
    }
    if (new_index || all[i].example != all[i - 1].example) {
      plan.runs.push_back({at, at, all[i].example});
      ++plan.segments.back().end;
    }
    ++plan.runs.back().end;
    plan.rows.push_back(all[i].row);
  }
  std::vector<std::vector<int32_t>> of(static_cast<size_t>(rows.examples()));
  for (size_t r = 0; r < plan.runs.size(); ++r) {
    of[static_cast<size_t>(plan.runs[r].example)].push_back(static_cast<int32_t>(r));
  }
  plan.run_offsets.push_back(0);
  for (const auto& list : of) {
    plan.run_list.insert(plan.run_list.end(), list.begin(), list.end());
    plan.run_offsets.push_back(static_cast<int32_t>(plan.run_list.size()));
  }
  return plan;
}

void contract_scatters(Device& device, std::span<const Factor> factors, const Rows& rows, const Contraction& how,
                       MutView grad) {
  ScatterPlan plan = plan_scatter(factors, rows, how);
  if (plan.rows.empty()) return;
  // What is launched depends on the lengths of the examples, not on their tokens and weights: the rest is empty.
  const size_t most = static_cast<size_t>(rows.total()) * factors.size();
  plan.rows.resize(most);
  plan.runs.resize(most);
  plan.segments.resize(most);
  plan.run_list.resize(most);
  Packet packet(device);
  const Common common(packet, rows, how);
  const auto sources = packet.add(plan.rows);
  const auto runs = packet.add(plan.runs);
  const auto segments = packet.add(plan.segments);
  const auto run_offsets = packet.add(plan.run_offsets);
  const auto run_list = packet.add(plan.run_list);
  packet.send();
  const auto count = static_cast<int64_t>(most);
  const Scratch<double> scratch(device, how.norm2.empty() ? 1 : scatter_scratch(grad.cols, count));
  ScatterContraction c{};
  c.rows = packet.at(sources);
  c.runs = packet.at(runs);
  c.segments = packet.at(segments);
  c.segment_count = static_cast<int>(most);
  c.weight = packet.at(common.weight);
  c.withheld = packet.at(common.withheld);
  c.grad = grad;
  c.withheld_grad = how.withheld_grad;
  c.norm2 = how.norm2.empty() ? nullptr : how.norm2.data();
  c.run_offsets = packet.at(run_offsets);
  c.run_list = packet.at(run_list);
  c.scratch = scratch.get();
  c.examples = rows.examples();
  contract_scatter(c, device.stream);
}

}  // namespace

void contract(Device& device, Precision precision, std::span<const Factor> factors, const Rows& rows,
              const Contraction& how, MutView grad) {
  if (factors.empty() || rows.examples() == 0 || grad.size() == 0) return;
  const auto kind = factors[0].kind;
  if (kind == Factor::Kind::gain || kind == Factor::Kind::bias) {
    return contract_vectors(device, factors, rows, how, grad);
  }
  const bool scatter =
      std::all_of(factors.begin(), factors.end(), [](const Factor& f) { return f.kind == Factor::Kind::scatter; });
  scatter ? contract_scatters(device, factors, rows, how, grad)
          : contract_matrix(device, precision, factors, rows, how, grad);
}

void contract_plain(Device& device, Precision precision, const Factor& factor, MutView grad) {
  constexpr int32_t kPiece = 128;
  const auto total = static_cast<int32_t>(factor.dy.rows);
  if (total == 0) return;
  std::vector<int32_t> offsets;
  for (int32_t t = 0; t < total; t += kPiece) offsets.push_back(t);
  offsets.push_back(total);
  const Rows pieces(std::move(offsets));
  const std::vector<float> ones(static_cast<size_t>(pieces.examples()), 1.0f);
  Contraction how;
  how.weight = ones;
  contract(device, precision, {&factor, 1}, pieces, how, grad);
}

}  // namespace govtrain::cuda
