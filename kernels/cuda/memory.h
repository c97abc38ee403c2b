// Device memory for a backend: a caching allocator, pinned memory for what goes to the device and what comes back, and
// scratch that lives for one call. All work of one backend is queued on one stream, so memory that the host gives back
// may be handed out again at once: whoever gets it next is queued behind its last user. Private to kernels/cuda.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "core/allocator.h"
#include "core/error.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/recorder.h"

namespace govtrain::cuda {

// Throws Error for anything but success; `what` names the call.
inline void check(cudaError_t e, const char* what) {
  if (e != cudaSuccess) throw Error("cuda", "{}: {}", what, cudaGetErrorString(e));
}

// Pinned memory from which copies to the device run while the host goes on. A ring of chunks; one is used again when
// the copies out of it are done.
class Staging {
 public:
  explicit Staging(cudaStream_t stream) : stream_(stream) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  // `bytes` to be filled and sent on the stream before the next call.
  unsigned char* take(size_t bytes);

 private:
  struct Chunk {
    unsigned char* data;
    size_t size, used;
    cudaEvent_t sent;
  };
  void open(size_t bytes);
  cudaStream_t stream_;
  std::deque<Chunk> chunks_;  // the last one is being filled
};

// Pinned memory into which copies from the device run while the host goes on. Blocks are kept for reuse.
class ReadPool {
 public:
  struct Block {
    void* data;
    size_t size;
    cudaEvent_t arrived;
  };
  ReadPool() = default;
  ~ReadPool();
  ReadPool(const ReadPool&) = delete;
  ReadPool& operator=(const ReadPool&) = delete;
  Block take(size_t bytes);
  // When its copy has arrived.
  void give_back(Block block) { free_.push_back(block); }

 private:
  std::vector<Block> free_;
};

class DeviceAllocator final : public Allocator {
 public:
  DeviceAllocator(cudaStream_t stream, Staging& staging, Recorder& recorder)
      : stream_(stream), staging_(&staging), recorder_(&recorder) {}
  ~DeviceAllocator() override;
  // 256-byte aligned. Gives the cache back and tries again before it throws std::bad_alloc; Error when the device has
  // failed before. A block that was released is handed out again at once.
  void* allocate(size_t bytes) override;
  void release(void* p, size_t bytes) noexcept override;
  bool host() const override { return false; }
  void copy(void* to, const void* from, size_t bytes) override;
  void read(void* host, const void* from, size_t bytes) override;
  std::unique_ptr<Readback> read_later(const void* from, size_t bytes) override;
  void write(void* to, const void* host, size_t bytes) override;
  size_t live_bytes() const override;
  size_t peak_bytes() const override;
  void reset_peak() override;
  void trim() override;

 private:
  void* take(size_t bytes);
  void count(size_t bytes);
  void give_back();
  cudaStream_t stream_;
  Staging* staging_;
  Recorder* recorder_;
  std::shared_ptr<ReadPool> reads_ = std::make_shared<ReadPool>();
  mutable std::mutex mutex_;
  // By size, in order of the address: which block a request gets depends on which are free, not on when they became
  // so. A step that asks for the same as the one before finds the same addresses (recorder.h).
  std::map<size_t, std::set<void*>> free_;
  size_t kept_ = 0;  // bytes in free_
  size_t live_ = 0;
  size_t peak_ = 0;
};

class OwnStream {
 public:
  OwnStream();
  ~OwnStream();
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  operator cudaStream_t() const { return stream_; }  // NOLINT: stands for the handle

 private:
  cudaStream_t stream_ = nullptr;
};

// What one backend computes with. What is given to the stream by other means than launch() comes after a flush of the
// recorder.
struct Device {
  OwnStream own;
  Staging staging{own};
  Recorder recorder{own, staging};
  Stream stream = recorder.stream();
  DeviceAllocator allocator{own, staging, recorder};
};

// Device memory for one call.
template <class T>
class Scratch {
 public:
  Scratch(Device& device, int64_t n) : device_(&device), bytes_(static_cast<size_t>(n < 1 ? 1 : n) * sizeof(T)) {
    data_ = static_cast<T*>(device.allocator.allocate(bytes_));
  }
  ~Scratch() { device_->allocator.release(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* get() const { return data_; }

 private:
  Device* device_;
  size_t bytes_;
  T* data_;
};

// Arrays of the host that a call needs on the device, sent in one copy. add() all, send(), then at().
class Packet {
 public:
  explicit Packet(Device& device) : device_(&device) {}
  ~Packet();
  Packet(const Packet&) = delete;
  Packet& operator=(const Packet&) = delete;

  template <class T>
  struct Place {
    size_t offset;
    bool present;
  };
  // An empty array is null on the device.
  template <class T>
  Place<std::remove_const_t<T>> add(std::span<T> values) {
    return {put(values.data(), values.size_bytes()), !values.empty()};
  }
  template <class T>
  Place<T> add(const std::vector<T>& values) {
    return add(std::span<const T>(values));
  }
  void send();
  template <class T>
  const T* at(Place<T> p) const {
    return p.present ? reinterpret_cast<const T*>(data_ + p.offset) : nullptr;
  }

 private:
  size_t put(const void* values, size_t bytes);
  Device* device_;
  std::vector<unsigned char> bytes_;
  unsigned char* data_ = nullptr;
  bool in_inbox_ = false;
};

}  // namespace govtrain::cuda
