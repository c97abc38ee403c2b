#include "core/config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "core/config/utf8.h"

namespace govtrain {
namespace {

// Other than tabs and line breaks.
bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n') || c == 0x7F; }

struct Stop {};  // the document is hopeless; the reason has been reported

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string file, const std::vector<std::string_view>& lines, Diagnostics& diagnostics)
      : file_(std::move(file)), lines_(lines), diagnostics_(diagnostics) {}

  // yaml-cpp counts from 0 and in bytes.
  Position position(const YAML::Mark& mark, std::string_view text = {}) const {
    const size_t row = static_cast<size_t>(std::max(mark.line, 0));
    int column = std::max(mark.column, 0);
    if (row < lines_.size()) column = display_length(lines_[row].substr(0, static_cast<size_t>(column)));
    return {file_, static_cast<int>(row) + 1, column + 1, std::max(1, display_length(text))};
  }
  std::optional<YamlNode> take() && { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(start(mark, "?", anchor)); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    diagnostics_.error(position(mark), "aliases ('*name') are not supported", "write the value again");
    leaf(start(mark, "?", 0));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = start(mark, tag, anchor);
    node.kind = YamlNode::Kind::scalar;
    node.text = value;
    node.quoted = tag == "!";
    node.at.length = std::max(1, display_length(value) + (node.quoted ? 2 : 0));
    const bool plain = std::none_of(value.begin(), value.end(), is_control);
    if (!plain || first_invalid_utf8(value) < value.size()) {
      diagnostics_.error(node.at, "the text has an escape for a control character", "only \\n and \\t are allowed");
    }
    leaf(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(start(mark, tag, anchor), YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(start(mark, tag, anchor), YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YamlNode node;
    std::optional<YamlNode> key;
    std::map<std::string, Position> seen;
  };

  YamlNode start(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    YamlNode node;
    node.at = position(mark);
    if (++values_ > max_yaml_values) {
      diagnostics_.error(node.at, fmt::format("more than {} values in one file", max_yaml_values));
      throw Stop();
    }
    if (anchor != 0) diagnostics_.error(node.at, "anchors ('&name') are not supported", "write the value again");
    if (tag != "?" && tag != "!" && !tag.empty()) {
      diagnostics_.error(node.at, fmt::format("the tag {} is not supported", in_quotes(tag)), "remove it");
    }
    return node;
  }
  void open(YamlNode node, YamlNode::Kind kind) {
    node.kind = kind;
    if (stack_.size() >= static_cast<size_t>(max_yaml_depth)) {
      diagnostics_.error(node.at, fmt::format("nested more than {} levels deep", max_yaml_depth));
      throw Stop();
    }
    stack_.push_back({std::move(node), {}, {}});
  }
  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    leaf(std::move(node));
  }
  // A finished node: the root, a list item, a key, or a value.
  void leaf(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
    } else if (Frame& top = stack_.back(); top.node.kind == YamlNode::Kind::list) {
      top.node.items.push_back(std::move(node));
    } else if (!top.key) {
      top.key = std::move(node);
    } else {
      add_entry(top, std::move(node));
    }
  }
  void add_entry(Frame& top, YamlNode value) {
    YamlNode key = std::move(*top.key);
    top.key.reset();
    if (key.kind != YamlNode::Kind::scalar) {
      diagnostics_.error(key.at, fmt::format("a key must be a name, found {}", describe(key)));
    } else if (key.text == "<<" && !key.quoted) {
      diagnostics_.error(key.at, "merge keys ('<<') are not supported",
                         "in a config, 'extends: other.yaml' at the top takes another file as the base");
    } else if (const auto [first, fresh] = top.seen.emplace(key.text, key.at); !fresh) {
      diagnostics_.error(key.at,
                         fmt::format("duplicate key {}, first at {}", in_quotes(key.text), to_string(first->second)),
                         "remove one of the two");
    } else {
      top.node.entries.push_back({std::move(key), std::move(value)});
    }
  }

  std::string file_;
  const std::vector<std::string_view>& lines_;
  Diagnostics& diagnostics_;
  std::vector<Frame> stack_;
  std::optional<YamlNode> root_;
  size_t values_ = 0;
};

// Only notes that a document is there.
class SecondDocument final : public YAML::EventHandler {
 public:
  std::optional<YAML::Mark> at;
  void OnDocumentStart(const YAML::Mark& mark) override {
    at = mark;
    throw Stop();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// What no YAML text may contain. Reports each kind once; false when there is something.
bool check_raw_text(const std::string& file, const std::vector<std::string_view>& lines, Diagnostics& diagnostics) {
  const int errors = diagnostics.errors();
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string_view line = lines[i];
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const int number = static_cast<int>(i) + 1;
    const size_t bad = first_invalid_utf8(line);
    if (bad < line.size()) {
      diagnostics.error({file, number, display_length(line.substr(0, bad)) + 1},
                        fmt::format("the byte 0x{:02x} is not valid UTF-8", static_cast<unsigned char>(line[bad])),
                        "save the file as UTF-8");
      return false;
    }
    const auto control = std::find_if(line.begin(), line.end(), is_control);
    if (control != line.end()) {
      diagnostics.error(
          {file, number, display_length({line.begin(), control}) + 1},
          fmt::format("the control character 0x{:02x} is not allowed", static_cast<unsigned char>(*control)),
          "is this a text file?");
      return false;
    }
    const size_t text = std::min(line.find_first_not_of(" \t"), line.size());
    const size_t tab = line.substr(0, text).find('\t');
    if (text < line.size() && line[text] != '#' && tab != std::string_view::npos) {
      diagnostics.error({file, number, static_cast<int>(tab) + 1}, "a tab in the indentation", "use spaces");
    }
  }
  return diagnostics.errors() == errors;
}

}  // namespace

const YamlNode* YamlNode::find(const std::string& key) const {
  for (const auto& [name, value] : entries) {
    if (name.text == key) return &value;
  }
  return nullptr;
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::map:
      return "a map";
    case YamlNode::Kind::scalar:
      break;
  }
  return (node.quoted ? "the string " : "") + in_quotes(node.text);
}

std::optional<std::string> read_yaml_file(const std::string& path, const Position& from, Diagnostics& diagnostics) {
  const Position at = from.file.empty() ? Position{path} : from;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    diagnostics.error(at, fmt::format("cannot read {}: it is a folder", path));
    return {};
  }
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string bytes(max_yaml_bytes + 1, '\0');
  if (in) in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!in.is_open() || in.bad()) {
    const std::string reason = errno != 0 ? std::strerror(errno) : "unknown error";
    diagnostics.error(at, fmt::format("cannot read {}: {}", path, reason));
    return {};
  }
  bytes.resize(static_cast<size_t>(in.gcount()));
  if (bytes.size() > max_yaml_bytes) {
    diagnostics.error(at, fmt::format("{} is larger than {} MiB", path, max_yaml_bytes >> 20), "is it the right file?");
    return {};
  }
  diagnostics.add_source(path, bytes);
  return bytes;
}

std::optional<YamlNode> parse_yaml(const std::string& file, const std::string& text, Diagnostics& diagnostics) {
  if (text.size() > max_yaml_bytes) {
    diagnostics.error({file}, fmt::format("the text is larger than {} MiB", max_yaml_bytes >> 20));
    return {};
  }
  const std::string body = text.rfind("\xEF\xBB\xBF", 0) == 0 ? text.substr(3) : text;
  const std::vector<std::string_view> lines = lines_of(body);
  if (!check_raw_text(file, lines, diagnostics)) return {};
  TreeBuilder builder(file, lines, diagnostics);
  std::istringstream in(body);
  try {
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) {
      diagnostics.error({file, 1, 1}, "the file is empty", "expected 'key: value' lines");
      return {};
    }
    SecondDocument second;
    try {
      parser.HandleNextDocument(second);
    } catch (const Stop&) {
      diagnostics.error(builder.position(*second.at), "a second document starts here",
                        "one document per file; remove '---'");
    }
  } catch (const Stop&) {
    return {};
  } catch (const YAML::Exception& e) {
    diagnostics.error(builder.position(e.mark), "not valid YAML: " + e.msg, "check indentation, quotes and brackets");
    return {};
  }
  std::optional<YamlNode> root = std::move(builder).take();
  if (!root || root->kind == YamlNode::Kind::null) {
    diagnostics.error({file, 1, 1}, "the file is empty", "expected 'key: value' lines");
    return {};
  }
  return root;
}

MapReader::MapReader(const YamlNode& node, std::string what, Diagnostics& diagnostics)
    : at_(node.at), what_(std::move(what)), diagnostics_(diagnostics) {
  if (node.kind == YamlNode::Kind::map) {
    node_ = &node;
  } else {
    diagnostics.error(node.at, fmt::format("{} must be a map ('key: value' lines), found {}", what_, describe(node)));
  }
}

const YamlNode* MapReader::optional(const std::string& key) {
  known_.push_back(key);
  return node_ == nullptr ? nullptr : node_->find(key);
}

const YamlNode* MapReader::required(const std::string& key, const std::string& hint) {
  const YamlNode* value = optional(key);
  if (value == nullptr && node_ != nullptr) {
    diagnostics_.error(at_, fmt::format("{} needs the key '{}'", what_, key), hint);
  }
  return value;
}

std::optional<std::string> MapReader::as_text(const std::string& key, const YamlNode* value) {
  if (value == nullptr) return {};
  if (value->kind == YamlNode::Kind::scalar && !value->text.empty()) return value->text;
  diagnostics_.error(value->at, fmt::format("'{}' of {} must be a text, found {}", key, what_,
                                            value->kind == YamlNode::Kind::scalar ? "an empty one" : describe(*value)));
  return {};
}

std::optional<std::string> MapReader::optional_text(const std::string& key) { return as_text(key, optional(key)); }

std::optional<std::string> MapReader::required_text(const std::string& key, const std::string& hint) {
  return as_text(key, required(key, hint));
}

void MapReader::finish() {
  if (node_ == nullptr) return;
  for (const auto& [key, value] : node_->entries) {
    if (std::find(known_.begin(), known_.end(), key.text) != known_.end()) continue;
    const std::string near = did_you_mean(key.text, known_);
    diagnostics_.error(key.at, fmt::format("unknown key {} in {}", in_quotes(key.text), what_),
                       near.empty() ? "known keys: " + join(known_) : near);
  }
}

}  // namespace govtrain
