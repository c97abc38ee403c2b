// The bytes of an input file, decompressed on the way (gzip and zstd, told by their first bytes), line by line. Bounded
// memory: one line at most `max_line_bytes`. Throws InputError on anything that is not as it should be.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace govtrain {

inline constexpr size_t max_line_bytes = size_t{64} << 20;

// A problem with one input; what() has no place in it.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills up to `size` bytes; 0 at the end.
  virtual size_t read(char* out, size_t size) = 0;
};

std::unique_ptr<ByteSource> open_source(const std::string& path);

class LineReader {
 public:
  explicit LineReader(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {}
  // The next line without its LF; false at the end. A last line without LF is a line.
  bool next(std::string& line);
  int64_t line_number() const { return line_; }  // of the last line given or attempted, 1-based

 private:
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  size_t at_ = 0;
  int64_t line_ = 0;
  bool end_ = false;
};

// The whole content. Throws InputError when it is longer than `limit` bytes.
std::string read_all(ByteSource& source, size_t limit);

}  // namespace govtrain
