// YAML with positions: a small owned tree in which every key and value knows its file, line and column, and a reader of
// maps that reports what it did not expect. Deliberately a subset: one document, no anchors, aliases, merge keys, tags
// or tabs, and no guessing of types (scalars stay text). Parsing is yaml-cpp's; the limits are here, so that no input
// can exhaust memory or stack.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/config/diagnostics.h"

namespace govtrain {

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  Position at;
  std::string text;             // scalar
  bool quoted = false;          // scalar in quotes or a block scalar: text, never a number
  std::vector<YamlNode> items;  // list
  struct Entry;
  std::vector<Entry> entries;  // map; keys are scalars, each key once
  // The value of `key`, or nullptr.
  const YamlNode* find(const std::string& key) const;
};

struct YamlNode::Entry {
  YamlNode key, value;
};

// "a map", "a list", "nothing", "the string 'x'" or "'x'", for messages.
std::string describe(const YamlNode& node);

inline constexpr size_t max_yaml_bytes = 8 << 20;
inline constexpr int max_yaml_depth = 32;
inline constexpr size_t max_yaml_values = 20'000;

// The bytes of a file of at most max_yaml_bytes; reports at `from` (or at the file) and gives nothing when it cannot be
// read. Also adds it as a source.
std::optional<std::string> read_yaml_file(const std::string& path, const Position& from, Diagnostics& diagnostics);

// Parses one document. Reports every problem; gives the tree when there is one at all, even after errors such as
// duplicate keys (the first is kept), so that the caller can report more. `file` names it in messages.
std::optional<YamlNode> parse_yaml(const std::string& file, const std::string& text, Diagnostics& diagnostics);

// Reads a map key by key. finish() reports every key that was not asked for, with the nearest that was.
class MapReader {
 public:
  // `what` names the map in messages: "rule 2". Reports when `node` is not a map; then every look-up finds nothing.
  MapReader(const YamlNode& node, std::string what, Diagnostics& diagnostics);
  bool ok() const { return node_ != nullptr; }
  const Position& at() const { return at_; }

  const YamlNode* optional(const std::string& key);
  // Reports a missing key with `hint`.
  const YamlNode* required(const std::string& key, const std::string& hint = "");
  // A non-empty scalar, or nothing (reported unless absent).
  std::optional<std::string> optional_text(const std::string& key);
  std::optional<std::string> required_text(const std::string& key, const std::string& hint = "");
  void finish();

 private:
  std::optional<std::string> as_text(const std::string& key, const YamlNode* value);
  const YamlNode* node_ = nullptr;
  Position at_;
  std::string what_;
  Diagnostics& diagnostics_;
  std::vector<std::string> known_;
};

}  // namespace govtrain
