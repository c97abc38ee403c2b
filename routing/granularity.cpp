#include "routing/granularity.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "core/error.h"
#include "core/hash.h"
#include "routing/block_file.h"
#include "routing/learned_blocks.h"
#include "routing/share.h"

namespace govtrain {
namespace {

// "model.layers.3.mlp.up_proj.weight" in layer 3 -> "mlp.up_proj.weight"; outside of layers only the root goes.
std::string short_name(const ParameterInfo& p) {
  const std::string inner = fmt::format(".{}.", p.layer);
  const size_t at = p.layer < 0 ? std::string::npos : p.name.find(inner);
  if (at != std::string::npos) return p.name.substr(at + inner.size());
  for (const std::string root : {"model.", "transformer."}) {
    if (p.name.rfind(root, 0) == 0) return p.name.substr(root.size());
  }
  return p.name;
}

// Heads of the queries of each layer: the parts of keys and values are as many, or fewer.
std::map<int, int64_t> heads_of_layers(const std::vector<ParameterInfo>& parameters) {
  std::map<int, int64_t> heads;
  for (const ParameterInfo& p : parameters) {
    if (p.role == "attention") heads[p.layer] = std::max(heads[p.layer], p.division.parts);
  }
  return heads;
}

class Sets {
 public:
  void own(const std::string& name, const Slice& slice) {
    const auto [it, fresh] = index_.emplace(name, sets_.size());
    if (fresh) sets_.push_back({name, {}});
    sets_[it->second].slices.push_back(slice);
  }
  std::vector<NamedSlices> take() { return std::move(sets_); }

 private:
  std::map<std::string, size_t> index_;
  std::vector<NamedSlices> sets_;
};

Slice whole(const std::vector<ParameterInfo>& parameters, size_t i) {
  return {static_cast<int>(i), 0, 0, parameters[i].rows, 0, parameters[i].cols};
}

// One block for each run of layers; `name_of` gives the name of a layer's block.
template <class NameOf>
std::vector<NamedSlices> by_depth(const std::vector<ParameterInfo>& parameters, int layers, NameOf name_of) {
  Sets sets;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const int layer = parameters[i].layer;
    const bool inner = layer >= 0 && layer < layers;
    sets.own(inner ? name_of(layer) : place_name(layer, layers), whole(parameters, i));
  }
  return sets.take();
}

std::string group_name(int64_t first, int64_t last) {
  return first == last ? fmt::format("layer.{}", first) : fmt::format("layer.{}-{}", first, last);
}

std::vector<NamedSlices> by_position(const BlockSpec& spec, const std::vector<ParameterInfo>& parameters, int layers,
                                     Diagnostics& diagnostics) {
  std::vector<std::string> of_layer;
  int64_t sum = 0;
  for (const DepthShare& share : spec.shares) {
    sum += share.share;
    const auto end = static_cast<size_t>(std::min<int64_t>(share_down(layers, sum), layers));
    if (end <= of_layer.size()) {
      diagnostics.error(spec.at, fmt::format("blocks.shares: {} has no layer of {}", in_quotes(share.name), layers),
                        "give it a larger share");
    }
    while (of_layer.size() < end) of_layer.push_back(share.name);
  }
  if (sum != whole_share) {
    diagnostics.error(spec.at, fmt::format("blocks.shares: the shares add up to {}%; expected 100%", sum / 1000.0));
  }
  of_layer.resize(static_cast<size_t>(layers), "?");
  return by_depth(parameters, layers, [&](int layer) { return of_layer[static_cast<size_t>(layer)]; });
}

}  // namespace

const std::vector<std::string>& granularity_names() {
  static const std::vector<std::string> names = {"layer",    "group",  "position",  "role",   "head",
                                                 "channels", "tensor", "selectors", "learned"};
  return names;
}

bool is_block_name(const std::string& text) {
  for (const char* word : {"all", "rest", "first", "last", "role", "none", "embedding", "head"}) {
    if (text == word) return false;
  }
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
  return plain && !text.empty() && text.size() <= 100 && text.rfind("layer.", 0) != 0;
}

std::string place_name(int layer, int layers) {
  return layer < 0 ? "embedding" : layer < layers ? fmt::format("layer.{}", layer) : "head";
}

std::optional<DepthShare> parse_depth_share(const std::string& text, std::string& problem) {
  const size_t space = text.find(' ');
  const std::string name = text.substr(0, space);
  const auto share =
      space == std::string::npos || text.back() != '%' ? std::nullopt : parse_percentage(text.substr(space + 1));
  if (!share) {
    problem = fmt::format("expected a name and a percentage such as 'shallow 50%', found {}", in_quotes(text));
    return {};
  }
  if (!is_block_name(name)) {
    problem = fmt::format("{} is not a name for a block of layers", in_quotes(name));
    return {};
  }
  return DepthShare{name, *share};
}

std::vector<NamedSlices> plain_units(Granularity by, int64_t ranges, const std::vector<ParameterInfo>& parameters) {
  const int layers = layer_count(parameters);
  const std::map<int, int64_t> heads = heads_of_layers(parameters);
  Sets sets;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& p = parameters[i];
    const int index = static_cast<int>(i);
    const std::string place = place_name(p.layer, layers);
    const bool inner = p.layer >= 0 && p.layer < layers;
    const bool divided = p.division.axis != Division::Axis::none;
    if (by == Granularity::tensor) {
      sets.own(place + "." + short_name(p), whole(parameters, i));
    } else if (by == Granularity::layer || (!inner && (by != Granularity::role || p.layer < 0))) {
      sets.own(place, whole(parameters, i));
    } else if (!inner) {
      sets.own(place + (p.role == "head" ? ".output" : "." + p.role), whole(parameters, i));
    } else if (by == Granularity::head && p.role == "attention") {
      const char* kind = p.division.parts == heads.at(p.layer) ? "head" : "kv";
      for (int64_t k = 0; divided && k < p.division.parts; ++k) {
        sets.own(fmt::format("{}.attention.{}.{}", place, kind, k), part_of(parameters, index, k, k + 1));
      }
      if (!divided) sets.own(place + ".attention.rest", whole(parameters, i));
    } else if (by == Granularity::channels && p.role == "mlp") {
      const int64_t n = p.division.parts;
      for (int64_t k = 0; divided && k < ranges; ++k) {
        sets.own(fmt::format("{}.mlp.channels.{}", place, k),
                 part_of(parameters, index, n * k / ranges, n * (k + 1) / ranges));
      }
      if (!divided) sets.own(place + ".mlp.rest", whole(parameters, i));
    } else {
      sets.own(place + "." + p.role, whole(parameters, i));
    }
  }
  return sets.take();
}

BlockMap to_block_map(std::vector<NamedSlices> sets, const std::vector<ParameterInfo>& parameters) {
  for (NamedSlices& set : sets) merge_slices(set.slices);
  const auto first = [](const NamedSlices& set) {
    const Slice& s = set.slices.front();
    return std::tuple(s.parameter, s.row_begin, s.col_begin);
  };
  std::stable_sort(sets.begin(), sets.end(),
                   [&](const NamedSlices& a, const NamedSlices& b) { return first(a) < first(b); });
  BlockMap map;
  for (NamedSlices& set : sets) {
    for (Slice& s : set.slices) {
      s.block = map.blocks();
      map.slices.push_back(s);
    }
    map.names.push_back(std::move(set.name));
  }
  std::stable_sort(map.slices.begin(), map.slices.end(), [](const Slice& a, const Slice& b) {
    return std::tuple(a.parameter, a.row_begin, a.col_begin) < std::tuple(b.parameter, b.row_begin, b.col_begin);
  });
  describe_blocks(map, parameters);
  return map;
}

BlockMap make_blocks(const BlockSpec& spec, const std::vector<ParameterInfo>& parameters, Diagnostics& diagnostics) {
  const int errors = diagnostics.errors();
  const int layers = layer_count(parameters);
  std::vector<NamedSlices> sets;
  switch (spec.by) {
    case Granularity::group:
      sets = by_depth(parameters, layers, [&](int64_t layer) {
        const int64_t begin = layer / spec.group_layers * spec.group_layers;
        return group_name(begin, std::min<int64_t>(begin + spec.group_layers, layers) - 1);
      });
      break;
    case Granularity::position:
      sets = by_position(spec, parameters, layers, diagnostics);
      break;
    case Granularity::channels:
      for (const ParameterInfo& p : parameters) {
        if (p.role != "mlp" || p.division.parts == 0 || p.division.parts >= spec.ranges) continue;
        diagnostics.error(spec.at, fmt::format("blocks.ranges: {} ranges of {} channels would be empty", spec.ranges,
                                               p.division.parts));
        break;
      }
      sets = plain_units(spec.by, spec.ranges, parameters);
      break;
    case Granularity::selectors:
      sets = select_blocks(*spec.file, parameters, diagnostics);
      break;
    case Granularity::learned:
      sets = learned_sets(*spec.learned, parameters, diagnostics);
      break;
    default:
      sets = plain_units(spec.by, spec.ranges, parameters);
  }
  if (diagnostics.errors() > errors) return {};
  BlockMap map = to_block_map(std::move(sets), parameters);
  check_partition(map, parameters);
  return map;
}

std::string block_map_digest(const BlockMap& map, const std::vector<ParameterInfo>& parameters) {
  std::string text;
  for (const std::string& name : map.names) text += name + "\n";
  for (const Slice& s : map.slices) {
    text += fmt::format("{} {} {} {} {} {}\n", parameters.at(static_cast<size_t>(s.parameter)).name, s.block,
                        s.row_begin, s.row_end, s.col_begin, s.col_end);
  }
  return hex(sha256(text));
}

}  // namespace govtrain
