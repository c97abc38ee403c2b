#include "routing/file_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "routing/learned_blocks.h"

namespace govtrain {
namespace {

const char* name(FileKind kind) {
  constexpr std::array names = {"a file of another kind", "a configuration", "a policy",
                                "a classification",       "a block file",    "a file of learned blocks"};
  return names[static_cast<size_t>(kind)];
}

// Where a file of the kind belongs.
const char* place(FileKind kind) {
  constexpr std::array places = {"",
                                 "it is what 'govtrain run' and 'govtrain validate' take",
                                 "a configuration names it in policy.file",
                                 "a configuration names it in policy.classification",
                                 "blocks.file names it, with blocks.by: selectors",
                                 "blocks.file names it, with blocks.by: learned"};
  return places[static_cast<size_t>(kind)];
}

}  // namespace

FileKind file_kind(const YamlNode& root) {
  if (root.kind != YamlNode::Kind::map) return FileKind::unknown;
  const auto section = [&](const char* key) {
    const YamlNode* node = root.find(key);
    return node != nullptr && node->kind == YamlNode::Kind::map;
  };
  const auto sections = {"run", "data", "model", "optim", "train"};
  // First, as whoever writes `policy: p.yaml` into one has still written a configuration.
  if (std::count_if(sections.begin(), sections.end(), section) >= 2) return FileKind::configuration;
  const auto scalar = [&](const char* key) {
    const YamlNode* node = root.find(key);
    return node != nullptr && node->kind == YamlNode::Kind::scalar ? node : nullptr;
  };
  const YamlNode* format = scalar("format");
  if (format != nullptr && format->text == learned_format) return FileKind::learned_blocks;
  if (scalar("policy") != nullptr) return FileKind::policy;
  if (scalar("classification") != nullptr) return FileKind::classification;
  if (scalar("blocks") != nullptr) return FileKind::blocks;
  return FileKind::unknown;
}

bool is_another_kind(const YamlNode& root, FileKind expected, Diagnostics& diagnostics) {
  const FileKind found = file_kind(root);
  if (found == FileKind::unknown || found == expected) return false;
  diagnostics.error(root.at, fmt::format("this is {}; expected {}", name(found), name(expected)), place(found));
  return true;
}

bool is_another_kind(const std::string& path, FileKind expected, Diagnostics& diagnostics) {
  Diagnostics ignored;
  const auto text = read_yaml_file(path, {}, ignored);
  if (!text) return false;
  const auto root = parse_yaml(path, *text, ignored);
  if (!root || ignored.has_errors() || file_kind(*root) == expected) return false;
  diagnostics.add_source(path, *text);
  return is_another_kind(*root, expected, diagnostics);
}

}  // namespace govtrain
