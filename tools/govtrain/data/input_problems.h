// The problems of the inputs, gathered. For the readers of this folder only.
#pragma once

#include <string>
#include <vector>

#include "tools/govtrain/data/input.h"

namespace govtrain {

class InputProblems {
 public:
  void add(const std::string& where, const std::string& what) {
    if (!full()) lines_.push_back(where + ": " + what);
  }
  bool full() const { return lines_.size() >= static_cast<size_t>(max_input_problems); }
  bool empty() const { return lines_.empty(); }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

// Adds the records of one file of JSON lines; problems go to `problems`.
void read_jsonl(const std::string& path, std::vector<Record>& records, InputProblems& problems);

// Adds one record for each text file: `path` is a folder, or one file. The sidecar is sources.yaml in the folder.
void read_texts(const std::string& path, std::vector<Record>& records, InputProblems& problems);

// What is wrong with a text, or "".
std::string text_problem(const std::string& text);

bool is_jsonl_name(const std::string& path);

}  // namespace govtrain
