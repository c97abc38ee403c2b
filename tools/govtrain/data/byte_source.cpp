#include "tools/govtrain/data/byte_source.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace govtrain {
namespace {

constexpr size_t chunk = 1 << 16;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

class FileSource : public ByteSource {
 public:
  explicit FileSource(const std::string& path) : file_(std::fopen(path.c_str(), "rb")) {
    if (!file_) throw InputError(fmt::format("cannot be opened: {}", std::strerror(errno)));
  }
  size_t read(char* out, size_t size) override {
    const size_t got = std::fread(out, 1, size, file_.get());
    if (got < size && std::ferror(file_.get()) != 0) {
      throw InputError(fmt::format("cannot be read: {}", std::strerror(errno)));
    }
    return got;
  }
  // The first bytes, which stay to be read.
  std::string peek(size_t size) {
    std::string bytes(size, '\0');
    bytes.resize(std::fread(bytes.data(), 1, size, file_.get()));
    std::rewind(file_.get());
    return bytes;
  }

 private:
  std::unique_ptr<std::FILE, CloseFile> file_;
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(std::unique_ptr<FileSource> file) : file_(std::move(file)), in_(chunk) {
    if (inflateInit2(&z_, 15 + 16) != Z_OK) throw InputError("zlib cannot be started");
  }
  ~GzipSource() override { inflateEnd(&z_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  size_t read(char* out, size_t size) override {
    z_.next_out = reinterpret_cast<Bytef*>(out);
    z_.avail_out = static_cast<uInt>(size);
    while (z_.avail_out == size) {
      if (z_.avail_in == 0) {
        z_.avail_in = static_cast<uInt>(file_->read(in_.data(), in_.size()));
        z_.next_in = reinterpret_cast<Bytef*>(in_.data());
        if (z_.avail_in == 0) {
          if (!between_members_) throw InputError("the gzip data ends too early: the file is truncated");
          return 0;
        }
      }
      if (between_members_ && inflateReset(&z_) != Z_OK) throw InputError("zlib cannot be reset");
      between_members_ = false;
      const int code = inflate(&z_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        between_members_ = true;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        throw InputError(fmt::format("not valid gzip data: {}", z_.msg != nullptr ? z_.msg : "damaged"));
      }
    }
    return size - z_.avail_out;
  }

 private:
  std::unique_ptr<FileSource> file_;
  std::vector<char> in_;
  z_stream z_{};
  bool between_members_ = false;
};

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(std::unique_ptr<FileSource> file)
      : file_(std::move(file)), in_(chunk), stream_(ZSTD_createDStream(), ZSTD_freeDStream) {
    if (!stream_) throw InputError("zstd cannot be started");
  }
  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer target{out, size, 0};
    while (target.pos == 0) {
      if (input_.pos == input_.size) {
        input_ = {in_.data(), file_->read(in_.data(), in_.size()), 0};
        if (input_.size == 0) {
          if (inside_) throw InputError("the zstd data ends too early: the file is truncated");
          return 0;
        }
      }
      const size_t code = ZSTD_decompressStream(stream_.get(), &target, &input_);
      if (ZSTD_isError(code) != 0) throw InputError(fmt::format("not valid zstd data: {}", ZSTD_getErrorName(code)));
      inside_ = code != 0;
    }
    return target.pos;
  }

 private:
  std::unique_ptr<FileSource> file_;
  std::vector<char> in_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  ZSTD_inBuffer input_{nullptr, 0, 0};
  bool inside_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_source(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) throw InputError(fmt::format("cannot be opened: {}", std::strerror(errno)));
  if (!S_ISREG(info.st_mode)) throw InputError("not a regular file");
  auto file = std::make_unique<FileSource>(path);
  const std::string head = file->peek(4);
  if (head.substr(0, 2) == "\x1f\x8b") return std::make_unique<GzipSource>(std::move(file));
  if (head == "\x28\xb5\x2f\xfd") return std::make_unique<ZstdSource>(std::move(file));
  return file;
}

bool LineReader::next(std::string& line) {
  line.clear();
  if (!(end_ && at_ == buffer_.size())) ++line_;
  for (;;) {
    const size_t found = buffer_.find('\n', at_);
    const size_t stop = found == std::string::npos ? buffer_.size() : found;
    if (line.size() + (stop - at_) > max_line_bytes) {
      throw InputError(fmt::format("the line is longer than {} bytes; split the document", max_line_bytes));
    }
    line.append(buffer_, at_, stop - at_);
    at_ = found == std::string::npos ? stop : stop + 1;
    if (found != std::string::npos) return true;
    if (end_) return !line.empty();
    buffer_.resize(chunk);
    const size_t got = source_->read(buffer_.data(), chunk);
    buffer_.resize(got);
    at_ = 0;
    end_ = got == 0;
  }
}

std::string read_all(ByteSource& source, size_t limit) {
  std::string all;
  std::vector<char> part(chunk);
  for (size_t got = 0; (got = source.read(part.data(), part.size())) > 0;) {
    if (all.size() + got > limit) throw InputError(fmt::format("the file is longer than {} bytes; split it", limit));
    all.append(part.data(), got);
  }
  return all;
}

}  // namespace govtrain
