// The option --meta of verbs that judge a text of which only the metadata is given.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "routing/resolve.h"
#include "tools/govtrain/base/exit.h"

namespace govtrain {

// KEY=VALUE each; of equal keys the last counts. Throws Failure.
inline Meta meta_of(const std::vector<std::string>& pairs) {
  Meta meta;
  for (const std::string& pair : pairs) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Failure(exit_usage, fmt::format("--meta: expected key=value, got '{}'", pair));
    meta[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  return meta;
}

}  // namespace govtrain
