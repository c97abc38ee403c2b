// What class a document has: a versioned document that lists sources of classes (the corpus' own metadata, an upstream
// label file, patterns over where a text comes from, patterns over the text, a trained linear classifier), and what
// each of them claims. Decides nothing about training: the policy maps classes to profiles, and where sources disagree
// the document has every class that is claimed, so that the most restrictive holds (routing/resolve.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config/diagnostics.h"
#include "routing/condition.h"
#include "routing/document.h"
#include "routing/linear_classifier.h"

namespace govtrain {

// One source says: this document is of class `cls`.
struct Claim {
  std::string by;  // name of the source, and of its rule after a '/'
  std::string cls;
  float score = 1;  // in [0, 1]; 1 where the source has none
  auto operator<=>(const Claim&) const = default;
};

// What a source found, whether or not it counts: for people.
struct Finding {
  std::string by;
  std::string text;            // "class letter, score 0.97"
  std::optional<Claim> claim;  // what counts of it
};

// A pattern over metadata, over lines of the text, or both; all that is given must hold.
struct ClassRule {
  std::string name, cls;
  std::optional<Condition> when;
  std::vector<std::string> line;   // patterns; some line matches one of them
  std::optional<int64_t> lines;    // at least so many lines
  std::optional<int64_t> percent;  // or at least this share of the lines that are not blank
};

struct ClassLabel {
  std::string cls;
  float score = 1;
  int line = 0;  // of the file
};

struct ClassSource {
  enum class Kind { metadata, labels, provenance, rules, model };
  Kind kind = Kind::metadata;
  std::string name;                          // unique
  std::string key;                           // metadata
  std::string file, file_sha256;             // labels, model
  std::map<std::string, ClassLabel> labels;  // by "sha256:<hex>" or "id:<id>"
  std::vector<ClassRule> rules;              // provenance, rules
  LinearClassifier model;
  double threshold = 0;  // labels, model: below it there is no claim, or that of `unsure`
  std::string unsure;    // a class, or empty
  Position at;
};

class Classification {
 public:
  // Reads the classifier that a source names: (path, place for messages) -> model, or nothing after a reported error.
  using ReadModel =
      std::function<std::optional<LinearClassifier>(const std::string& path, const Position& at, Diagnostics&)>;

  // Reads a classification and the files that it names (relative to it). Reports every problem with its position.
  // Without `read_model` the sources of kind model are left out: what remains is what a model is trained with.
  static std::optional<Classification> read(const std::string& path, const ReadModel& read_model,
                                            Diagnostics& diagnostics);

  std::string name, version;
  std::vector<std::string> classes;  // every class that may be claimed; sorted
  std::vector<ClassSource> sources;

  // What counts for one record of the corpus, in order of sources and rules. `digest`: of `text`, 64 hex digits. A pure
  // function of the classification and the arguments. Metadata may claim classes that are not in `classes`: the caller
  // reports them (listed()).
  std::vector<Claim> claims(const Meta& meta, const std::string& digest, std::string_view text) const;
  // The same with what does not count, for people.
  std::vector<Finding> findings(const Meta& meta, const std::string& digest, std::string_view text) const;
  bool listed(const std::string& cls) const;
  // The labels of a source for this record: by digest, and by the id that the corpus gives it.
  static std::vector<const ClassLabel*> labels_of(const ClassSource& source, const Meta& meta,
                                                  const std::string& digest);

  // One line of JSON: everything that decides a claim, files by their SHA-256; independent of layout and places.
  const std::string& canonical() const { return canonical_; }
  // name@first 8 hex digits of SHA-256(canonical()).
  const std::string& id() const { return id_; }

 private:
  friend class ClassificationReader;
  std::string canonical_, id_;
};

// The classes of a record's claims, sorted, each once.
std::vector<std::string> claimed_classes(const std::vector<Claim>& claims);

// `meta` once for each claimed class, with that class as its `class`; once without `class` when nothing is claimed.
std::vector<Meta> with_classes(const Meta& meta, const std::vector<Claim>& claims);

}  // namespace govtrain
