#include "routing/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "core/config/scalar.h"
#include "routing/glob.h"

namespace govtrain {
namespace {

const char* const selector_forms =
    "a block name (layer.2), layer.0-3, layer.*, 'first 50% of layers', 'last 2 layers', all, rest";

std::optional<int64_t> whole_number(const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) return {};
  return std::stoll(text);
}

// "50%" or "12.5%" in thousandths of a percent.
std::optional<int64_t> percentage(const std::string& text) {
  const std::string body = text.substr(0, text.size() - 1);
  const size_t dot = body.find('.');
  const auto whole = whole_number(body.substr(0, dot));
  std::string fraction = dot == std::string::npos ? "" : body.substr(dot + 1);
  if (!whole || *whole > 100 || fraction.size() > 3 || (dot != std::string::npos && fraction.empty())) return {};
  fraction.resize(3, '0');
  const auto thousandths = whole_number(fraction);
  if (!thousandths) return {};
  const int64_t value = *whole * 1000 + *thousandths;
  return value > 0 && value <= 100'000 ? std::optional(value) : std::nullopt;
}

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
  const auto count = out.percent ? percentage(words[1]) : whole_number(words[1]);
  if (!count || *count == 0) {
    problem =
        fmt::format("expected a number from 1, or a percentage above 0 and at most 100, found {}", in_quotes(words[1]));
    return {};
  }
  out.count = *count;
  return out;
}

// The number of "layer.3" and "layer.3.anything".
std::optional<int64_t> layer_number(const std::string& block) {
  if (block.rfind("layer.", 0) != 0) return {};
  return whole_number(
      block.substr(6, block.find('.', 6) == std::string::npos ? std::string::npos : block.find('.', 6) - 6));
}

// The depth units that a share counts, shallow end first: layer numbers, or block indices.
std::vector<int64_t> units(const BlockMap& map, bool layers_only, DepthOrigin origin) {
  std::vector<int64_t> out;
  for (int b = 0; b < map.blocks(); ++b) {
    if (!layers_only) out.push_back(b);
    const auto layer = layer_number(map.names[static_cast<size_t>(b)]);
    if (layers_only && layer && std::find(out.begin(), out.end(), *layer) == out.end()) out.push_back(*layer);
  }
  if (origin == DepthOrigin::output) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<bool> selected(const BlockSelector& s, const BlockMap& map, DepthOrigin origin, std::string& problem) {
  const size_t blocks = map.names.size();
  std::vector<bool> out(blocks, false);
  using Kind = BlockSelector::Kind;
  if (s.kind == Kind::first || s.kind == Kind::last) {
    const std::vector<int64_t> all = units(map, s.layers_only, origin);
    const int64_t n = static_cast<int64_t>(all.size());
    const int64_t down = n * s.count / 100'000, up = (n * s.count + 99'999) / 100'000;
    const int64_t count = !s.percent ? s.count : s.kind == Kind::first ? down : up;
    if (count > n) problem = fmt::format("the model has only {} {}", n, s.layers_only ? "layers" : "blocks");
    for (size_t b = 0; b < blocks && problem.empty(); ++b) {
      const auto unit = s.layers_only ? layer_number(map.names[b]) : std::optional(static_cast<int64_t>(b));
      if (!unit) continue;
      const int64_t place = std::find(all.begin(), all.end(), *unit) - all.begin();
      out[b] = s.kind == Kind::first ? place < count : place >= n - count;
    }
    return out;
  }
  for (size_t b = 0; b < blocks; ++b) {
    const std::string& name = map.names[b];
    const auto layer = layer_number(name);
    out[b] = s.kind == Kind::all || (s.kind == Kind::name && name == s.text) ||
             (s.kind == Kind::glob && glob_match(s.text, name)) ||
             (s.kind == Kind::range && layer && *layer >= s.from && *layer <= s.to);
  }
  const bool range_ends =
      s.kind != Kind::range ||
      std::any_of(map.names.begin(), map.names.end(), [&](const auto& name) { return layer_number(name) == s.to; });
  if (std::find(out.begin(), out.end(), true) == out.end() || !range_ends) {
    problem = fmt::format("the model has no block {}",
                          in_quotes(s.kind == Kind::range ? fmt::format("layer.{}", s.to) : s.text));
  }
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
    const auto from = whole_number(text.substr(6, dash - 6)), to = whole_number(text.substr(dash + 1));
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
      diagnostics.error(entry.at, fmt::format("profile {}: {}", in_quotes(profile.name), problem),
                        near.empty() ? "blocks: " + join(map.names) : near);
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
