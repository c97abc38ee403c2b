// From text files to a prepared corpus: read, clean, classify, exclude, deduplicate, split, train the tokenizer,
// encode, write.
//
// Excluded documents are out before anything else looks at them: every file that training reads has the same bytes as
// if they had been deleted from the input. So have all files for any order of the input. The order of everything is the
// order of the documents' SHA-256.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/hash.h"
#include "tools/govtrain/data/clean.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/facts.h"
#include "tools/govtrain/data/tokenizer.h"

namespace govtrain {

struct PrepareOptions {
  std::vector<std::string> inputs;
  std::string cache;  // folder that holds one folder for each key
  TokenizerOptions tokenizer;
  CleaningOptions cleaning;
  double validation_fraction = 0.05;  // [0, 1)
};

// The reason why a text of these records is excluded, or nothing. Asked for each record with its own metadata and
// claims, before records with the same text are joined: a text that also comes from an admitted record stays, with that
// record's provenance only. Asked again for each joined document with all that are left. Must be a pure function.
using Exclude = std::function<std::optional<std::string>(const std::vector<Origin>& origins, const Digest& document)>;

struct PrepareReport {
  std::string folder;  // <cache>/<key>
  std::string key;
  bool hit = false;  // the folder was there already
  int64_t records = 0;
  int64_t excluded = 0;    // records
  int64_t too_short = 0;   // records dropped by min_chars
  int64_t duplicates = 0;  // records whose text another admitted record has
  int64_t documents = 0, train_documents = 0;
  int64_t tokens = 0;
  std::vector<std::string> notes;  // what is odd but not wrong, for people
};

// Throws Error for problems of the options and the inputs; a Status tells of the disk. Nothing is half-written. One
// prepare at a time works on a cache (`locked` otherwise). `classifier`, if any, is asked about every record first.
Result<PrepareReport> prepare(FileSystem& fs, const PrepareOptions& options, const Exclude& exclude = {},
                              DocumentClassifier* classifier = nullptr);

// The documents that prepare() would write, with their texts; ascending by digest. Throws Error.
struct SelectedDocument {
  Digest digest;
  std::string text;
  std::vector<Origin> origins;
  Split split = Split::train;
};
std::vector<SelectedDocument> select_documents(const PrepareOptions& options, const Exclude& exclude,
                                               DocumentClassifier* classifier);

// Hit or miss, the key, the counts; a line for each note.
std::string describe(const PrepareReport& report);

}  // namespace govtrain
