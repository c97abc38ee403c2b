// A prepared corpus on disk, read-only: documents with digest, provenance and split, their tokens in one mapped file,
// and the tokenizer. Made by prepare(); the format is described in docs/data.md. Everything is checked when it is
// opened: sizes, ranges, and the SHA-256 of every file.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/hash.h"
#include "core/status.h"
#include "tools/govtrain/data/facts.h"
#include "tools/govtrain/data/tokenizer.h"

namespace govtrain {

enum class Split { train, validation };
const char* split_name(Split split);

struct DatasetDocument {
  Digest digest;  // SHA-256 of the cleaned text: the document's id
  Split split = Split::train;
  uint64_t begin = 0;                      // first token in the token file
  uint64_t tokens = 0;                     // >= 1; without bos and eos
  std::vector<nlohmann::json> provenance;  // the metadata objects of all records with this text, >= 1, sorted
  std::vector<std::vector<Claim>> claims;  // for each of them; empty: prepared without a classification

  std::vector<Origin> origins() const;
};

class Dataset {
 public:
  // `not_found`, or `corrupt`/`invalid` with the file, what was found, what was expected and what to do.
  static Result<Dataset> open(const std::string& folder);

  const std::string& folder() const { return folder_; }
  // In ascending order of their digests.
  const std::vector<DatasetDocument>& documents() const { return documents_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const nlohmann::json& manifest() const { return manifest_; }
  // SHA-256 of manifest.json, which holds the SHA-256 of every file that training reads: one digest for all of it.
  const Digest& digest() const { return digest_; }
  uint64_t tokens() const { return tokens_; }
  // Id of the classification that the documents' claims come from; empty: prepared without one.
  std::string classification() const;
  // Token `position` of the token file. REQUIRES: position < tokens().
  int32_t token(uint64_t position) const;

 private:
  std::string folder_;
  std::vector<DatasetDocument> documents_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  nlohmann::json manifest_;
  Digest digest_{};
  MappedFile file_;
  const unsigned char* data_ = nullptr;
  int width_ = 2;  // bytes per token
  uint64_t tokens_ = 0;
};

}  // namespace govtrain
