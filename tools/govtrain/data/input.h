// Records from files: JSON lines, and plain text with a sidecar that says where it comes from. Strict: whatever is not
// as it should be is reported with its place, all problems at once (at most 20), and then there are no records at all.
//
//   *.jsonl, *.json[l].gz, *.json[l].zst   one object a line: {"text": "...", "meta": {...}}
//   any other file, or a folder of them    one document a file; sources.yaml beside them gives the metadata:
//                                            sources:
//                                              - files: "novels/*.txt"      # shell pattern, '*' crosses folders
//                                                meta: {license: CC0-1.0, author: ...}
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace govtrain {

struct Record {
  std::string text;     // valid UTF-8, not empty, no NUL
  nlohmann::json meta;  // an object, perhaps empty
};

inline constexpr int max_input_problems = 20;

// The records of all inputs, in the order given (folders: by path). Relative paths are against the working folder.
// Throws Error that lists the problems as "file:line:column: what", column in bytes where it is known.
std::vector<Record> read_inputs(const std::vector<std::string>& paths);

}  // namespace govtrain
