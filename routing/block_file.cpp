#include "routing/block_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/config/yaml.h"
#include "core/hash.h"
#include "routing/file_kind.h"
#include "routing/glob.h"
#include "routing/share.h"

namespace govtrain {
namespace {

using Range = BlockFile::Range;

const char* const range_forms = "write 3, 0-15, 16- (to the end) or 0%-50%";

std::optional<Range> parse_range(const std::string& text) {
  Range out;
  const size_t dash = text.find('-');
  const std::string first = text.substr(0, dash), second = dash == std::string::npos ? first : text.substr(dash + 1);
  if (first.empty()) return {};
  if (first.back() == '%') {
    const auto from = parse_percentage(first, true), to = parse_percentage(second);
    if (dash == std::string::npos || !from || !to || *from >= *to) return {};
    return Range{*from, *to, true, {}};
  }
  const auto from = parse_whole_number(first);
  if (!from) return {};
  out.from = *from;
  if (dash != std::string::npos && second.empty()) return out;
  const auto to = parse_whole_number(second);
  if (!to || *to < *from) return {};
  out.to = *to;
  return out;
}

class Reader {
 public:
  explicit Reader(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  std::optional<BlockFile> read(const std::string& file, const std::string& text) {
    const int errors = diagnostics_.errors();
    const std::optional<YamlNode> root = parse_yaml(file, text, diagnostics_);
    if (!root || is_another_kind(*root, FileKind::blocks, diagnostics_)) return {};
    BlockFile out;
    out.digest = hex(sha256(text));
    out.sources.emplace_back(file, text);
    MapReader top(*root, "the block file", diagnostics_);
    out.name = top.required_text("blocks", "write 'blocks: <name>'").value_or("");
    out.version = top.required_text("version", "write 'version: 1'").value_or("");
    const YamlNode* list = top.required("list", "a list of blocks: - {name: words, owns: {role: embedding}}");
    top.finish();
    if (list != nullptr) {
      out.list_at = list->at;
      if (list->kind != YamlNode::Kind::list || list->items.empty()) {
        diagnostics_.error(
            list->at,
            fmt::format("'list' must be a list of blocks, found {}",
                        list->items.empty() && list->kind == YamlNode::Kind::list ? "an empty one" : describe(*list)),
            "for example - {name: words, owns: {role: embedding}}");
      }
      for (const YamlNode& item : list->items) block(item, out);
    }
    if (diagnostics_.errors() > errors) return {};
    return out;
  }

 private:
  void block(const YamlNode& node, BlockFile& file) {
    MapReader reader(node, fmt::format("block {}", file.blocks.size()), diagnostics_);
    BlockFile::Block out;
    out.at = node.at;
    out.name = reader.required_text("name", "every block has a name").value_or("");
    const YamlNode* owns = reader.required("owns", "a selector such as {layers: 0-3}, a list of them, or rest");
    reader.finish();
    const bool place = out.name == "embedding" || out.name == "head";
    if (!out.name.empty() && !place && !is_block_name(out.name)) {
      diagnostics_.error(node.find("name")->at, fmt::format("{} is not a name for a block", in_quotes(out.name)),
                         "use letters, digits, '-', '_', '.'; words that policies select by, and layer.N, are taken");
    }
    for (const BlockFile::Block& other : file.blocks) {
      if (other.name != out.name || out.name.empty()) continue;
      diagnostics_.error(node.find("name")->at,
                         fmt::format("a second block named {}, after {}", in_quotes(out.name), to_string(other.at)));
    }
    if (owns != nullptr && owns->kind == YamlNode::Kind::scalar && owns->text == "rest") {
      out.rest = true;
      for (const BlockFile::Block& other : file.blocks) {
        if (other.rest) diagnostics_.error(owns->at, fmt::format("{} owns the rest already", in_quotes(other.name)));
      }
    } else if (owns != nullptr && owns->kind == YamlNode::Kind::list && !owns->items.empty()) {
      for (const YamlNode& item : owns->items) selector(item, out);
    } else if (owns != nullptr && owns->kind == YamlNode::Kind::map) {
      selector(*owns, out);
    } else if (owns != nullptr) {
      diagnostics_.error(owns->at,
                         fmt::format("'owns' must be a selector, a list of them, or rest, found {}", describe(*owns)),
                         "for example {layers: 0-3, role: mlp}");
    }
    file.blocks.push_back(std::move(out));
  }

  std::optional<Range> range(const std::string& key, const std::optional<std::string>& text, const YamlNode& node) {
    if (!text) return {};
    auto out = parse_range(*text);
    if (!out)
      diagnostics_.error(node.find(key)->at, fmt::format("{}: {} is no range", key, in_quotes(*text)), range_forms);
    if (out) out->at = node.find(key)->at;
    return out;
  }

  void layers(const std::string& text, const YamlNode& node, BlockFile::Selector& out) {
    const size_t space = text.find(' ');
    const std::string word = text.substr(0, space), count = space == std::string::npos ? "" : text.substr(space + 1);
    if (word != "first" && word != "last") {
      out.layers = range("layers", text, node);
      if (out.layers && out.layers->percent) {
        diagnostics_.error(out.layers->at, "layers: a share is written 'first 50%' or 'last 50%'");
      }
      return;
    }
    out.layer_share = !count.empty() && count.back() == '%';
    const auto value = out.layer_share ? parse_percentage(count) : parse_whole_number(count);
    if (!value || *value == 0) {
      diagnostics_.error(node.find("layers")->at, fmt::format("layers: {} is no share", in_quotes(text)),
                         "write 0-3, first 2, last 50%");
      return;
    }
    (word == "first" ? out.first_layers : out.last_layers) = *value;
  }

  void selector(const YamlNode& node, BlockFile::Block& block) {
    MapReader reader(node, fmt::format("a selector of {}", in_quotes(block.name)), diagnostics_);
    if (!reader.ok()) return;
    BlockFile::Selector out;
    out.at = node.at;
    if (const auto text = reader.optional_text("layers")) layers(*text, node, out);
    out.role = reader.optional_text("role").value_or("");
    out.tensor = reader.optional_text("tensor").value_or("");
    int parts = 0;
    const auto part = [&](const std::string& key) {
      auto value = range(key, reader.optional_text(key), node);
      parts += value ? 1 : 0;
      return value;
    };
    out.heads = part("heads");
    out.kv_heads = part("kv_heads");
    out.channels = part("channels");
    out.rows = part("rows");
    out.cols = part("cols");
    reader.finish();
    if (node.entries.empty()) diagnostics_.error(node.at, "an empty selector", "name layers, a role or a tensor");
    if (parts > 1 && !(parts == 2 && out.rows && out.cols)) {
      diagnostics_.error(node.at, "only one of heads, kv_heads, channels, or rows with cols, can be given",
                         "write two selectors: owns: [{heads: 0-1}, {channels: 0-15}]");
    }
    block.owns.push_back(std::move(out));
  }

  Diagnostics& diagnostics_;
};

// What one file selects from one model.
class Selection {
 public:
  Selection(const BlockFile& file, const std::vector<ParameterInfo>& parameters, Diagnostics& diagnostics)
      : file_(file), parameters_(parameters), diagnostics_(diagnostics), layers_(layer_count(parameters)) {
    for (const ParameterInfo& p : parameters) {
      roles_.insert(p.role);
      if (p.role == "attention") heads_[p.layer] = std::max(heads_[p.layer], p.division.parts);
    }
  }

  std::vector<NamedSlices> run() {
    const int errors = diagnostics_.errors();
    std::vector<NamedSlices> sets;
    std::vector<std::pair<size_t, const BlockFile::Selector*>> selectors;  // slices carry an index into it
    std::vector<std::vector<Slice>> by_parameter(parameters_.size());
    for (size_t b = 0; b < file_.blocks.size(); ++b) {
      sets.push_back({file_.blocks[b].name, {}});
      for (const BlockFile::Selector& s : file_.blocks[b].owns) {
        for (Slice& slice : slices_of(s)) {
          slice.block = static_cast<int>(selectors.size());
          by_parameter[static_cast<size_t>(slice.parameter)].push_back(slice);
          slice.block = 0;
          sets.back().slices.push_back(slice);
        }
        selectors.emplace_back(b, &s);
      }
    }
    if (diagnostics_.errors() > errors) return {};
    std::vector<Slice> gaps;
    std::map<std::pair<int, int>, std::vector<Slice>> overlaps;  // by the two selectors, the later first
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const Cover cover = cover_of(parameters_[i], static_cast<int>(i), by_parameter[i]);
      gaps.insert(gaps.end(), cover.gaps.begin(), cover.gaps.end());
      for (const auto& both : cover.overlaps) overlaps[{both.area.block, both.earlier}].push_back(both.area);
    }
    for (const auto& [pair, areas] : overlaps) {
      const auto& [block, later] = selectors[static_cast<size_t>(pair.first)];
      const auto& [other, earlier] = selectors[static_cast<size_t>(pair.second)];
      diagnostics_.error(
          later->at,
          fmt::format("block {} takes what block {} owns already ({}): {}", in_quotes(file_.blocks[block].name),
                      in_quotes(file_.blocks[other].name), to_string(earlier->at), areas_text(areas)),
          "each element belongs to exactly one block; 'owns: rest' is the only one that gives way");
    }
    give_rest(sets, gaps);
    check_places(sets);
    return sets;
  }

 private:
  std::string areas_text(const std::vector<Slice>& areas) const {
    constexpr size_t shown = 12;
    std::vector<std::string> texts;
    for (size_t i = 0; i < std::min(areas.size(), shown); ++i) {
      const ParameterInfo& p = parameters_[static_cast<size_t>(areas[i].parameter)];
      texts.push_back(fmt::format("{}: {}", p.name, area_text(p, areas[i])));
    }
    if (areas.size() > shown) texts.push_back(fmt::format("and {} more", areas.size() - shown));
    return join(texts, "; ");
  }

  void give_rest(std::vector<NamedSlices>& sets, const std::vector<Slice>& gaps) {
    for (size_t b = 0; b < sets.size(); ++b) {
      if (!file_.blocks[b].rest) continue;
      sets[b].slices = gaps;
      if (gaps.empty()) {
        diagnostics_.error(file_.blocks[b].at, fmt::format("nothing is left for block {}", in_quotes(sets[b].name)),
                           "remove it: the other blocks own every element");
      }
      return;
    }
    if (gaps.empty()) return;
    diagnostics_.error(file_.list_at, "no block owns " + areas_text(gaps), "add {name: others, owns: rest}");
  }

  // A policy's word 'embedding' or 'head' means the whole place.
  void check_places(const std::vector<NamedSlices>& sets) {
    for (size_t b = 0; b < sets.size(); ++b) {
      const int place = sets[b].name == "embedding" ? -1 : layers_;
      if (place == layers_ && sets[b].name != "head") continue;
      int64_t elements = 0, owned = 0;
      for (const ParameterInfo& p : parameters_) elements += p.layer == place ? p.rows * p.cols : 0;
      bool inside = true;
      for (const Slice& s : sets[b].slices) {
        inside = inside && parameters_[static_cast<size_t>(s.parameter)].layer == place;
        owned += s.elements();
      }
      if (inside && owned == elements) continue;
      diagnostics_.error(
          file_.blocks[b].at,
          fmt::format("the name {} is kept for a block that owns all that lies {}", in_quotes(sets[b].name),
                      place < 0 ? "before the first layer" : "after the last layer"),
          "choose another name");
    }
  }

  bool in_layers(const BlockFile::Selector& s, int layer) const {
    if (!s.layers && !s.first_layers && !s.last_layers) return true;
    if (layer < 0 || layer >= layers_) return false;
    if (s.layers) return layer >= s.layers->from && layer <= s.layers->to.value_or(layers_);
    if (s.first_layers) return layer < (s.layer_share ? share_down(layers_, *s.first_layers) : *s.first_layers);
    return layer >= layers_ - (s.layer_share ? share_up(layers_, *s.last_layers) : *s.last_layers);
  }

  // The part [begin, end) of n; nothing after an error.
  std::optional<std::pair<int64_t, int64_t>> part(const Range& r, int64_t n, const std::string& what,
                                                  const ParameterInfo& p) {
    const int64_t begin = r.percent ? share_down(n, r.from) : r.from;
    const int64_t end = r.percent ? share_down(n, *r.to) : r.to ? *r.to + 1 : n;
    if (begin < end && end <= n) return std::pair(begin, end);
    if (told_.insert({r.at.line, r.at.column}).second) {
      diagnostics_.error(r.at, begin >= end && r.percent
                                   ? fmt::format("this share of the {} {} of {} is empty", n, what, p.name)
                                   : fmt::format("{} has {} 0 to {}", p.name, what, n - 1));
    }
    return {};
  }

  void take(const BlockFile::Selector& s, size_t i, std::vector<Slice>& out) {
    const ParameterInfo& p = parameters_[i];
    const int index = static_cast<int>(i);
    if (s.heads || s.kv_heads || s.channels) {
      const std::string role = s.channels ? "mlp" : "attention";
      if (p.role != role || p.division.axis == Division::Axis::none) return;
      if (s.heads && p.division.parts != heads_.at(p.layer)) return;
      if (s.kv_heads && p.division.parts == heads_.at(p.layer)) return;
      const char* what = s.heads ? "heads" : s.kv_heads ? "key and value heads" : "channels";
      const auto range = part(s.heads ? *s.heads : s.kv_heads ? *s.kv_heads : *s.channels, p.division.parts, what, p);
      if (range) out.push_back(part_of(parameters_, index, range->first, range->second));
      return;
    }
    std::optional<std::pair<int64_t, int64_t>> rows(std::pair<int64_t, int64_t>(0, p.rows)),
        cols(std::pair<int64_t, int64_t>(0, p.cols));
    if (s.rows) rows = part(*s.rows, p.rows, "rows", p);
    if (s.cols) cols = part(*s.cols, p.cols, "columns", p);
    if (rows && cols) out.push_back({index, 0, rows->first, rows->second, cols->first, cols->second});
  }

  std::vector<Slice> slices_of(const BlockFile::Selector& s) {
    const int errors = diagnostics_.errors();
    const std::vector<std::string> roles(roles_.begin(), roles_.end());
    if (!s.role.empty() && roles_.count(s.role) == 0) {
      const std::string near = did_you_mean(s.role, roles);
      diagnostics_.error(s.at, fmt::format("no parameter has the role {}", in_quotes(s.role)),
                         near.empty() ? "roles: " + join(roles) : near);
      return {};
    }
    const int64_t reach = s.layers         ? s.layers->to.value_or(s.layers->from) + 1
                          : s.layer_share  ? 0
                          : s.first_layers ? *s.first_layers
                                           : s.last_layers.value_or(0);
    if (reach > layers_) {
      diagnostics_.error(s.layers ? s.layers->at : s.at, fmt::format("the model has layers 0 to {}", layers_ - 1));
      return {};
    }
    std::vector<Slice> out;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const ParameterInfo& p = parameters_[i];
      if (!in_layers(s, p.layer) || (!s.role.empty() && p.role != s.role)) continue;
      if (!s.tensor.empty() && !glob_match(s.tensor, p.name)) continue;
      take(s, i, out);
    }
    if (out.empty() && diagnostics_.errors() == errors) {
      diagnostics_.error(s.at, "this selects nothing in the model",
                         s.kv_heads ? "kv_heads are those that several heads share; without sharing, heads own them"
                                    : "'govtrain blocks show CONFIG blocks.by=tensor' lists the parameters");
    }
    return out;
  }

  const BlockFile& file_;
  const std::vector<ParameterInfo>& parameters_;
  Diagnostics& diagnostics_;
  int layers_;
  std::set<std::string> roles_;
  std::map<int, int64_t> heads_;
  std::set<std::pair<int, int>> told_;
};

}  // namespace

std::optional<BlockFile> parse_block_file(const std::string& file, const std::string& text, Diagnostics& diagnostics) {
  return Reader(diagnostics).read(file, text);
}

std::optional<BlockFile> read_block_file(const std::string& path, const Position& from, Diagnostics& diagnostics) {
  const std::optional<std::string> text = read_yaml_file(path, from, diagnostics);
  return text ? parse_block_file(path, *text, diagnostics) : std::nullopt;
}

std::vector<NamedSlices> select_blocks(const BlockFile& file, const std::vector<ParameterInfo>& parameters,
                                       Diagnostics& diagnostics) {
  for (const auto& [name, text] : file.sources) diagnostics.add_source(name, text);
  return Selection(file, parameters, diagnostics).run();
}

}  // namespace govtrain
