// Memory for tensors: of the host, or of the device that a backend computes on. Allocators keep freed blocks for reuse
// (training asks for the same sizes at every step) and count bytes, so that memory claims are measured. Contents are
// never carried over on purpose: callers overwrite.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>

namespace govtrain {

// A copy to the host that may still be under way.
class Readback {
 public:
  virtual ~Readback() = default;
  // The bytes, valid while this object lives. Waits until they are there.
  virtual const void* wait() = 0;
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  // 64-byte aligned; contents undefined. Throws std::bad_alloc.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* p, size_t bytes) noexcept = 0;
  // Whether the host may touch the memory. If not, it is reached through the copies below only. Each of them is
  // ordered after the work that the backend was given before, and before what follows. As written here, they are the
  // host's.
  virtual bool host() const { return true; }
  // Both ends in this allocator's memory.
  virtual void copy(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
  // From this memory to the host's; complete when it returns.
  virtual void read(void* host, const void* from, size_t bytes) { std::memcpy(host, from, bytes); }
  // The same without waiting. What is queued later does not change what arrives.
  virtual std::unique_ptr<Readback> read_later(const void* from, size_t bytes);
  // From the host's memory to this; `host` may change when it returns.
  virtual void write(void* to, const void* host, size_t bytes) { std::memcpy(to, host, bytes); }
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
