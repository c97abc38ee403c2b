#include "routing/blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

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

template <class Key>
void join_along(std::vector<Slice>& slices, int64_t Slice::*begin, int64_t Slice::*end, Key same) {
  size_t kept = 0;
  for (size_t i = 0; i < slices.size(); ++i) {
    const bool joins =
        kept > 0 && same(slices[kept - 1]) == same(slices[i]) && slices[kept - 1].*end == slices[i].*begin;
    if (joins) {
      slices[kept - 1].*end = slices[i].*end;
    } else {
      slices[kept++] = slices[i];
    }
  }
  slices.resize(kept);
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
    const auto place = std::lower_bound(info.places.begin(), info.places.end(), p.layer);
    if (place == info.places.end() || *place != p.layer) info.places.insert(place, p.layer);
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

void merge_slices(std::vector<Slice>& slices) {
  const auto rows_of = [](const Slice& s) { return std::tuple(s.parameter, s.block, s.col_begin, s.col_end); };
  const auto cols_of = [](const Slice& s) { return std::tuple(s.parameter, s.block, s.row_begin, s.row_end); };
  std::sort(slices.begin(), slices.end(), [&](const Slice& a, const Slice& b) {
    return std::tuple(rows_of(a), a.row_begin) < std::tuple(rows_of(b), b.row_begin);
  });
  join_along(slices, &Slice::row_begin, &Slice::row_end, rows_of);
  std::sort(slices.begin(), slices.end(), [&](const Slice& a, const Slice& b) {
    return std::tuple(cols_of(a), a.col_begin) < std::tuple(cols_of(b), b.col_begin);
  });
  join_along(slices, &Slice::col_begin, &Slice::col_end, cols_of);
  std::sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) {
    return std::tuple(a.parameter, a.row_begin, a.col_begin, a.block) <
           std::tuple(b.parameter, b.row_begin, b.col_begin, b.block);
  });
}

// Walks the bands of rows between slice edges; within a band the slices are intervals of columns.
Cover cover_of(const ParameterInfo& p, int index, const std::vector<Slice>& slices) {
  std::vector<int64_t> edges{0, p.rows};
  for (const Slice& s : slices) edges.insert(edges.end(), {s.row_begin, s.row_end});
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  std::vector<size_t> order(slices.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return slices[a].col_begin < slices[b].col_begin; });
  Cover out;
  std::map<std::pair<size_t, size_t>, std::vector<Slice>> twice;  // slices by position, earlier first
  for (size_t i = 0; i + 1 < edges.size(); ++i) {
    const int64_t r0 = edges[i], r1 = edges[i + 1];
    int64_t covered = 0;         // columns [0, covered) are owned
    std::vector<size_t> active;  // those that may still reach further
    for (const size_t k : order) {
      const Slice& s = slices[k];
      if (s.row_begin > r0 || s.row_end < r1) continue;
      if (s.col_begin > covered) out.gaps.push_back({index, 0, r0, r1, covered, s.col_begin});
      std::erase_if(active, [&](size_t a) { return slices[a].col_end <= s.col_begin; });
      for (const size_t a : active) {
        twice[{std::min(a, k), std::max(a, k)}].push_back(
            {index, 0, r0, r1, s.col_begin, std::min(s.col_end, slices[a].col_end)});
      }
      active.push_back(k);
      covered = std::max(covered, s.col_end);
    }
    if (covered < p.cols) out.gaps.push_back({index, 0, r0, r1, covered, p.cols});
  }
  merge_slices(out.gaps);
  for (auto& [pair, areas] : twice) {
    merge_slices(areas);
    for (Slice& area : areas) {
      area.block = slices[pair.second].block;
      out.overlaps.push_back({area, slices[pair.first].block});
    }
  }
  return out;
}

std::string area_text(const ParameterInfo& p, const Slice& s) {
  const bool all_rows = s.row_begin == 0 && s.row_end == p.rows, all_cols = s.col_begin == 0 && s.col_end == p.cols;
  if (all_rows && all_cols) return "all of it";
  const auto range = [](const char* what, bool all, int64_t begin, int64_t end) {
    return all                ? fmt::format("all {}s", what)
           : end - begin == 1 ? fmt::format("{} {}", what, begin)
                              : fmt::format("{}s {}-{}", what, begin, end - 1);
  };
  if (p.rows == 1) return range("column", all_cols, s.col_begin, s.col_end);
  return range("row", all_rows, s.row_begin, s.row_end) + ", " + range("column", all_cols, s.col_begin, s.col_end);
}

void check_partition(const BlockMap& map, const std::vector<ParameterInfo>& parameters) {
  std::vector<std::string> problems;
  for (const Slice& s : map.slices) check_bounds(map, parameters, s, problems);
  if (problems.empty()) {
    std::vector<std::vector<Slice>> by_parameter(parameters.size());
    for (const Slice& s : map.slices) by_parameter[static_cast<size_t>(s.parameter)].push_back(s);
    const auto name = [&](int block) { return map.names[static_cast<size_t>(block)]; };
    for (size_t i = 0; i < parameters.size() && problems.size() <= max_listed; ++i) {
      const ParameterInfo& p = parameters[i];
      const Cover cover = cover_of(p, static_cast<int>(i), by_parameter[i]);
      const auto text = [&](const Slice& s) { return area(p, s.row_begin, s.row_end, s.col_begin, s.col_end); };
      for (const Slice& gap : cover.gaps) problems.push_back("no block owns " + text(gap));
      for (const auto& both : cover.overlaps) {
        problems.push_back(
            fmt::format("both {} and {} own {}", name(both.earlier), name(both.area.block), text(both.area)));
      }
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
