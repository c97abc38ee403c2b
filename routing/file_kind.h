// Which of the project's YAML files one is, by the keys that only its kind has, so that a file in the place of another
// kind gives one error and not one for each key. Says nothing of whether the file is valid.
#pragma once

#include <string>

#include "core/config/diagnostics.h"
#include "core/config/yaml.h"

namespace govtrain {

enum class FileKind { unknown, configuration, policy, classification, blocks, learned_blocks };

FileKind file_kind(const YamlNode& root);

// Reports that `root` is of another kind than `expected`, if it surely is; true when it did.
bool is_another_kind(const YamlNode& root, FileKind expected, Diagnostics& diagnostics);
// The same for a file; false for one that cannot be read or parsed.
bool is_another_kind(const std::string& path, FileKind expected, Diagnostics& diagnostics);

}  // namespace govtrain
