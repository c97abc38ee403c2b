// Reads a configuration into the options that a schema is bound to. Precedence: defaults, then the file that `extends`
// names (and what that extends), then the file, then the command line. Everything that is wrong is reported at once.
// Does not know what the keys mean: combinations are checked by the program, with where() for positions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/schema.h"

namespace govtrain {

struct LoadedConfig {
  std::map<std::string, Position> given;  // keys that something gave; all others have their default
  std::vector<std::string> files;         // as read, the base first
  bool unreadable = false;                // a file could not be read at all; what it would give is not known

  // Where the value of `key` was given; the main file without a line when it is the default.
  Position where(const std::string& key) const;
  // "default", "configs/a.yaml:12" or "command line, argument 2".
  std::string origin(const std::string& key) const;
};

// Resets every option to its default, then applies the files and the overrides. `overrides` are "a.b=c" (lists as
// [x, y]) and "~a.b" or "~section" (back to the default); argument numbers in messages start at 1. An empty `path`
// reads no file. After errors the options hold what could be read; call diagnostics.throw_if_errors().
LoadedConfig load_config(Schema& schema, const std::string& path, const std::vector<std::string>& overrides,
                         Diagnostics& diagnostics);

}  // namespace govtrain
