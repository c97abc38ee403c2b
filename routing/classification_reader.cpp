// Classification::read: from YAML to a Classification, reporting everything that is wrong.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/config/scalar.h"
#include "core/config/yaml.h"
#include "core/file.h"
#include "core/hash.h"
#include "routing/class_labels.h"
#include "routing/classification.h"
#include "routing/exclusion.h"
#include "routing/file_kind.h"

namespace govtrain {
namespace {

using nlohmann::json;

constexpr size_t max_canonical_bytes = 60'000;  // it is one entry of the log

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 100 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

json to_json(const ClassRule& rule) {
  json out = {{"name", rule.name}, {"class", rule.cls}};
  if (rule.when) out["when"] = json::parse(to_flow(*rule.when), nullptr, false);
  if (!rule.line.empty()) out["line"] = rule.line;
  if (rule.lines) out["at_least"] = *rule.lines;
  if (rule.percent) out["at_least"] = fmt::format("{}%", *rule.percent);
  return out;
}

json to_json(const ClassSource& source) {
  json out = {{"name", source.name}};
  json rules = json::array();
  for (const ClassRule& rule : source.rules) rules.push_back(to_json(rule));
  switch (source.kind) {
    case ClassSource::Kind::metadata:
      out["metadata"] = source.key;
      return out;
    case ClassSource::Kind::provenance:
      out["provenance"] = rules;
      return out;
    case ClassSource::Kind::rules:
      out["rules"] = rules;
      return out;
    case ClassSource::Kind::labels:
      out["labels"] = "sha256:" + source.file_sha256;
      break;
    case ClassSource::Kind::model:
      out["model"] = "sha256:" + source.file_sha256;
      break;
  }
  out["threshold"] = source.threshold;
  if (!source.unsure.empty()) out["unsure"] = source.unsure;
  return out;
}

}  // namespace

class ClassificationReader {
 public:
  ClassificationReader(std::string file, const Classification::ReadModel& read_model, Diagnostics& diagnostics)
      : file_(std::move(file)), read_model_(read_model), diagnostics_(diagnostics) {}

  std::optional<Classification> read(const std::string& text) {
    const int errors = diagnostics_.errors();
    const std::optional<YamlNode> root = parse_yaml(file_, text, diagnostics_);
    if (!root || is_another_kind(*root, FileKind::classification, diagnostics_)) return {};
    MapReader top(*root, "the classification", diagnostics_);
    if (const auto name = top.required_text("classification", "write 'classification: <name>'")) {
      out_.name = *name;
      check_name(*name, root->find("classification")->at);
    }
    if (const auto version = top.required_text("version", "write 'version: 1'")) out_.version = *version;
    if (const YamlNode* node = top.required("classes", "list every class: 'classes: [letter, manual]'")) classes(*node);
    if (const YamlNode* node = top.required("sources", "for example 'sources: [{metadata: class}]'")) sources(*node);
    top.finish();
    if (diagnostics_.errors() > errors) return {};
    json canonical = {{"classification", out_.name},
                      {"version", out_.version},
                      {"classes", out_.classes},
                      {"sources", json::array()}};
    for (const ClassSource& source : out_.sources) canonical["sources"].push_back(to_json(source));
    out_.canonical_ = canonical.dump();
    out_.id_ = out_.name + "@" + hex(sha256(out_.canonical_)).substr(0, 8);
    if (out_.canonical_.size() > max_canonical_bytes) {
      diagnostics_.error(root->at,
                         fmt::format("the classification is {} bytes of JSON; the log, which holds it, takes {}",
                                     out_.canonical_.size(), max_canonical_bytes),
                         "move what names single documents into a label file");
      return {};
    }
    return std::move(out_);
  }

 private:
  void check_name(const std::string& name, const Position& at) {
    if (!is_name(name))
      diagnostics_.error(at, in_quotes(name) + " is not a name", "use letters, digits, '-', '_', '.'");
  }

  void classes(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::list || node.items.empty()) {
      diagnostics_.error(node.at, "'classes' must be a list of names, found " +
                                      (node.kind == YamlNode::Kind::list ? "an empty list" : describe(node)));
      return;
    }
    for (const YamlNode& item : node.items) {
      check_name(item.text, item.at);
      if (std::find(out_.classes.begin(), out_.classes.end(), item.text) != out_.classes.end())
        diagnostics_.error(item.at, fmt::format("the class {} is listed twice", in_quotes(item.text)));
      out_.classes.push_back(item.text);
    }
    std::sort(out_.classes.begin(), out_.classes.end());
  }

  std::string listed_class(MapReader& reader, const YamlNode& node, const std::string& key, const std::string& what) {
    const auto text = key == "class" ? reader.required_text(key) : reader.optional_text(key);
    if (!text) return "";
    if (!out_.classes.empty() && !out_.listed(*text)) {
      const std::string near = did_you_mean(*text, out_.classes);
      diagnostics_.error(node.find(key)->at, fmt::format("{}: the class {} is not listed", what, in_quotes(*text)),
                         near.empty() ? "add it to 'classes'" : near);
    }
    return *text;
  }

  void sources(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::list || node.items.empty()) {
      diagnostics_.error(node.at, "'sources' must be a list, found " +
                                      (node.kind == YamlNode::Kind::list ? "an empty list" : describe(node)));
      return;
    }
    for (size_t i = 0; i < node.items.size(); ++i) source(node.items[i], fmt::format("source {}", i + 1));
  }

  void source(const YamlNode& node, const std::string& what) {
    using Kind = ClassSource::Kind;
    static const std::vector<std::pair<std::string, Kind>> kinds = {{"metadata", Kind::metadata},
                                                                    {"labels", Kind::labels},
                                                                    {"provenance", Kind::provenance},
                                                                    {"rules", Kind::rules},
                                                                    {"model", Kind::model}};
    ClassSource out;
    out.at = node.at;
    MapReader reader(node, what, diagnostics_);
    if (!reader.ok()) return;
    const YamlNode* value = nullptr;
    int given = 0;
    for (const auto& [key, kind] : kinds) {
      const YamlNode* found = reader.optional(key);
      if (found == nullptr) continue;
      ++given;
      value = found;
      out.kind = kind;
      out.name = key;
    }
    if (given != 1) {
      diagnostics_.error(node.at, fmt::format("{} must have one of metadata, labels, provenance, rules, model", what),
                         "for example {metadata: class}");
      return;
    }
    if (const auto name = reader.optional_text("name")) {
      out.name = *name;
      check_name(*name, node.find("name")->at);
    }
    for (const ClassSource& other : out_.sources) {
      if (other.name == out.name)
        diagnostics_.error(node.at, fmt::format("{}: there is another source {}", what, in_quotes(out.name)),
                           "give one of them a 'name'");
    }
    if (out.kind == Kind::metadata) {
      metadata(*value, what, out);
    } else if (out.kind == Kind::provenance || out.kind == Kind::rules) {
      rules(*value, what, out);
    } else {
      threshold(reader, node, what, out);
      file(reader, node, *value, what, out);
    }
    reader.finish();
    if (out.kind != Kind::model || read_model_) out_.sources.push_back(std::move(out));
  }

  void metadata(const YamlNode& value, const std::string& what, ClassSource& out) {
    if (value.kind != YamlNode::Kind::scalar || value.text.empty())
      diagnostics_.error(value.at,
                         fmt::format("{}: 'metadata' must be a metadata key, found {}", what, describe(value)));
    out.key = value.text;
  }

  void threshold(MapReader& reader, const YamlNode& node, const std::string& what, ClassSource& out) {
    if (const YamlNode* value = reader.optional("threshold")) {
      const auto problem = parse_number({value->text, value->quoted}, "", out.threshold);
      if (value->kind != YamlNode::Kind::scalar || problem || out.threshold < 0 || out.threshold > 1)
        diagnostics_.error(
            value->at, fmt::format("{}: 'threshold' must be a number from 0 to 1, found {}", what, describe(*value)));
    }
    out.unsure = listed_class(reader, node, "unsure", what);
    if (!out.unsure.empty() && out.threshold == 0)
      diagnostics_.error(node.find("unsure")->at, what + ": 'unsure' needs a 'threshold' above 0",
                         "it is the class of what scores below");
  }

  void file(MapReader& reader, const YamlNode& node, const YamlNode& value, const std::string& what, ClassSource& out) {
    const auto pin = reader.optional_text("sha256");
    if (out.kind == ClassSource::Kind::model && !read_model_) return;
    if (value.kind != YamlNode::Kind::scalar || value.text.empty()) {
      diagnostics_.error(value.at, fmt::format("{}: expected the name of a file, found {}", what, describe(value)));
      return;
    }
    const std::filesystem::path given(value.text);
    out.file = given.is_absolute() ? value.text
                                   : (std::filesystem::path(parent_path(file_)) / given).lexically_normal().string();
    const Result<std::string> bytes = real_file_system().read_at_most(out.file, max_label_bytes);
    if (!bytes.ok()) {
      diagnostics_.error(value.at, fmt::format("{}: {}", what, bytes.status().message()));
      return;
    }
    out.file_sha256 = hex(sha256(bytes.value()));
    if (pin && digest_of(*pin) != out.file_sha256) {
      diagnostics_.error(node.find("sha256")->at,
                         fmt::format("{}: {} has the SHA-256 {}", what, out.file, out.file_sha256),
                         "it is another file than the one that was meant");
      return;
    }
    if (out.kind == ClassSource::Kind::labels) {
      auto labels = read_class_labels(out.file, bytes.value(), out_.classes, diagnostics_);
      if (labels) out.labels = std::move(*labels);
      return;
    }
    auto model = read_model_(out.file, value.at, diagnostics_);
    if (!model) return;
    for (const std::string& cls : model->classes) {
      if (!out_.listed(cls))
        diagnostics_.error(
            value.at, fmt::format("{}: {} knows the class {}, which is not listed", what, out.file, in_quotes(cls)),
            "add it to 'classes'");
    }
    out.model = std::move(*model);
  }

  void rules(const YamlNode& value, const std::string& what, ClassSource& out) {
    if (value.kind != YamlNode::Kind::list || value.items.empty()) {
      diagnostics_.error(value.at, fmt::format("{}: '{}' must be a list of rules", what,
                                               out.kind == ClassSource::Kind::rules ? "rules" : "provenance"));
      return;
    }
    for (size_t i = 0; i < value.items.size(); ++i) {
      rule(value.items[i], fmt::format("{}, rule {}", what, i + 1), std::to_string(i + 1), out);
    }
  }

  void rule(const YamlNode& node, const std::string& what, const std::string& number, ClassSource& source) {
    ClassRule out;
    out.name = number;
    MapReader reader(node, what, diagnostics_);
    if (!reader.ok()) return;
    if (const auto name = reader.optional_text("name")) {
      out.name = *name;
      check_name(*name, node.find("name")->at);
    }
    for (const ClassRule& other : source.rules) {
      if (other.name == out.name)
        diagnostics_.error(node.at, fmt::format("{}: there is another rule {}", what, in_quotes(out.name)));
    }
    out.cls = listed_class(reader, node, "class", what);
    if (const YamlNode* when = reader.optional("when")) {
      if (auto condition = read_condition(*when, what, diagnostics_)) out.when = std::move(*condition);
    }
    if (source.kind == ClassSource::Kind::rules) line(reader, what, out);
    reader.finish();
    if (out.line.empty() && node.find("when") == nullptr && node.find("line") == nullptr)
      diagnostics_.error(node.at, what + " matches nothing",
                         source.kind == ClassSource::Kind::rules ? "give it 'line', 'when', or both"
                                                                 : "give it 'when', for example {source: \"news:*\"}");
    source.rules.push_back(std::move(out));
  }

  void line(MapReader& reader, const std::string& what, ClassRule& out) {
    const YamlNode* node = reader.optional("line");
    if (node != nullptr) {
      for (const YamlNode& item : node->kind == YamlNode::Kind::list ? node->items : std::vector<YamlNode>{*node}) {
        if (item.kind != YamlNode::Kind::scalar || item.text.empty())
          diagnostics_.error(item.at, fmt::format("{}: 'line' must be a pattern or a list of patterns, found {}", what,
                                                  describe(item)));
        out.line.push_back(item.text);
      }
      if (out.line.empty()) diagnostics_.error(node->at, what + ": the list of 'line' is empty and matches nothing");
    }
    const YamlNode* least = reader.optional("at_least");
    if (least == nullptr) return;
    const bool percent = least->text.ends_with("%");
    int64_t number = 0;
    const auto problem =
        parse_integer({percent ? least->text.substr(0, least->text.size() - 1) : least->text, false}, "", number);
    if (least->kind != YamlNode::Kind::scalar || problem || number < 1 || (percent && number > 100)) {
      diagnostics_.error(least->at, fmt::format("{}: 'at_least' must be a number of lines from 1, or a share such as "
                                                "50%, found {}",
                                                what, describe(*least)));
    } else if (node == nullptr) {
      diagnostics_.error(least->at, what + ": 'at_least' counts the lines that 'line' matches, which is missing");
    }
    (percent ? out.percent : out.lines) = number;
  }

  std::string file_;
  const Classification::ReadModel& read_model_;
  Diagnostics& diagnostics_;
  Classification out_;
};

std::optional<Classification> Classification::read(const std::string& path, const ReadModel& read_model,
                                                   Diagnostics& diagnostics) {
  const auto text = read_yaml_file(path, {}, diagnostics);
  if (!text) return {};
  return ClassificationReader(path, read_model, diagnostics).read(*text);
}

}  // namespace govtrain
