// What opening a log for writing does before the first append: checks that the files agree, then cleans up.
#pragma once

#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/log_format.h"
#include "lineage/note.h"

namespace govtrain {

struct RecoveredLog {
  TreeState state;
  uint64_t published = 0;                 // size of the checkpoint, <= state.size
  std::string note;                       // the checkpoint; empty when it was never published
  std::vector<std::vector<Digest>> edge;  // as TileTree::edge
  std::string bundle;                     // the unfinished bundle
};

// REQUIRES: the lock is held. Changes nothing on the disk.
Result<RecoveredLog> recover_log(FileSystem& fs, const std::string& dir, const NoteKey& key);

// Removes *.tmp files, tiles beyond `size` entries, and partial tiles whose full tile is within `size`. REQUIRES: the
// lock is held, `size` is committed. Files that are not part of the format stay.
Status remove_leftovers(FileSystem& fs, const std::string& dir, uint64_t size);

}  // namespace govtrain
