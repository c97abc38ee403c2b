#include "routing/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "core/config/scalar.h"
#include "core/error.h"
#include "routing/glob.h"
#include "routing/granularity.h"
#include "routing/share.h"

namespace govtrain {
namespace {

const char* const selector_forms =
    "a block name (layer.2), layer.0-3, layer.*, 'first 50% of layers', 'last 2 layers', 'role mlp', "
    "'role mlp of layer.0-3', all, rest";

// "first 2 layers", "last 50% of blocks"
std::optional<BlockSelector> parse_share(const std::vector<std::string>& words, std::string& problem) {
  BlockSelector out;
  out.kind = words[0] == "first" ? BlockSelector::Kind::first : BlockSelector::Kind::last;
  const bool with_of = words.size() == 4 && words[2] == "of";
  const std::string unit = words.size() == 3 || with_of ? words.back() : "";
  out.layers_only = unit == "layers" || unit == "layer";
  if (!out.layers_only && unit != "blocks" && unit != "block") {
    problem = fmt::format("expected '{0} 2 layers', '{0} 50% of layers' or the same with blocks", words[0]);
    return {};
  }
  out.percent = words[1].back() == '%';
  const auto count = out.percent ? parse_percentage(words[1]) : parse_whole_number(words[1]);
  if (!count || *count == 0) {
    problem =
        fmt::format("expected a number from 1, or a percentage above 0 and at most 100, found {}", in_quotes(words[1]));
    return {};
  }
  out.count = *count;
  return out;
}

// What of the model a selector means: layers as ParameterInfo::layer, -1 the embedding, L the head.
enum class Meant { none, part, all };

Meant meant_of(const BlockInfo& info, const std::vector<bool>& places) {
  const auto in = [&](int place) { return places[static_cast<size_t>(place + 1)]; };
  const auto count = std::count_if(info.places.begin(), info.places.end(), in);
  return count == 0 ? Meant::none : count == static_cast<int64_t>(info.places.size()) ? Meant::all : Meant::part;
}

// Selects the blocks that lie wholly in the places; a block of which only a part lies there is a problem.
std::vector<bool> within(const BlockMap& map, const std::vector<bool>& places, std::string& problem) {
  std::vector<bool> out(map.names.size(), false);
  for (size_t b = 0; b < out.size(); ++b) {
    const Meant meant = meant_of(map.info[b], places);
    out[b] = meant == Meant::all;
    if (meant == Meant::part && problem.empty()) {
      std::vector<std::string> own;
      for (const int place : map.info[b].places) own.push_back(place_name(place, map.layers));
      problem = fmt::format("this takes only a part of block {}, which owns {}", map.names[b], join(own));
    }
  }
  return out;
}

std::vector<bool> select_share(const BlockSelector& s, const BlockMap& map, DepthOrigin origin, std::string& problem) {
  const int64_t n = s.layers_only ? map.layers : map.blocks();
  const int64_t count = !s.percent                             ? s.count
                        : s.kind == BlockSelector::Kind::first ? share_down(n, s.count)
                                                               : share_up(n, s.count);
  if (count > n) {
    problem = fmt::format("the model has only {} {}", n, s.layers_only ? "layers" : "blocks");
    return std::vector<bool>(map.names.size(), false);
  }
  const bool from_input = (s.kind == BlockSelector::Kind::first) == (origin == DepthOrigin::input);
  const auto chosen = [&](int64_t i) { return from_input ? i < count : i >= n - count; };
  if (!s.layers_only) {
    std::vector<bool> out(map.names.size(), false);
    for (size_t b = 0; b < out.size(); ++b) out[b] = chosen(static_cast<int64_t>(b));
    return out;
  }
  std::vector<bool> places(static_cast<size_t>(map.layers) + 2, false);
  for (int64_t layer = 0; layer < n; ++layer) places[static_cast<size_t>(layer) + 1] = chosen(layer);
  return within(map, places, problem);
}

// A block by its name; else all that lies in a place; else all whose name begins with it.
std::vector<bool> select_name(const std::string& text, const BlockMap& map, std::string& problem) {
  std::vector<bool> out(map.names.size(), false);
  const auto exact = std::find(map.names.begin(), map.names.end(), text);
  if (exact != map.names.end()) {
    out[static_cast<size_t>(exact - map.names.begin())] = true;
    return out;
  }
  for (int place = -1; place <= map.layers; ++place) {
    if (text != place_name(place, map.layers)) continue;
    std::vector<bool> places(static_cast<size_t>(map.layers) + 2, false);
    places[static_cast<size_t>(place + 1)] = true;
    return within(map, places, problem);
  }
  for (size_t b = 0; b < out.size(); ++b) out[b] = map.names[b].rfind(text + ".", 0) == 0;
  return out;
}

std::vector<bool> selected(const BlockSelector& s, const BlockMap& map, DepthOrigin origin, std::string& problem);

std::vector<bool> select_role(const BlockSelector& s, const BlockMap& map, DepthOrigin origin, std::string& problem) {
  std::vector<bool> out(map.names.size(), true);
  if (!s.of.empty()) out = selected(s.of.front(), map, origin, problem);
  bool known = false;
  for (size_t b = 0; b < out.size(); ++b) {
    const std::vector<std::string>& roles = map.info[b].roles;
    const bool has = std::find(roles.begin(), roles.end(), s.role) != roles.end();
    known = known || has;
    if (out[b] && has && roles.size() > 1 && problem.empty()) {
      problem = fmt::format("this takes only a part of block {}, which owns {}", map.names[b], join(roles));
    }
    out[b] = out[b] && has;
  }
  if (!known) problem = fmt::format("no block has the role {}", in_quotes(s.role));
  return out;
}

std::vector<bool> selected(const BlockSelector& s, const BlockMap& map, DepthOrigin origin, std::string& problem) {
  using Kind = BlockSelector::Kind;
  const size_t blocks = map.names.size();
  std::vector<bool> out(blocks, false);
  switch (s.kind) {
    case Kind::first:
    case Kind::last:
      return select_share(s, map, origin, problem);
    case Kind::role:
      out = select_role(s, map, origin, problem);
      break;
    case Kind::range: {
      if (s.to >= map.layers) {
        problem = fmt::format("the model has no block {}", in_quotes(fmt::format("layer.{}", s.to)));
        return out;
      }
      std::vector<bool> places(static_cast<size_t>(map.layers) + 2, false);
      for (int64_t layer = s.from; layer <= s.to; ++layer) places[static_cast<size_t>(layer) + 1] = true;
      return within(map, places, problem);
    }
    case Kind::name:
      out = select_name(s.text, map, problem);
      break;
    case Kind::glob:
      for (size_t b = 0; b < blocks; ++b) out[b] = glob_match(s.text, map.names[b]);
      break;
    case Kind::all:
    case Kind::rest:
      out.assign(blocks, true);
  }
  if (problem.empty() && std::find(out.begin(), out.end(), true) == out.end()) {
    problem = s.kind == Kind::role ? fmt::format("{} selects no block", in_quotes(s.text))
                                   : fmt::format("the model has no block {}", in_quotes(s.text));
  }
  return out;
}

// "role mlp", "role mlp of first 2 layers"
std::optional<BlockSelector> parse_role(const std::string& text, const std::vector<std::string>& words,
                                        std::string& problem) {
  BlockSelector out;
  out.kind = BlockSelector::Kind::role;
  out.text = text;
  if (words.size() < 2 || (words.size() > 2 && (words[2] != "of" || words.size() == 3))) {
    problem = "expected 'role mlp' or 'role mlp of layer.0-3'";
    return {};
  }
  out.role = words[1];
  if (words.size() == 2) return out;
  const auto inner = parse_selector(join({words.begin() + 3, words.end()}, " "), problem);
  if (!inner) return {};
  using Kind = BlockSelector::Kind;
  if (inner->kind == Kind::role || inner->kind == Kind::all || inner->kind == Kind::rest) {
    problem = fmt::format("a role is looked for in layers or blocks, not in {}", in_quotes(inner->text));
    return {};
  }
  out.of.push_back(*inner);
  return out;
}

std::optional<double> read_weight(const YamlNode& node, const std::string& what, Diagnostics& diagnostics) {
  if (node.kind != YamlNode::Kind::scalar) {
    diagnostics.error(node.at, fmt::format("{}: expected a number, found {}", what, describe(node)));
    return {};
  }
  double value = 0;
  if (const auto problem = parse_number({node.text, node.quoted}, "", value)) {
    diagnostics.error(node.at, fmt::format("{}: {}", what, problem->message), problem->hint);
    return {};
  }
  const double size = std::abs(value);
  if (size != 0 && (size > static_cast<double>(std::numeric_limits<float>::max()) ||
                    size < static_cast<double>(std::numeric_limits<float>::min()))) {
    diagnostics.error(node.at,
                      fmt::format("{}: {} is outside the range of a 32-bit float", what, in_quotes(node.text)));
    return {};
  }
  return value;
}

void read_negative_bound(Profile& profile, const YamlNode& node, const std::string& what, Diagnostics& diagnostics) {
  MapReader reader(node, "'allow_negative' of " + what, diagnostics);
  if (const YamlNode* bound = reader.required("bound", "write allow_negative: {bound: 0.5}")) {
    const auto value = read_weight(*bound, "bound", diagnostics);
    if (value && *value <= 0) diagnostics.error(bound->at, "bound: must be > 0, found " + bound->text);
    if (value) profile.negative_bound = *value;
  }
  reader.finish();
}

}  // namespace

std::optional<BlockSelector> parse_selector(const std::string& text, std::string& problem) {
  BlockSelector out;
  out.text = text;
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.empty()) {
    problem = "an empty block selector";
    return {};
  }
  if (words[0] == "first" || words[0] == "last") {
    auto share = words.size() >= 2 ? parse_share(words, problem) : std::nullopt;
    if (words.size() < 2) problem = fmt::format("expected '{0} 2 layers' or '{0} 50% of layers'", words[0]);
    if (share) share->text = text;
    return share;
  }
  if (words[0] == "role") return parse_role(text, words, problem);
  if (words.size() > 1) {
    problem = fmt::format("{} is not a block selector", in_quotes(text));
    return {};
  }
  const size_t dash = text.find('-');
  if (text == "all" || text == "rest") {
    out.kind = text == "all" ? BlockSelector::Kind::all : BlockSelector::Kind::rest;
  } else if (is_glob(text)) {
    out.kind = BlockSelector::Kind::glob;
  } else if (text.rfind("layer.", 0) == 0 && dash != std::string::npos) {
    const auto from = parse_whole_number(text.substr(6, dash - 6)), to = parse_whole_number(text.substr(dash + 1));
    if (!from || !to || *from > *to) {
      problem = fmt::format("{} is not a range such as layer.0-3", in_quotes(text));
      return {};
    }
    out.kind = BlockSelector::Kind::range;
    out.from = *from;
    out.to = *to;
  } else {
    out.kind = BlockSelector::Kind::name;
  }
  return out;
}

std::optional<Profile> read_profile(const std::string& name, const YamlNode& node, Diagnostics& diagnostics) {
  const std::string what = "profile " + in_quotes(name);
  const int errors = diagnostics.errors();
  Profile out;
  out.name = name;
  out.at = node.at;
  if (node.kind != YamlNode::Kind::map || node.entries.empty()) {
    diagnostics.error(node.at,
                      fmt::format("{} must map block selectors to weights, found {}", what,
                                  node.kind == YamlNode::Kind::map ? "an empty map" : describe(node)),
                      "for example {embedding: 1, rest: 0}");
    return {};
  }
  if (const YamlNode* allow = node.find("allow_negative")) read_negative_bound(out, *allow, what, diagnostics);
  for (const auto& [key, value] : node.entries) {
    if (key.text == "allow_negative") continue;
    std::string problem;
    const auto selector = parse_selector(key.text, problem);
    if (!selector) diagnostics.error(key.at, fmt::format("{}: {}", what, problem), selector_forms);
    const auto weight = read_weight(value, what, diagnostics);
    if (weight && *weight < -out.negative_bound) {
      diagnostics.error(
          value.at, fmt::format("{}: the weight must be >= {}, found {}", what, -out.negative_bound + 0.0, value.text),
          out.negative_bound > 0 ? "raise the bound, or the weight"
                                 : "to admit gradients with the opposite sign, write allow_negative: {bound: x}");
    }
    if (selector && weight) out.entries.push_back({*selector, *weight + 0.0, key.at});
  }
  if (diagnostics.errors() > errors) return {};
  return out;
}

std::vector<float> bind_profile(const Profile& profile, const BlockMap& map, DepthOrigin origin,
                                Diagnostics& diagnostics) {
  const size_t blocks = map.names.size();
  if (map.info.size() != blocks) throw Error("profile", "the block map was not described");
  std::vector<float> weights(blocks, 0.0F);
  std::vector<const Profile::Entry*> owner(blocks, nullptr);
  const Profile::Entry* rest = nullptr;
  for (const Profile::Entry& entry : profile.entries) {
    if (entry.selector.kind == BlockSelector::Kind::rest) {
      rest = &entry;
      continue;
    }
    std::string problem;
    const std::vector<bool> mine = selected(entry.selector, map, origin, problem);
    if (!problem.empty()) {
      const std::string near = did_you_mean(entry.selector.text, map.names);
      constexpr size_t shown = 20;
      std::vector<std::string> names = map.names;
      if (names.size() > shown) names.resize(shown);
      diagnostics.error(entry.at, fmt::format("profile {}: {}", in_quotes(profile.name), problem),
                        near.empty() ? "blocks: " + join(names) + (names.size() < blocks ? ", ..." : "") : near);
    }
    for (size_t b = 0; b < blocks; ++b) {
      if (!mine[b]) continue;
      if (owner[b] != nullptr) {
        diagnostics.error(entry.at,
                          fmt::format("profile {}: block {} already has a weight from {} ({})", in_quotes(profile.name),
                                      map.names[b], in_quotes(owner[b]->selector.text), to_string(owner[b]->at)),
                          "each block needs exactly one weight; 'rest' is the only selector that gives way");
        break;
      }
      owner[b] = &entry;
      weights[b] = static_cast<float>(entry.weight);
    }
  }
  std::vector<std::string> without;
  for (size_t b = 0; b < blocks; ++b) {
    if (owner[b] == nullptr && rest == nullptr) without.push_back(map.names[b]);
    if (owner[b] == nullptr && rest != nullptr) weights[b] = static_cast<float>(rest->weight);
  }
  if (!without.empty() && !diagnostics.has_errors()) {
    diagnostics.error(profile.at, fmt::format("profile {}: no weight for {}", in_quotes(profile.name), join(without)),
                      "add 'rest: 0' to keep them out");
  }
  return weights;
}

}  // namespace govtrain
