// Lists of documents that no block may learn from: the exclusions of a policy, and revocation lists, which are the same
// lines with a day before them where a revocation begins later. Knows no policy.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "routing/date.h"
#include "routing/document.h"

namespace govtrain {

struct Exclusion {
  std::string name;
  std::vector<std::string> ids;      // sorted, unique
  std::vector<std::string> digests;  // sorted, unique; 64 lower-case hex digits
  std::vector<std::string> sources;  // patterns on 'source'; sorted, unique
  Position at;
};

// 64 lower-case hex digits, 'sha256:' before them or not; without it.
std::optional<std::string> digest_of(const std::string& text);
std::string trimmed(const std::string& text);

// One entry: an id, 'sha256:<hex>' or 'source:<pattern>'. Appends it, unsorted; reports what it is not.
void read_exclusion_entry(const std::string& entry, const Position& at, Exclusion& out, Diagnostics& diagnostics);
void sort_exclusion(Exclusion& exclusion);

// Whether it lists the document, and why.
bool excludes(const Exclusion& exclusion, const DocumentFacts& facts, std::string& reason);

// A line of a revocation list: '[YYYY-MM-DD] entry'.
struct Revocation {
  std::optional<Date> from;  // none: at once
  std::string entry;
  std::string text() const { return (from ? from->text() + " " : "") + entry; }
  bool operator==(const Revocation&) const = default;
};

// Reads a whole list, '#' begins a comment line. A last line without a line end is an error: the list may be half
// written. Reports every problem, and gives nothing after one.
std::optional<std::vector<Revocation>> read_revocations(const std::string& file, const std::string& text,
                                                        Diagnostics& diagnostics);
// The entries as one exclusion. REQUIRES: they come from read_revocations().
Exclusion as_exclusion(const std::string& name, const std::vector<std::string>& entries);

}  // namespace govtrain
