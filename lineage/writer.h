// The one writer of a log. Entries are buffered and hashed by append(); flush() makes them durable and publishes a
// signed checkpoint. Single-threaded: see async_log.h for a step that must not wait for the disk.
//
// After a crash at any moment open() finds the log as it was before or after a flush, never between. The commit point
// of a flush is the replacement of .state/treeState, its publish point the replacement of `checkpoint`. Committed
// entries are never rewritten. The first error of any call poisons the writer: every later call returns it.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"
#include "core/hash.h"
#include "lineage/note.h"
#include "lineage/paths.h"

namespace govtrain {

class LogWriter {
 public:
  // Makes an empty, signed log in `dir`. The origin is the signer's name; use one key and one origin per run. `run`
  // identifies the run in the private state, not in any entry. `exists` when `dir` holds a log, `locked` when another
  // process is writing to it.
  static Result<LogWriter> create(FileSystem& fs, const std::string& dir, NoteSigner signer, const std::string& run);

  // Opens a log to go on with it: recomputes the root from the tiles, checks the last bundle and the signed checkpoint,
  // publishes a commit that was not published, removes left-overs of a crash. `not_found` when there is no log,
  // `locked`, `rolled_back` when the checkpoint is ahead of the log, `corrupt` when files disagree.
  static Result<LogWriter> open(FileSystem& fs, const std::string& dir, NoteSigner signer);

  // Buffers one entry of 1 to 65,535 bytes; returns its index. Not durable before flush().
  Result<uint64_t> append(std::string_view leaf);

  // Buffers a provenance object, prov/<sha256>.json, written by the next flush before the entries. Returns the name
  // that records carry: the first 16 hex digits of the digest. Equal objects are stored once.
  Result<std::string> put_provenance(std::string_view bytes);

  // Makes everything appended durable, then publishes the signed checkpoint. Nothing to do is ok.
  Status flush();

  uint64_t size() const { return size_; }               // appended
  uint64_t durable_size() const { return committed_; }  // durable and covered by checkpoint_note()
  // Root of all that was appended. Costs a few hundred hashes.
  Digest root() const;
  // The last published checkpoint, signed. Lies beside model weights as their proof of lineage.
  const std::string& checkpoint_note() const { return note_; }
  const NoteKey& key() const { return signer_.public_key(); }
  const std::string& run() const { return run_; }
  const Status& status() const { return status_; }

 private:
  using File = std::pair<std::string, std::string>;  // path relative to dir_, bytes

  LogWriter(FileSystem& fs, std::string dir, NoteSigner signer)
      : fs_(&fs), dir_(std::move(dir)), signer_(std::move(signer)) {}
  void push_hash(size_t level, const Digest& hash);
  std::vector<File> files_to_write() const;
  Status store(const std::vector<File>& files);
  Status commit();
  Status publish();
  Status collect_partials();
  Status fail(Status status) { return status_ = std::move(status); }

  FileSystem* fs_;
  std::string dir_;
  NoteSigner signer_;
  std::string run_;
  std::shared_ptr<void> lock_;
  Status status_;

  uint64_t size_ = 0;
  uint64_t committed_ = 0;
  std::string note_;
  std::vector<std::vector<Digest>> edge_;  // the unfinished tile of each level
  std::string bundle_;                     // the unfinished bundle
  std::vector<File> full_bundles_;         // finished since the last flush
  std::vector<std::vector<File>> full_tiles_;
  std::set<std::pair<int, uint64_t>> partials_;  // tiles that have a folder of partial files
  std::set<Digest> provenance_;                  // objects known to be stored or buffered
  std::vector<File> new_provenance_;
};

}  // namespace govtrain
