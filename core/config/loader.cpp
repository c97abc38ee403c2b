#include "core/config/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "core/config/utf8.h"
#include "core/config/yaml.h"
#include "core/file.h"

namespace govtrain {
namespace {

constexpr size_t max_extends = 16;

class Loader {
 public:
  Loader(Schema& schema, Diagnostics& diagnostics) : schema_(schema), diagnostics_(diagnostics) {}

  // Reads the files that `path` extends before `path` itself. `from`: who asked for it.
  void file(const std::string& path, const Position& from) {
    std::error_code ignored;
    const std::string name = std::filesystem::absolute(path, ignored).lexically_normal().string();
    if (std::find(open_.begin(), open_.end(), name) != open_.end()) {
      diagnostics_.error(from, fmt::format("'extends' goes in a circle: {} is already being read", path));
      return;
    }
    if (open_.size() >= max_extends) {
      diagnostics_.error(from, fmt::format("'extends' goes more than {} files deep", max_extends));
      return;
    }
    const std::optional<std::string> text = read_yaml_file(path, from, diagnostics_);
    if (!text) {
      out_.unreadable = true;
      return;
    }
    const std::optional<YamlNode> root = parse_yaml(path, *text, diagnostics_);
    if (!root) {
      out_.unreadable = true;
      out_.files.push_back(path);
      return;
    }
    if (root->kind != YamlNode::Kind::map) {
      out_.unreadable = true;
      diagnostics_.error(root->at, fmt::format("a config must be a map ('section:' lines), found {}", describe(*root)));
      return;
    }
    if (const YamlNode* base = root->find("extends")) {
      open_.push_back(name);
      extend(path, *base);
      open_.pop_back();
    }
    out_.files.push_back(path);
    folder_ = parent_path(path);
    for (const auto& [key, value] : root->entries) {
      if (key.text != "extends") entry("", key, value);
    }
  }

  void argument(const std::string& text, size_t number) {
    const Position at{fmt::format("command line, argument {}", number), 0, 1, display_length(text)};
    diagnostics_.add_source(at.file, text);
    folder_.clear();
    if (first_invalid_utf8(text) < text.size()) {
      diagnostics_.error(at, "the argument is not valid UTF-8");
    } else if (!text.empty() && text[0] == '~') {
      remove(text.substr(1), at);
    } else if (const size_t equals = text.find('='); equals == std::string::npos || equals == 0) {
      diagnostics_.error(at, fmt::format("expected key=value or ~key, found {}", in_quotes(text)));
    } else {
      assign(text.substr(0, equals), text.substr(equals + 1), at);
    }
  }

  LoadedConfig finish(const std::string& path) && {
    if (out_.unreadable) return std::move(out_);  // what is missing may be in there
    for (const Schema::Field& field : schema_.fields()) {
      if (field.options.required && tried_.count(field.key) == 0) {
        diagnostics_.error({path.empty() ? "command line" : path},
                           fmt::format("the key '{}' is required ({})", field.key, field.expected()),
                           field.options.doc);
      }
    }
    return std::move(out_);
  }

 private:
  void extend(const std::string& path, const YamlNode& base) {
    if (base.kind != YamlNode::Kind::scalar || base.text.empty()) {
      diagnostics_.error(base.at, fmt::format("'extends' must name one file, found {}", describe(base)));
      return;
    }
    file(resolved(base.text, parent_path(path)), base.at);
  }

  static std::string resolved(const std::string& path, const std::string& folder) {
    if (path.empty() || path[0] == '/' || folder.empty()) return path;
    return (std::filesystem::path(folder) / path).lexically_normal().string();
  }

  void unknown(const std::string& key, const Position& at) {
    diagnostics_.error(at, fmt::format("unknown key {}", in_quotes(key)), schema_.suggest(key));
  }

  void entry(const std::string& prefix, const YamlNode& name, const YamlNode& value) {
    const std::string key = prefix.empty() ? name.text : prefix + "." + name.text;
    if (const Schema::Field* field = schema_.find(key)) {
      set(*field, value);
    } else if (!schema_.is_section(key)) {
      unknown(key, name.at);
    } else if (value.kind == YamlNode::Kind::map) {
      for (const auto& [inner, item] : value.entries) entry(key, inner, item);
    } else if (value.kind == YamlNode::Kind::null) {
      diagnostics_.warning(name.at, fmt::format("the section '{}' is empty", key), "remove it");
    } else {
      diagnostics_.error(value.at, fmt::format("'{}' is a section and must be a map, found {}", key, describe(value)),
                         schema_.keys_of(key));
    }
  }

  void set(const Schema::Field& field, const YamlNode& value) {
    tried_.insert(field.key);
    std::vector<Scalar> scalars;
    std::vector<Position> places;
    const bool as_list = value.kind == YamlNode::Kind::list && field.is_list();
    if (!as_list && value.kind != YamlNode::Kind::scalar) {
      diagnostics_.error(value.at,
                         fmt::format("'{}': expected {}, found {}", field.key, field.expected(), describe(value)),
                         value.kind == YamlNode::Kind::null ? "remove the key to take the default" : "");
      return;
    }
    if (!as_list && field.is_list()) {
      diagnostics_.error(value.at, fmt::format("'{}': expected a {}, found {}", field.key, field.type, describe(value)),
                         fmt::format("write [{}]", value.text));
      return;
    }
    for (const YamlNode& item : as_list ? value.items : std::vector<YamlNode>{value}) {
      if (item.kind != YamlNode::Kind::scalar) {
        diagnostics_.error(item.at,
                           fmt::format("'{}': expected a {}, found {} in it", field.key, field.type, describe(item)));
        return;
      }
      scalars.push_back({item.text, item.quoted});
      places.push_back(item.at);
    }
    store(field, scalars, places, value.at);
  }

  void store(const Schema::Field& field, const std::vector<Scalar>& scalars, const std::vector<Position>& places,
             const Position& at) {
    tried_.insert(field.key);
    if (const auto problem = field.parse(scalars)) {
      diagnostics_.error(places[problem->item], fmt::format("'{}': {}", field.key, problem->message), problem->hint);
      return;
    }
    for (size_t i = 0; field.is_text() && i < scalars.size(); ++i) {
      if (const auto warning = ambiguous_text(scalars[i])) {
        diagnostics_.warning(places[i], fmt::format("'{}': {}", field.key, warning->message), warning->hint);
      }
    }
    if (field.options.path && field.map_text) {
      field.map_text([&](const std::string& path) { return resolved(path, folder_); });
    }
    out_.given[field.key] = at;
  }

  void assign(const std::string& key, const std::string& text, const Position& at) {
    const Schema::Field* field = schema_.find(key);
    if (field == nullptr) {
      if (schema_.is_section(key)) {
        diagnostics_.error(at, fmt::format("'{}' is a section", key), schema_.keys_of(key));
      } else {
        unknown(key, at);
      }
    } else if (!field->is_list()) {
      store(*field, {{text, field->is_text()}}, {at}, at);
    } else {
      list(*field, text, at);
    }
  }

  void list(const Schema::Field& field, const std::string& text, const Position& at) {
    if (text.empty() || text[0] != '[') {
      store(field, {{text, field.is_text()}}, {at}, at);
      return;
    }
    Diagnostics inner;
    const std::optional<YamlNode> node = parse_yaml(at.file, text, inner);
    bool scalars_only = node && !inner.has_errors() && node->kind == YamlNode::Kind::list;
    std::vector<Scalar> scalars;
    if (scalars_only) {
      for (const YamlNode& item : node->items) {
        scalars_only = scalars_only && item.kind == YamlNode::Kind::scalar;
        scalars.push_back({item.text, item.quoted});
      }
    }
    if (!scalars_only) {
      diagnostics_.error(at, fmt::format("'{}': expected a list such as [a, b], found {}", field.key, in_quotes(text)));
      return;
    }
    store(field, scalars, std::vector<Position>(scalars.size(), at), at);
  }

  void remove(const std::string& key, const Position& at) {
    if (schema_.find(key) == nullptr && !schema_.is_section(key)) {
      unknown(key, at);
      return;
    }
    for (const Schema::Field& field : schema_.fields()) {
      if (field.key != key && field.key.rfind(key + ".", 0) != 0) continue;
      field.reset();
      out_.given.erase(field.key);
      tried_.erase(field.key);
    }
  }

  Schema& schema_;
  Diagnostics& diagnostics_;
  LoadedConfig out_;
  std::set<std::string> tried_;  // keys that something gave, well or badly
  std::vector<std::string> open_;
  std::string folder_;  // relative paths start here
};

}  // namespace

Position LoadedConfig::where(const std::string& key) const {
  const auto found = given.find(key);
  if (found != given.end()) return found->second;
  return {files.empty() ? "command line" : files.back()};
}

std::string LoadedConfig::origin(const std::string& key) const {
  const auto found = given.find(key);
  if (found == given.end()) return "default";
  const Position& at = found->second;
  return at.line > 0 ? fmt::format("{}:{}", at.file, at.line) : at.file;
}

LoadedConfig load_config(Schema& schema, const std::string& path, const std::vector<std::string>& overrides,
                         Diagnostics& diagnostics) {
  for (const Schema::Field& field : schema.fields()) field.reset();
  Loader loader(schema, diagnostics);
  if (!path.empty()) loader.file(path, {});
  for (size_t i = 0; i < overrides.size(); ++i) loader.argument(overrides[i], i + 1);
  return std::move(loader).finish(path);
}

}  // namespace govtrain
