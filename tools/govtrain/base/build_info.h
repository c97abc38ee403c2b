// What this build is: for `version`, `env`, and the first record of a log.
#pragma once

#include <string>

namespace govtrain {

std::string version();            // "0.1.0"
std::string version_line();       // "govtrain 0.1.0 (3f2a...)"
std::string git_id();             // commit of the sources, "+changes" when they were edited; "unknown" outside of git
std::string build_description();  // compiler, standard, optimisation, assertions

}  // namespace govtrain
