// Reading a log: the entries that its signed checkpoint covers, each checked against the tree before it is handed out.
// Takes no lock and writes nothing, so a log that is being written can be read; a new checkpoint needs a new reader.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"
#include "lineage/checkpoint.h"
#include "lineage/tiles.h"

namespace govtrain {

// The public key that lies in the log's folder. A convenience: whoever audits a log brings the key from elsewhere.
Result<NoteKey> read_log_key(FileSystem& fs, const std::string& dir);

class LogReader {
 public:
  // Return false to stop.
  using Visit = std::function<bool(uint64_t index, std::string_view leaf)>;

  // `not_found` when there is no log, `corrupt` when the signature or the right edge of the tree does not hold.
  static Result<LogReader> open(FileSystem& fs, const std::string& dir, const NoteKey& key);

  uint64_t size() const { return checkpoint_.size; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const std::string& checkpoint_note() const { return note_; }
  const NoteKey& key() const { return key_; }
  TileTree& tree() { return tree_; }

  Result<std::string> entry(uint64_t index);
  // All entries in [begin, min(end, size())), in order.
  Status visit(uint64_t begin, uint64_t end, const Visit& visit);

  // Index ranges [first, second) that a later `rewind` record superseded: ascending, not overlapping. Reads the whole
  // log, once; later calls return the same.
  Result<std::vector<std::pair<uint64_t, uint64_t>>> superseded();
  // As visit(), without the entries in superseded(); but `infer` entries among them are there: a text that was written
  // stays written, whatever the training goes on from.
  Status visit_effective(uint64_t begin, uint64_t end, const Visit& visit);

  // The checkpoint of `note` when its signature holds and this log begins with the entries that it covers: what a
  // resume asks before it trusts weights. `rolled_back` when the note is ahead of the log, `corrupt` when the histories
  // differ.
  Result<Checkpoint> covers(std::string_view note);

 private:
  LogReader(TileTree tree, NoteKey key, Checkpoint checkpoint, std::string note)
      : tree_(std::move(tree)), key_(std::move(key)), checkpoint_(std::move(checkpoint)), note_(std::move(note)) {}

  TileTree tree_;
  NoteKey key_;
  Checkpoint checkpoint_;
  std::string note_;
  bool scanned_ = false;
  std::vector<std::pair<uint64_t, uint64_t>> superseded_;
};

}  // namespace govtrain
