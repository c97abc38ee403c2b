// A verb of the program ("data prepare") and the table of all of them. Help, completion and dispatch are made from
// this table and from nothing else.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace govtrain {

struct Verb {
  std::string name;     // one or two words
  std::string summary;  // one line, for the list of verbs
  std::string details;  // more for the verb's own help; may be empty
  // Registers options and arguments. The returned action runs once they are parsed and returns an ExitCode.
  std::function<std::function<int()>(CLI::App&)> declare;
};

// In the order in which help shows them.
const std::vector<Verb>& verbs();

}  // namespace govtrain
