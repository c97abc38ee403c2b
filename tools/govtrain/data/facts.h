// What the policy is told of a document: the metadata of each of its records, and the classes that a classification
// claims for it. The only place where the two are joined, so that a document is excluded when the data are prepared
// and routed in training by the same facts.
#pragma once

#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/hash.h"
#include "routing/classification.h"
#include "routing/document.h"

namespace govtrain {

// Metadata of a corpus record as the policy sees it: strings as they are, other JSON values as their JSON text.
Meta policy_meta(const nlohmann::json& meta);

// One record of a document.
struct Origin {
  nlohmann::json meta;
  std::optional<std::vector<Claim>> claims;  // nothing: there is no classification, `class` is the metadata's
};

// Each record once for every class that is claimed for it; without `class` when none is.
DocumentFacts facts_of(const std::vector<Origin>& origins, const Digest& digest);

// What records of the log say of the class: the classes, sorted and joined by '+' (without a classification the first
// record's `class`), and the lowest score of the claims, if there are any.
struct ClassSummary {
  std::string cls;
  std::optional<float> score;
};
ClassSummary class_summary(const std::vector<Origin>& origins);

// [{"by":..,"class":..,"score":..}], and back; throws Error for anything else.
nlohmann::json claims_json(const std::vector<Claim>& claims);
std::vector<Claim> parse_claims(const nlohmann::json& claims);

// {"ex":..,"provenance":[..]}, with "claims":[[..],..] beside it when there is a classification: the content of a
// document's provenance object, one line.
std::string provenance_json(const std::vector<Origin>& origins, const Digest& digest);

// A classification at work on a corpus, and what was seen of its labels. Thread-safe.
class DocumentClassifier {
 public:
  explicit DocumentClassifier(Classification classification);
  const Classification& classification() const { return classification_; }
  // SHA-256 of Classification::canonical(), hex.
  const std::string& sha256() const { return sha256_; }

  std::vector<Claim> claims(const nlohmann::json& meta, const Digest& digest, const std::string& text);
  // Throws Error that lists the classes of metadata that the classification does not list, if any were seen.
  void check() const;
  // Labels that named no record that was seen, one line for each source that has such.
  std::vector<std::string> notes() const;

 private:
  Classification classification_;
  std::string sha256_;
  mutable std::mutex mutex_;
  std::set<std::string> unlisted_;
  std::set<const ClassLabel*> used_;
};

}  // namespace govtrain
