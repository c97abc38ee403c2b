// Writes a prepared corpus to disk, atomically: into a temporary folder, every file synced, then renamed. After a crash
// the folder is there completely or not at all. The format is described in docs/data.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/hash.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/tokenizer.h"

namespace govtrain {

struct ShardDocument {
  Digest digest;
  Split split = Split::train;
  std::vector<std::string> provenance;  // canonical JSON objects, sorted, no duplicates
  std::string claims;                   // canonical JSON: claims_json() of each provenance; empty: none were asked for
  std::vector<int32_t> tokens;
};

struct ShardContents {
  std::vector<ShardDocument> documents;  // ascending by digest
  const Tokenizer* tokenizer = nullptr;
  nlohmann::json options;  // what the files were made with; into the manifest
  std::string excluded;    // excluded.jsonl: not part of the manifest, not read by training
  nlohmann::json prepare;  // prepare.json: likewise
};

// Removes what a killed writer left behind for `folder`, then writes. The parent is created.
Status write_shards(FileSystem& fs, const std::string& folder, const ShardContents& contents);

}  // namespace govtrain
