// Memory for tensors. Allocators keep freed blocks for reuse (training asks for the same sizes at every step) and
// count bytes, so that memory claims are measured. Contents are never carried over on purpose: callers overwrite.
#pragma once

#include <cstddef>

namespace govtrain {

class Allocator {
 public:
  virtual ~Allocator() = default;
  // 64-byte aligned; contents undefined. Throws std::bad_alloc.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* p, size_t bytes) noexcept = 0;
  // Bytes handed out now, and the highest value of it since the last reset_peak().
  virtual size_t live_bytes() const = 0;
  virtual size_t peak_bytes() const = 0;
  virtual void reset_peak() = 0;
  // Gives cached free blocks back to the system.
  virtual void trim() = 0;
};

// The process-wide host allocator. Thread-safe.
Allocator& host_allocator();

}  // namespace govtrain
