#include "routing/learned_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/config/scalar.h"
#include "core/config/yaml.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/number.h"
#include "routing/file_kind.h"

namespace govtrain {
namespace {

using Matrix = std::vector<std::vector<double>>;

// Double-centred logarithms. A value of 0 counts as the smallest that was measured.
Matrix profiles(const Matrix& m) {
  double smallest = 0;
  for (const auto& row : m) {
    for (const double v : row) smallest = v > 0 && (smallest == 0 || v < smallest) ? v : smallest;
  }
  const size_t units = m.size(), classes = m.front().size();
  Matrix out(units, std::vector<double>(classes, 0.0));
  std::vector<double> of_class(classes, 0.0);
  double mean = 0;
  for (size_t u = 0; u < units; ++u) {
    double of_unit = 0;
    for (size_t c = 0; c < classes; ++c) {
      out[u][c] = smallest > 0 ? std::log(std::max(m[u][c], smallest)) : 0.0;
      of_unit += out[u][c];
    }
    for (size_t c = 0; c < classes; ++c) {
      out[u][c] -= of_unit / static_cast<double>(classes);
      of_class[c] += out[u][c] / static_cast<double>(units);
    }
  }
  for (const double v : of_class) mean += v / static_cast<double>(classes);
  for (auto& row : out) {
    for (size_t c = 0; c < classes; ++c) row[c] -= of_class[c] - mean;
  }
  return out;
}

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t c = 0; c < a.size(); ++c) {
    ab += a[c] * b[c];
    aa += a[c] * a[c];
    bb += b[c] * b[c];
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0.0;
}

// Cluster of each unit, numbered by first unit.
std::vector<size_t> average_linkage(const Matrix& profile, size_t count) {
  const size_t n = profile.size();
  Matrix sum(n, std::vector<double>(n, 0.0));  // of similarities between members
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i + 1; j < n; ++j) sum[i][j] = sum[j][i] = cosine(profile[i], profile[j]);
  }
  std::vector<double> size(n, 1.0);
  std::vector<size_t> into(n);
  for (size_t i = 0; i < n; ++i) into[i] = i;
  const auto mean = [&](size_t i, size_t j) { return sum[i][j] / (size[i] * size[j]); };
  const auto best_of = [&](size_t i) {  // nearest later cluster, n when there is none
    size_t best = n;
    for (size_t j = i + 1; j < n; ++j) {
      if (size[j] > 0 && (best == n || mean(i, j) > mean(i, best))) best = j;
    }
    return best;
  };
  std::vector<size_t> nearest(n);
  for (size_t i = 0; i < n; ++i) nearest[i] = best_of(i);
  for (size_t left = n; left > count; --left) {
    size_t a = n;
    for (size_t i = 0; i < n; ++i) {
      if (size[i] > 0 && nearest[i] < n && (a == n || mean(i, nearest[i]) > mean(a, nearest[a]))) a = i;
    }
    const size_t b = nearest[a];
    for (size_t j = 0; j < n; ++j) sum[a][j] = sum[j][a] = sum[a][j] + sum[b][j];
    size[a] += size[b];
    size[b] = 0;
    for (size_t& to : into) to = to == b ? a : to;
    for (size_t i = 0; i < n; ++i) {
      if (size[i] > 0) nearest[i] = best_of(i);
    }
  }
  std::map<size_t, size_t> number;
  for (size_t& to : into) to = number.emplace(to, number.size()).first->second;
  return into;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

template <class T, class Text>
std::string list(const std::vector<T>& values, Text text, const char* separator = ", ") {
  std::string out = "[";
  for (const T& v : values) out += (out.size() > 1 ? separator : "") + text(v);
  return out + "]";
}

class Reader {
 public:
  explicit Reader(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  std::optional<LearnedBlocks> read(const std::string& file, const std::string& text) {
    const int errors = diagnostics_.errors();
    const std::optional<YamlNode> root = parse_yaml(file, text, diagnostics_);
    if (!root || is_another_kind(*root, FileKind::learned_blocks, diagnostics_)) return {};
    LearnedBlocks out;
    out.at = root->at;
    out.digest = hex(sha256(text));
    out.sources.emplace_back(file, text);
    MapReader top(*root, "the file of learned blocks", diagnostics_);
    const auto format = top.required_text("format", "'govtrain blocks learn' makes such files");
    const auto version = top.required_text("version");
    if (format && version && (*format != learned_format || *version != std::to_string(learned_version))) {
      diagnostics_.error(root->at,
                         fmt::format("expected {} version {}, found {} version {}", learned_format, learned_version,
                                     in_quotes(*format), *version),
                         "measure again with 'govtrain blocks learn'");
    }
    unit(top.required("unit"), out);
    if (const YamlNode* node = top.required("ranges")) out.ranges = whole(*node);
    out.key = top.required_text("key").value_or("");
    out.classes = texts(top.required("classes"), "classes");
    if (const YamlNode* node = items(top.required("examples"), "examples")) {
      for (const YamlNode& item : node->items) out.examples.push_back(whole(item));
    }
    out.data_sha256 = top.required_text("data_sha256").value_or("");
    out.model = top.required_text("model").value_or("");
    out.config_sha256 = top.required_text("config_sha256").value_or("");
    out.units = texts(top.required("units"), "units");
    if (const YamlNode* node = items(top.required("matrix"), "matrix")) {
      for (const YamlNode& row : node->items) {
        out.matrix.emplace_back();
        const YamlNode* values = items(&row, "a row of matrix");
        for (size_t i = 0; values != nullptr && i < values->items.size(); ++i) {
          out.matrix.back().push_back(real(values->items[i]));
        }
      }
    }
    const YamlNode* list = items(top.required("blocks"), "blocks");
    for (size_t i = 0; list != nullptr && i < list->items.size(); ++i) {
      MapReader reader(list->items[i], fmt::format("block {}", i), diagnostics_);
      const std::string name = reader.required_text("name").value_or("");
      out.blocks.push_back({name, texts(reader.required("units"), "units")});
      reader.finish();
    }
    top.finish();
    if (diagnostics_.errors() == errors) check(*root, out);
    if (diagnostics_.errors() > errors) return {};
    return out;
  }

 private:
  void unit(const YamlNode* node, LearnedBlocks& out) {
    if (node == nullptr) return;
    for (const Granularity g : {Granularity::role, Granularity::head, Granularity::channels, Granularity::tensor}) {
      if (node->text == granularity_names()[static_cast<size_t>(g)]) {
        out.unit = g;
        return;
      }
    }
    diagnostics_.error(node->at, "unit: expected role, head, channels or tensor");
  }

  const YamlNode* items(const YamlNode* node, const std::string& what) {
    if (node == nullptr || node->kind == YamlNode::Kind::list) return node;
    diagnostics_.error(node->at, fmt::format("{} must be a list, found {}", what, describe(*node)));
    return nullptr;
  }

  std::vector<std::string> texts(const YamlNode* node, const std::string& what) {
    std::vector<std::string> out;
    const YamlNode* found = items(node, what);
    for (size_t i = 0; found != nullptr && i < found->items.size(); ++i) out.push_back(found->items[i].text);
    return out;
  }

  int64_t whole(const YamlNode& node) {
    int64_t value = 0;
    if (const auto problem = parse_integer({node.text, node.quoted}, "", value)) {
      diagnostics_.error(node.at, problem->message, problem->hint);
    }
    return value;
  }

  double real(const YamlNode& node) {
    double value = 0;
    const auto problem = parse_number({node.text, node.quoted}, "", value);
    if (problem) diagnostics_.error(node.at, problem->message, problem->hint);
    if (!problem && value < 0) diagnostics_.error(node.at, "a norm must be >= 0, found " + node.text);
    return value;
  }

  void check(const YamlNode& root, const LearnedBlocks& read) {
    bool fits = read.matrix.size() == read.units.size() && read.examples.size() == read.classes.size() &&
                read.classes.size() >= 2 && !read.units.empty() && !read.blocks.empty() &&
                read.blocks.size() <= read.units.size();
    for (const auto& row : read.matrix) fits = fits && row.size() == read.classes.size();
    if (!fits) {
      diagnostics_.error(
          root.at, fmt::format("the sizes do not fit: {} units, {} rows, {} classes, {} blocks", read.units.size(),
                               read.matrix.size(), read.classes.size(), read.blocks.size()));
      return;
    }
    LearnedBlocks again = read;
    cluster(again, static_cast<int64_t>(read.blocks.size()));
    for (size_t b = 0; b < read.blocks.size(); ++b) {
      if (again.blocks[b].name == read.blocks[b].name && again.blocks[b].units == read.blocks[b].units) continue;
      diagnostics_.error(
          root.find("blocks")->at,
          fmt::format("block {} does not follow from the matrix: the file was changed", in_quotes(read.blocks[b].name)),
          "measure again, or write the blocks by hand (blocks.by: selectors)");
      return;
    }
  }

  Diagnostics& diagnostics_;
};

}  // namespace

void cluster(LearnedBlocks& learned, int64_t count) {
  const size_t units = learned.units.size();
  if (count < 1 || static_cast<size_t>(count) > units || learned.classes.size() < 2 || learned.matrix.size() != units) {
    throw Error("learned blocks", "expected 1 to {} blocks and at least 2 classes, got {} and {}", units, count,
                learned.classes.size());
  }
  const std::vector<size_t> of_unit = average_linkage(profiles(learned.matrix), static_cast<size_t>(count));
  learned.blocks.clear();
  for (int64_t b = 0; b < count; ++b) learned.blocks.push_back({fmt::format("learned.{}", b), {}});
  for (size_t u = 0; u < units; ++u) learned.blocks[of_unit[u]].units.push_back(learned.units[u]);
}

std::vector<NamedSlices> learnable_units(Granularity unit, int64_t ranges,
                                         const std::vector<ParameterInfo>& parameters) {
  const int layers = layer_count(parameters);
  std::vector<NamedSlices> out = plain_units(unit, ranges, parameters);
  std::erase_if(out, [&](const NamedSlices& set) {
    const int layer = parameters[static_cast<size_t>(set.slices.front().parameter)].layer;
    return layer < 0 || layer >= layers;
  });
  return out;
}

std::string to_text(const LearnedBlocks& l) {
  const auto whole = [](int64_t v) { return std::to_string(v); };
  std::string out = "{\n";
  const auto line = [&](const char* key, const std::string& value) { out += fmt::format("\"{}\": {},\n", key, value); };
  line("format", quoted(learned_format));
  line("version", std::to_string(learned_version));
  line("unit", quoted(granularity_names()[static_cast<size_t>(l.unit)]));
  line("ranges", std::to_string(l.ranges));
  line("key", quoted(l.key));
  line("classes", list(l.classes, quoted));
  line("examples", list(l.examples, whole));
  line("data_sha256", quoted(l.data_sha256));
  line("model", quoted(l.model));
  line("config_sha256", quoted(l.config_sha256));
  line("units", list(l.units, quoted, ",\n  "));
  line("matrix",
       list(
           l.matrix, [](const auto& row) { return list(row, [](double v) { return number_text(v); }); }, ",\n  "));
  const auto block = [](const LearnedBlocks::Block& b) {
    return fmt::format("{{\"name\": {}, \"units\": {}}}", quoted(b.name), list(b.units, quoted));
  };
  return out + "\"blocks\": " + list(l.blocks, block, ",\n  ") + "\n}\n";
}

std::optional<LearnedBlocks> parse_learned(const std::string& file, const std::string& text, Diagnostics& diagnostics) {
  return Reader(diagnostics).read(file, text);
}

std::optional<LearnedBlocks> read_learned(const std::string& path, const Position& from, Diagnostics& diagnostics) {
  const std::optional<std::string> text = read_yaml_file(path, from, diagnostics);
  return text ? parse_learned(path, *text, diagnostics) : std::nullopt;
}

std::vector<NamedSlices> learned_sets(const LearnedBlocks& learned, const std::vector<ParameterInfo>& parameters,
                                      Diagnostics& diagnostics) {
  for (const auto& [name, text] : learned.sources) diagnostics.add_source(name, text);
  std::map<std::string, std::vector<Slice>> units;
  for (NamedSlices& unit : learnable_units(learned.unit, learned.ranges, parameters)) {
    units[unit.name] = std::move(unit.slices);
  }
  std::vector<NamedSlices> sets;
  std::vector<std::string> unknown;
  for (const LearnedBlocks::Block& block : learned.blocks) {
    sets.push_back({block.name, {}});
    for (const std::string& name : block.units) {
      const auto found = units.find(name);
      if (found == units.end()) {
        unknown.push_back(name);
        continue;
      }
      sets.back().slices.insert(sets.back().slices.end(), found->second.begin(), found->second.end());
      units.erase(found);
    }
  }
  constexpr size_t shown = 5;
  const auto some = [&](std::vector<std::string> names) {
    const size_t more = names.size() > shown ? names.size() - shown : 0;
    names.resize(names.size() - more);
    return join(names) + (more > 0 ? fmt::format(" and {} more", more) : "");
  };
  std::vector<std::string> missing;
  for (const auto& [name, slices] : units) missing.push_back(name);
  const char* again = "the file was measured on another model; measure again with 'govtrain blocks learn'";
  if (!unknown.empty()) diagnostics.error(learned.at, "the model has no " + some(unknown), again);
  if (!missing.empty()) diagnostics.error(learned.at, "no learned block owns " + some(missing), again);
  const int layers = layer_count(parameters);
  for (NamedSlices& place : plain_units(Granularity::layer, 0, parameters)) {
    const int layer = parameters[static_cast<size_t>(place.slices.front().parameter)].layer;
    if (layer < 0 || layer >= layers) sets.push_back(std::move(place));
  }
  return sets;
}

}  // namespace govtrain
