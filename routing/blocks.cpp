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

int layer_count(const std::vector<ParameterInfo>& parameters) {
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
  std::vector<bool> seen(static_cast<size_t>(layers), false);
  for (const ParameterInfo& p : parameters) {
    if (p.layer >= 0 && p.layer < layers) seen[static_cast<size_t>(p.layer)] = true;
  }
  const auto missing = std::find(seen.begin(), seen.end(), false) - seen.begin();
  if (missing < layers) throw Error("blocks", "layer {} of {} has no parameters", missing, layers);
  return layers;
}

void describe_blocks(BlockMap& map, const std::vector<ParameterInfo>& parameters) {
  map.layers = layer_count(parameters);
  map.info.assign(map.names.size(), {});
  for (const Slice& s : map.slices) {
    if (s.parameter < 0 || static_cast<size_t>(s.parameter) >= parameters.size() || s.block < 0 ||
        s.block >= map.blocks()) {
      throw Error("blocks", "a slice names parameter {} of {} and block {} of {}", s.parameter, parameters.size(),
                  s.block, map.blocks());
    }
    const ParameterInfo& p = parameters[static_cast<size_t>(s.parameter)];
    BlockInfo& info = map.info[static_cast<size_t>(s.block)];
    info.layer_first = info.empty() ? p.layer : std::min(info.layer_first, p.layer);
    info.layer_last = std::max(info.layer_last, p.layer);
    info.elements += s.elements();
    const auto at = std::lower_bound(info.roles.begin(), info.roles.end(), p.role);
    if (at == info.roles.end() || *at != p.role) info.roles.insert(at, p.role);
  }
}

BlockMap blocks_by_layer(const std::vector<ParameterInfo>& parameters) {
  const int layers = layer_count(parameters);
  std::vector<int> block(static_cast<size_t>(layers) + 2, -1);
  for (const ParameterInfo& p : parameters) block[static_cast<size_t>(p.layer + 1)] = 0;
  BlockMap map;
  for (int layer = -1; layer <= layers; ++layer) {
    int& index = block[static_cast<size_t>(layer + 1)];
    if (index < 0) continue;
    index = map.blocks();
    map.names.push_back(layer < 0 ? "embedding" : layer < layers ? fmt::format("layer.{}", layer) : "head");
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& p = parameters[i];
    map.slices.push_back({static_cast<int>(i), block[static_cast<size_t>(p.layer + 1)], 0, p.rows, 0, p.cols});
  }
  describe_blocks(map, parameters);
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

int owner(const BlockMap& map, const Slice& area) {
  int found = -1;
  for (const Slice& s : map.slices) {
    const bool meets = s.parameter == area.parameter && s.row_begin < area.row_end && area.row_begin < s.row_end &&
                       s.col_begin < area.col_end && area.col_begin < s.col_end;
    if (!meets || s.block == found) continue;
    if (found >= 0) return -1;
    found = s.block;
  }
  return found;
}

int owner(const BlockMap& map, const std::vector<ParameterInfo>& parameters, int parameter) {
  const ParameterInfo& p = parameters.at(static_cast<size_t>(parameter));
  return owner(map, {parameter, 0, 0, p.rows, 0, p.cols});
}

Slice part_of(const std::vector<ParameterInfo>& parameters, int parameter, int64_t begin, int64_t end) {
  const ParameterInfo& p = parameters.at(static_cast<size_t>(parameter));
  const bool rows = p.division.axis == Division::Axis::rows;
  const int64_t size = (rows ? p.rows : p.cols) / p.division.parts;
  return rows ? Slice{parameter, 0, begin * size, end * size, 0, p.cols}
              : Slice{parameter, 0, 0, p.rows, begin * size, end * size};
}

std::vector<Slice> head_slices(const std::vector<ParameterInfo>& parameters, int layer, int64_t head) {
  int64_t heads = 0;
  const auto divided = [&](const ParameterInfo& p) {
    return p.layer == layer && p.role == "attention" && p.division.axis != Division::Axis::none;
  };
  for (const ParameterInfo& p : parameters) {
    if (divided(p)) heads = std::max(heads, p.division.parts);
  }
  std::vector<Slice> out;
  for (size_t i = 0; i < parameters.size() && head >= 0 && head < heads; ++i) {
    if (divided(parameters[i]) && parameters[i].division.parts == heads) {
      out.push_back(part_of(parameters, static_cast<int>(i), head, head + 1));
    }
  }
  return out;
}

int head_owner(const BlockMap& map, const std::vector<ParameterInfo>& parameters, int layer, int64_t head) {
  int found = -1;
  for (const Slice& s : head_slices(parameters, layer, head)) {
    const int block = owner(map, s);
    if (block < 0 || (found >= 0 && block != found)) return -1;
    found = block;
  }
  return found;
}

bool contiguous_in_depth(const BlockMap& map) {
  if (map.info.size() != map.names.size()) throw Error("blocks", "the block map was not described");
  std::vector<const BlockInfo*> order;
  for (const BlockInfo& info : map.info) {
    if (!info.empty()) order.push_back(&info);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->layer_first < b->layer_first; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->layer_first <= order[i - 1]->layer_last) return false;
  }
  return true;
}

}  // namespace govtrain
