// The signing keys of the runs that share a name, and so a place for their key: how a new one takes the place of an
// older one, and where the key of a log lies now. Not the format of keys: lineage/note.h.
#pragma once

#include <memory>
#include <string>

#include "core/file.h"
#include "lineage/note.h"

namespace govtrain {

// Makes a new key at a path. A key that is there already belongs to another log: it is moved aside, to "<path>.<its
// id>", never overwritten. Runs that start at the same time take turns: while an object lives, the path is its own
// (locked by "<folder>/.<file>.lock").
class KeyMaker {
 public:
  // Waits up to two seconds for its turn, then `locked`. `exists` when there is no place to move an older key to.
  static Result<KeyMaker> at(FileSystem& fs, const std::string& path);
  // `notice` receives a line when a key was moved aside.
  Result<NoteSigner> make(const std::string& name, std::string& notice);
  // Takes the key away that was made: no log was signed with it.
  Status take_back();

 private:
  KeyMaker(FileSystem& fs, std::string path, std::shared_ptr<void> lock)
      : fs_(&fs), path_(std::move(path)), lock_(std::move(lock)) {}
  Status find_aside();
  FileSystem* fs_;
  std::string path_, aside_;  // aside: where the key that is there has to go; empty: there is none
  std::shared_ptr<void> lock_;
};

// The private key of the log in `folder`: at `path`, or where a later run moved it to. Safe while others start.
Result<NoteSigner> find_log_key(FileSystem& fs, const std::string& path, const std::string& folder);

}  // namespace govtrain
