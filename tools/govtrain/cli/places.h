// Where things are: the checkpoint that a path means, and what kind of YAML file a path is.
#pragma once

#include <string>

namespace govtrain {

// `path` itself when it is a checkpoint, else the newest complete checkpoint of the run folder `path`. Throws Failure.
std::string checkpoint_folder(const std::string& path);

// True when the file is a policy (`policy:` is a name there, a section in a run configuration).
bool is_policy_file(const std::string& path);

}  // namespace govtrain
