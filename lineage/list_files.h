// A recursive listing, for the recovery and the verifier.
#pragma once

#include <string>
#include <vector>

#include "core/file.h"

namespace govtrain {

// Paths of all files below `dir`, relative to it, in the order of their names; an absent folder has none. Folders
// deeper than 32 are listed as if they were files.
Result<std::vector<std::string>> list_files(FileSystem& fs, const std::string& dir);

}  // namespace govtrain
