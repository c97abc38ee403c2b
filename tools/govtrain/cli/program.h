// The program as a function: finds the verb, parses its options, runs it, turns errors into messages and exit statuses.
#pragma once

#include <string>
#include <vector>

namespace govtrain {

// `args` without the program's name. Returns an ExitCode; messages about errors go to standard error. Never throws.
int run_program(const std::vector<std::string>& args);

// The text of `govtrain help` (topic empty), or of a verb ("data prepare") or group of verbs ("data"). Empty when there
// is no such topic.
std::string help_text(const std::string& topic);

}  // namespace govtrain
