// Runs the real program and keeps what it prints. For tests only.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace govtrain_test {

struct Output {
  int status = -1;
  std::string out, err;
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// A fresh, empty folder for one test.
inline std::string fresh_folder(const std::string& name) {
  const auto path = std::filesystem::temp_directory_path() / ("govtrain_" + name + "_" + std::to_string(::getpid()));
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path.string();
}

// `arguments` is shell text; the program runs in `folder`.
inline Output run_govtrain(const std::string& arguments, const std::string& folder) {
  const std::string out = folder + "/.stdout", err = folder + "/.stderr";
  const std::string command = "cd '" + folder + "' && '" + GOVTRAIN_BINARY + "' " + arguments + " >.stdout 2>.stderr";
  const int raw = std::system(command.c_str());  // NOLINT
  REQUIRE(WIFEXITED(raw));
  return {WEXITSTATUS(raw), read_text(out), read_text(err)};
}

}  // namespace govtrain_test
