// What a policy may know about a document. Plain data; comes from the corpus, never from the model.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace govtrain {

// One origin of a document: license, source, package, version, path, url, language, class, privacy, or any other key.
using Meta = std::map<std::string, std::string>;

struct DocumentFacts {
  std::string id;
  std::string digest;             // SHA-256 of the content, 64 hex digits, "sha256:" before it or not
  std::vector<Meta> provenances;  // several after deduplication; none counts as one without any key
};

}  // namespace govtrain
