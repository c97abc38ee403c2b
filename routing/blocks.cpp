#include "routing/blocks.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace govtrain {
namespace {

constexpr size_t max_listed = 20;

// [row_begin, row_end) x [col_begin, col_end) of one parameter, for messages.
std::string area(const ParameterInfo& p, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  return fmt::format("{}[{}:{}, {}:{}]", p.name, r0, r1, c0, c1);
}

void check_bounds(const BlockMap& map, const std::vector<ParameterInfo>& parameters, const Slice& s,
                  std::vector<std::string>& problems) {
  if (s.parameter < 0 || static_cast<size_t>(s.parameter) >= parameters.size()) {
    problems.push_back(fmt::format("a slice names parameter {} of {}", s.parameter, parameters.size()));
    return;
  }
  const ParameterInfo& p = parameters[static_cast<size_t>(s.parameter)];
  const bool inside = 0 <= s.row_begin && s.row_begin < s.row_end && s.row_end <= p.rows && 0 <= s.col_begin &&
                      s.col_begin < s.col_end && s.col_end <= p.cols;
  if (!inside) {
    problems.push_back(fmt::format("{} is empty or outside of the parameter's [{}, {}]",
                                   area(p, s.row_begin, s.row_end, s.col_begin, s.col_end), p.rows, p.cols));
  }
  if (s.block < 0 || s.block >= map.blocks()) {
    problems.push_back(fmt::format("a slice of {} names block {} of {}", p.name, s.block, map.blocks()));
  }
}

// Walks the bands of rows between slice edges; within a band the slices are intervals of columns.
void check_cover(const BlockMap& map, const ParameterInfo& p, std::vector<Slice> slices,
                 std::vector<std::string>& problems) {
  std::vector<int64_t> edges{0, p.rows};
  for (const Slice& s : slices) edges.insert(edges.end(), {s.row_begin, s.row_end});
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  std::stable_sort(slices.begin(), slices.end(),
                   [](const Slice& a, const Slice& b) { return a.col_begin < b.col_begin; });
  for (size_t i = 0; i + 1 < edges.size() && problems.size() <= max_listed; ++i) {
    const int64_t r0 = edges[i], r1 = edges[i + 1];
    int64_t covered = 0;  // columns [0, covered) are owned, up to here by `owner`
    const Slice* owner = nullptr;
    for (const Slice& s : slices) {
      if (s.row_begin > r0 || s.row_end < r1) continue;
      if (s.col_begin > covered) problems.push_back("no block owns " + area(p, r0, r1, covered, s.col_begin));
      if (s.col_begin < covered) {
        problems.push_back(fmt::format("both {} and {} own {}", map.names[static_cast<size_t>(owner->block)],
                                       map.names[static_cast<size_t>(s.block)],
                                       area(p, r0, r1, s.col_begin, std::min(covered, s.col_end))));
      }
      if (s.col_end > covered) {
        covered = s.col_end;
        owner = &s;
      }
    }
    if (covered < p.cols) problems.push_back("no block owns " + area(p, r0, r1, covered, p.cols));
  }
}

}  // namespace

BlockMap blocks_by_layer(const std::vector<ParameterInfo>& parameters) {
  if (parameters.empty()) throw Error("blocks", "the model has no parameters");
  int last = -1;
  for (const ParameterInfo& p : parameters) {
    if (p.rows <= 0 || p.cols <= 0) throw Error("blocks", "parameter {} has shape [{}, {}]", p.name, p.rows, p.cols);
    if (p.layer < -1) throw Error("blocks", "parameter {} names layer {}; expected -1 or more", p.name, p.layer);
    last = std::max(last, p.layer);
  }
  // The last index is the head's unless a layer's own parameters stand there.
  const bool ends_in_head = last >= 0 && std::all_of(parameters.begin(), parameters.end(), [&](const ParameterInfo& p) {
                              return p.layer != last || p.role == "norm" || p.role == "head";
                            });
  const int layers = ends_in_head ? last : last + 1;
  std::vector<std::vector<Slice>> owned(static_cast<size_t>(layers) + 2);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& p = parameters[i];
    owned[static_cast<size_t>(p.layer + 1)].push_back({static_cast<int>(i), 0, 0, p.rows, 0, p.cols});
  }
  BlockMap map;
  for (int layer = -1; layer <= layers; ++layer) {
    std::vector<Slice>& slices = owned[static_cast<size_t>(layer + 1)];
    const bool inner = layer >= 0 && layer < layers;
    if (slices.empty() && inner) throw Error("blocks", "layer {} of {} has no parameters", layer, layers);
    if (slices.empty()) continue;
    map.names.push_back(layer < 0 ? "embedding" : inner ? fmt::format("layer.{}", layer) : "head");
    for (Slice& s : slices) {
      s.block = map.blocks() - 1;
      map.slices.push_back(s);
    }
  }
  std::stable_sort(map.slices.begin(), map.slices.end(),
                   [](const Slice& a, const Slice& b) { return a.parameter < b.parameter; });
  return map;
}

void check_partition(const BlockMap& map, const std::vector<ParameterInfo>& parameters) {
  std::vector<std::string> problems;
  for (const Slice& s : map.slices) check_bounds(map, parameters, s, problems);
  if (problems.empty()) {
    std::vector<std::vector<Slice>> by_parameter(parameters.size());
    for (const Slice& s : map.slices) by_parameter[static_cast<size_t>(s.parameter)].push_back(s);
    for (size_t i = 0; i < parameters.size() && problems.size() <= max_listed; ++i) {
      check_cover(map, parameters[i], by_parameter[i], problems);
    }
  }
  if (problems.empty()) return;
  const bool more = problems.size() > max_listed;
  if (more) problems.resize(max_listed);
  throw Error("blocks", "expected each element in exactly one block, got: {}{}", fmt::join(problems, "; "),
              more ? "; and more" : "");
}

}  // namespace govtrain
