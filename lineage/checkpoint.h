// The head of a log as text (C2SP tlog-checkpoint v1.0.0): origin, size, root. Signed by wrapping it in a note.
// It carries no time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/hash.h"
#include "core/status.h"
#include "lineage/note.h"

namespace govtrain {

struct Checkpoint {
  std::string origin;
  uint64_t size = 0;
  Digest root{};
  std::vector<std::string> extensions;  // non-empty lines; none are written by govtrain
  bool operator==(const Checkpoint&) const = default;
};

std::string checkpoint_text(const Checkpoint& checkpoint);
// `corrupt` unless `text` is exactly the text form of a checkpoint.
Result<Checkpoint> parse_checkpoint(std::string_view text);

// Opens a signed checkpoint. The origin must equal the key's name.
Result<Checkpoint> verify_checkpoint(std::string_view note, const NoteKey& key);

}  // namespace govtrain
