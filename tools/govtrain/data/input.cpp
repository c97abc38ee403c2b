#include "tools/govtrain/data/input.h"

#include <filesystem>

#include "core/error.h"
#include "tools/govtrain/data/input_problems.h"

namespace govtrain {

namespace fs = std::filesystem;

namespace {

void read_input(const std::string& path, std::vector<Record>& records, InputProblems& problems) {
  if (!fs::exists(path)) {
    problems.add(path, "no such file or folder (tried " + fs::absolute(path).lexically_normal().string() + ")");
  } else if (fs::is_directory(path) || !is_jsonl_name(path)) {
    read_texts(path, records, problems);
  } else {
    read_jsonl(path, records, problems);
  }
}

}  // namespace

std::vector<Record> read_inputs(const std::vector<std::string>& paths) {
  if (paths.empty()) throw Error("data", "there are no inputs; expected at least one path in data.inputs");
  std::vector<Record> records;
  InputProblems problems;
  for (const std::string& path : paths) {
    if (problems.full()) break;
    try {
      read_input(path, records, problems);
    } catch (const fs::filesystem_error& e) {
      problems.add(path, e.code().message());
    }
  }
  if (problems.empty()) return records;
  std::string text;
  for (const std::string& line : problems.lines()) text += "\n  " + line;
  if (problems.full()) text += "\n  (there may be more)";
  throw Error("data", "{} problem{} in the inputs; nothing was written{}", problems.lines().size(),
              problems.lines().size() == 1 ? "" : "s", text);
}

}  // namespace govtrain
