// Cleaning: from the text of a record to the canonical bytes whose SHA-256 is the document's id. Deliberately small: no
// Unicode normalisation, no language detection, no filtering by quality.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/hash.h"

namespace govtrain {

struct CleaningOptions {
  bool normalize_newlines = true;  // CR LF and CR become LF
  bool strip_control = true;       // drops U+0000..1F except tab and LF, U+007F..9F, and U+FEFF
  int max_blank_lines = 2;         // longer runs of empty lines are cut to this many; -1: kept
  int64_t min_chars = 1;           // shorter documents (in characters, after cleaning) are dropped
};

// REQUIRES: valid UTF-8. Pure: the result depends on the arguments alone. Applying it twice changes nothing more.
std::string clean(std::string_view text, const CleaningOptions& options);

// Number of characters (code points) of valid UTF-8.
int64_t count_chars(std::string_view text);

// True for validation: the first 64 bits of SHA-256("split" || digest), big-endian, are below fraction * 2^64.
// Independent of every other document. REQUIRES: fraction in [0, 1].
bool in_validation(const Digest& digest, double fraction);

}  // namespace govtrain
