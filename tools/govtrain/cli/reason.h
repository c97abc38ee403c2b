// The option --reason of verbs that decide something which the log keeps.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace govtrain {

inline void add_reason(CLI::App& app, std::string& reason) {
  app.add_option("--reason", reason, "Why; goes into the log")
      ->required()
      ->type_name("TEXT")
      ->check([](const std::string& text) {
        const bool blank = text.find_first_not_of(" \t\r\n") == std::string::npos;
        return blank ? std::string("is empty; say why") : std::string();
      });
}

}  // namespace govtrain
