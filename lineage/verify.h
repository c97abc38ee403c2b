// Checks a log as an outsider would: re-derives every hash, tile and the root from the entries alone and compares them
// with the files and the signature; then checks what the records say. Deliberately shares no reading code with the
// writer or the reader, only hashing, parsing of single records, and the names of files. Changes nothing, takes no
// lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/checkpoint.h"

namespace govtrain {

struct VerifyOptions {
  bool records = true;      // check the schema of the entries, not only the tree
  size_t max_listed = 100;  // problems and warnings kept as text; all are counted
};

struct VerifyReport {
  Checkpoint checkpoint;  // what was verified
  uint64_t entries = 0;
  uint64_t examples = 0;                     // "ex" records, excluded ones included
  uint64_t excluded = 0;                     // of these, excluded when the run started
  uint64_t superseded = 0;                   // entries that a rewind superseded
  uint64_t replayed = 0;                     // records that repeat a superseded one
  uint64_t tiles = 0;                        // hash tiles compared
  uint64_t provenance = 0;                   // provenance objects
  std::map<std::string, uint64_t> controls;  // control records by kind

  uint64_t problem_count = 0;
  std::vector<std::string> problems;
  // Worth a look, but no disagreement: left-overs of a crash, replay that differs, profiles without a record.
  uint64_t warning_count = 0;
  std::vector<std::string> warnings;

  bool ok() const { return problem_count == 0; }
};

VerifyReport verify_log(FileSystem& fs, const std::string& dir, const NoteKey& key, const VerifyOptions& options = {});

}  // namespace govtrain
