#include "core/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace govtrain {
namespace {

Status io_error(const char* call, const std::string& path, int error) {
  const StatusCode code = error == ENOENT                      ? StatusCode::not_found
                          : error == ENOSPC || error == EDQUOT ? StatusCode::no_space
                          : error == EEXIST                    ? StatusCode::exists
                                                               : StatusCode::io;
  return {code, fmt::format("{} {}: {}", call, path, std::strerror(error))};
}

Status too_long(const std::string& path, uint64_t size, uint64_t limit) {
  return {StatusCode::corrupt, fmt::format("{} is {} bytes long; expected at most {}", path, size, limit)};
}

// Closes on destruction; close() reports the error that a destructor would swallow.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

class RealFileSystem final : public FileSystem {
 public:
  Result<std::string> read(const std::string& path) override { return read_at_most(path, UINT64_MAX); }

  Result<std::string> read_at_most(const std::string& path, uint64_t limit) override {
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) return io_error("open", path, errno);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) return io_error("stat", path, errno);
    if (!S_ISREG(info.st_mode)) return Status(StatusCode::invalid, "read " + path + ": not a regular file");
    if (static_cast<uint64_t>(info.st_size) > limit) return too_long(path, static_cast<uint64_t>(info.st_size), limit);
    std::string bytes(static_cast<size_t>(info.st_size), '\0');
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::read(file.get(), bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io_error("read", path, errno);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    bytes.resize(done);
    return bytes;
  }

  Status write(const std::string& path, std::string_view bytes) override { return put(path, bytes, O_TRUNC); }
  Status append(const std::string& path, std::string_view bytes) override { return put(path, bytes, O_APPEND); }

  Status sync_file(const std::string& path) override { return sync(path, O_RDONLY); }
  Status sync_dir(const std::string& path) override { return sync(path, O_RDONLY | O_DIRECTORY); }

  Status rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? Status() : io_error("rename", from + " -> " + to, errno);
  }

  Status remove(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? Status() : io_error("unlink", path, errno);
  }

  Status remove_all(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    return error ? io_error("remove", path, error.value()) : Status();
  }

  Status make_dirs(const std::string& path) override {
    if (path.empty() || ::access(path.c_str(), F_OK) == 0) return {};
    const std::string parent = parent_path(path);
    if (Status s = make_dirs(parent); !s.ok()) return s;
    if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) return io_error("mkdir", path, errno);
    return sync_dir(parent.empty() ? "." : parent);
  }

  bool exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

  Result<std::vector<std::string>> list(const std::string& path) override {
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return io_error("opendir", path, errno);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    ::closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  static Status put(const std::string& path, std::string_view bytes, int mode) {
    Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0666));
    if (file.get() < 0) return io_error("open", path, errno);
    while (!bytes.empty()) {
      const ssize_t n = ::write(file.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io_error("write", path, errno);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return file.close() ? Status() : io_error("close", path, errno);
  }

  static Status sync(const std::string& path, int flags) {
    Descriptor file(::open(path.c_str(), flags | O_CLOEXEC));
    if (file.get() < 0) return io_error("open", path, errno);
    return ::fsync(file.get()) == 0 ? Status() : io_error("fsync", path, errno);
  }
};

}  // namespace

bool FileSystem::is_dir(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

Result<std::string> FileSystem::read_at_most(const std::string& path, uint64_t limit) {
  Result<std::string> bytes = read(path);
  if (bytes.ok() && bytes.value().size() > limit) return too_long(path, bytes.value().size(), limit);
  return bytes;
}

Status FileSystem::write_private(const std::string& path, std::string_view bytes) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) return io_error("open", path, errno);
  while (!bytes.empty()) {
    const ssize_t n = ::write(file.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("write", path, errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (::fsync(file.get()) != 0) return io_error("fsync", path, errno);
  return file.close() ? Status() : io_error("close", path, errno);
}

Result<std::shared_ptr<void>> FileSystem::lock(const std::string& path) {
  Result<FileLock> held = FileLock::acquire(path);
  if (!held.ok()) return held.status();
  return std::shared_ptr<void>(std::make_shared<FileLock>(std::move(held).value()));
}

FileSystem& real_file_system() {
  static RealFileSystem fs;
  return fs;
}

Status write_atomic(FileSystem& fs, const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  if (Status s = fs.write(temporary, bytes); !s.ok()) return s;
  if (Status s = fs.sync_file(temporary); !s.ok()) return s;
  if (Status s = fs.rename(temporary, path); !s.ok()) return s;
  const std::string parent = parent_path(path);
  return fs.sync_dir(parent.empty() ? "." : parent);
}

std::string join_path(std::string_view a, std::string_view b) {
  if (a.empty() || (!b.empty() && b.front() == '/')) return std::string(b);
  return a.back() == '/' ? fmt::format("{}{}", a, b) : fmt::format("{}/{}", a, b);
}

std::string parent_path(std::string_view path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string_view::npos) return "";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

Result<uint64_t> free_bytes(const std::string& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) return io_error("statvfs", path, errno);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return io_error("open", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return io_error("stat", path, errno);
  if (!S_ISREG(info.st_mode)) return Status(StatusCode::invalid, "map " + path + ": not a regular file");
  MappedFile map;
  map.size_ = static_cast<size_t>(info.st_size);
  if (map.size_ == 0) return map;
  void* p = ::mmap(nullptr, map.size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (p == MAP_FAILED) return io_error("mmap", path, errno);
  map.data_ = static_cast<const char*>(p);
  return map;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}
MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Result<FileLock> FileLock::acquire(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return io_error("open", path, errno);
  FileLock lock;
  lock.fd_ = fd;
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char holder[32] = {};
    const ssize_t n = ::read(fd, holder, sizeof(holder) - 1);
    return Status(StatusCode::locked,
                  fmt::format("{} is held by process {}", path, n > 0 ? std::string(holder) : "unknown"));
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) return io_error("write", path, errno);
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}
FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace govtrain
