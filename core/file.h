// All access to the disk that must survive crashes goes through FileSystem, so that tests can fail any call.
// Not a general path library: only the operations that the log, the checkpoints and the shards need.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace govtrain {

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // Whole file. not_found when it does not exist.
  virtual Result<std::string> read(const std::string& path) = 0;
  // Creates or truncates, writes all bytes, closes. Not durable until sync_file.
  virtual Status write(const std::string& path, std::string_view bytes) = 0;
  // Appends to the end, creating the file if needed.
  virtual Status append(const std::string& path, std::string_view bytes) = 0;
  virtual Status sync_file(const std::string& path) = 0;
  virtual Status sync_dir(const std::string& path) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;
  // Removes a folder and all in it; ok when absent.
  virtual Status remove_all(const std::string& path) = 0;
  // Creates the folder and its parents, each made durable in its parent.
  virtual Status make_dirs(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  // Names in the folder, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  // Links are not followed. False for what is absent.
  virtual bool is_dir(const std::string& path);
  // As read(), but `corrupt` instead of an allocation when the file is longer than `limit` bytes.
  virtual Result<std::string> read_at_most(const std::string& path, uint64_t limit);
  // Creates a new file that only its owner may read (mode 0600) and syncs it; `exists` when there is one already.
  virtual Status write_private(const std::string& path, std::string_view bytes);
  // Takes the exclusive lock of FileLock; held until the handle is destroyed.
  virtual Result<std::shared_ptr<void>> lock(const std::string& path);
};

FileSystem& real_file_system();

// Writes `path` so that after a crash it holds either its old or its new content: temporary file in the same folder,
// fsync, rename, fsync of the folder.
Status write_atomic(FileSystem& fs, const std::string& path, std::string_view bytes);

std::string join_path(std::string_view a, std::string_view b);
std::string parent_path(std::string_view path);

// Bytes free to this user on the file system of `path`, or not_found.
Result<uint64_t> free_bytes(const std::string& path);

// A read-only memory map of a whole file. Movable; unmapped on destruction.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::string_view bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// An exclusive advisory lock on a file, held until destruction (flock).
class FileLock {
 public:
  // `locked` with the holder's process id in the message when another process holds it.
  static Result<FileLock> acquire(const std::string& path);
  FileLock() = default;
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace govtrain
