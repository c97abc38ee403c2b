#include "kernels/cuda/memory.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

namespace govtrain::cuda {
namespace {

constexpr size_t kChunk = size_t{1} << 20;

#ifdef GOVTRAIN_CUDA_TOOLKIT
// Steps of an eighth of a power of two, as the host allocator has them: ragged batches reuse each other's blocks.
size_t size_class(size_t bytes) {
  size_t step = 256;
  while (step * 16 <= bytes) step *= 2;
  return (std::max<size_t>(bytes, 256) + step - 1) / step * step;
}
constexpr size_t kMostKept = SIZE_MAX;
#else
// Emulated memory is handed out to the byte, so that the redzones stand where it ends, and is unwritten again. Ragged
// batches seldom ask for the same number of bytes twice: what is kept needs a limit.
size_t size_class(size_t bytes) { return std::max<size_t>(bytes, 1); }
constexpr size_t kMostKept = size_t{256} << 20;
#endif

}  // namespace

// Where an exception is on its way already, a device that has failed does not end the program before it arrives.
DeviceAllocator::~DeviceAllocator() {
  try {
    trim();
  } catch (const std::exception&) {
    if (std::uncaught_exceptions() == 0) std::terminate();
  }
}

void* DeviceAllocator::allocate(size_t bytes) {
  const size_t size = size_class(bytes);
  const std::lock_guard lock(mutex_);
  auto& list = free_[size];
  if (!list.empty()) {
    void* p = *list.begin();
    list.erase(list.begin());
    kept_ -= size;
    count(size);
    return p;
  }
  if (kept_ > kMostKept) give_back();
  void* p = take(size);
  if (p == nullptr) {
    give_back();
    p = take(size);
  }
  if (p == nullptr) throw std::bad_alloc();
  count(size);
  return p;
}

void DeviceAllocator::count(size_t bytes) {
  live_ += bytes;
  peak_ = std::max(peak_, live_);
}

// Null when the device has no room. Any other failure is of work that was given to the device before.
void* DeviceAllocator::take(size_t bytes) {
  void* p = nullptr;
  const cudaError_t result = cudaMalloc(&p, bytes);
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // clears it
    return nullptr;
  }
  check(result, "device memory");
  return p;
}

void DeviceAllocator::release(void* p, size_t bytes) noexcept {
  const size_t size = size_class(bytes);
  const std::lock_guard lock(mutex_);
  live_ -= size;
  recorder_->forget(p, size);
  free_[size].insert(p);
  kept_ += size;
}

void DeviceAllocator::give_back() {
  recorder_->forget_graphs();  // they name blocks
  for (auto& [size, blocks] : free_) {
    for (void* p : blocks) cudaFree(p);
  }
  free_.clear();
  kept_ = 0;
}

void DeviceAllocator::copy(void* to, const void* from, size_t bytes) { recorder_->copy(to, from, bytes); }

void DeviceAllocator::read(void* host, const void* from, size_t bytes) {
  recorder_->flush();
  check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_), "copy from the device");
  check(cudaStreamSynchronize(stream_), "copy from the device");
}

namespace {

class DeviceReadback final : public Readback {
 public:
  DeviceReadback(std::shared_ptr<ReadPool> pool, const void* from, size_t bytes, cudaStream_t stream)
      : pool_(std::move(pool)), block_(pool_->take(bytes)) {
    check(cudaMemcpyAsync(block_.data, from, bytes, cudaMemcpyDeviceToHost, stream), "copy from the device");
    check(cudaEventRecord(block_.arrived, stream), "event");
  }
  ~DeviceReadback() override {
    cudaEventSynchronize(block_.arrived);
    pool_->give_back(block_);
  }
  DeviceReadback(const DeviceReadback&) = delete;
  DeviceReadback& operator=(const DeviceReadback&) = delete;
  const void* wait() override {
    check(cudaEventSynchronize(block_.arrived), "copy from the device");
    return block_.data;
  }

 private:
  std::shared_ptr<ReadPool> pool_;
  ReadPool::Block block_;
};

}  // namespace

std::unique_ptr<Readback> DeviceAllocator::read_later(const void* from, size_t bytes) {
  recorder_->flush();
  return std::make_unique<DeviceReadback>(reads_, from, bytes, stream_);
}

void DeviceAllocator::write(void* to, const void* host, size_t bytes) {
  recorder_->flush();
  if (bytes <= kChunk) {
    unsigned char* from = staging_->take(bytes);
    std::memcpy(from, host, bytes);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copy to the device");
    return;
  }
  check(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream_), "copy to the device");
  check(cudaStreamSynchronize(stream_), "copy to the device");
}

size_t DeviceAllocator::live_bytes() const {
  const std::lock_guard lock(mutex_);
  return live_;
}

size_t DeviceAllocator::peak_bytes() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

void DeviceAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  peak_ = live_;
}

void DeviceAllocator::trim() {
  const std::lock_guard lock(mutex_);
  give_back();
}

Staging::~Staging() {
  for (Chunk& c : chunks_) {
    cudaFreeHost(c.data);
    cudaEventDestroy(c.sent);
  }
}

void Staging::open(size_t bytes) {
  if (!chunks_.empty()) check(cudaEventRecord(chunks_.back().sent, stream_), "event");
  // The oldest chunk that is large enough, if its copies are done; else, up to a few of that size, a new one.
  constexpr std::ptrdiff_t kMost = 8;
  const auto fits = [&](const Chunk& c) { return c.size >= bytes; };
  const auto oldest = std::find_if(chunks_.begin(), chunks_.end(), fits);
  if (oldest != chunks_.end()) {
    const cudaError_t done = cudaEventQuery(oldest->sent);
    if (done == cudaErrorNotReady) {
      cudaGetLastError();  // no failure
    } else {
      check(done, "copy to the device");
    }
    if (done == cudaSuccess || std::count_if(oldest, chunks_.end(), fits) >= kMost) {
      check(cudaEventSynchronize(oldest->sent), "event");
      std::rotate(oldest, oldest + 1, chunks_.end());
      chunks_.back().used = 0;
      return;
    }
  }
  Chunk c{nullptr, std::max(bytes, kChunk), 0, nullptr};
  void* p = nullptr;
  check(cudaMallocHost(&p, c.size), "pinned memory");
  c.data = static_cast<unsigned char*>(p);
  check(cudaEventCreateWithFlags(&c.sent, cudaEventDisableTiming), "event");
  chunks_.push_back(c);
}

unsigned char* Staging::take(size_t bytes) {
  if (chunks_.empty() || chunks_.back().used + bytes > chunks_.back().size) open(bytes);
  Chunk& c = chunks_.back();
  unsigned char* p = c.data + c.used;
  c.used += (bytes + 63) / 64 * 64;
  return p;
}

ReadPool::~ReadPool() {
  for (const Block& b : free_) {
    cudaFreeHost(b.data);
    cudaEventDestroy(b.arrived);
  }
}

ReadPool::Block ReadPool::take(size_t bytes) {
  const auto fits = std::find_if(free_.begin(), free_.end(), [&](const Block& b) { return b.size >= bytes; });
  if (fits != free_.end()) {
    const Block b = *fits;
    free_.erase(fits);
    return b;
  }
  Block b{nullptr, std::max<size_t>(bytes, 4096), nullptr};
  check(cudaMallocHost(&b.data, b.size), "pinned memory");
  check(cudaEventCreateWithFlags(&b.arrived, cudaEventDisableTiming), "event");
  return b;
}

OwnStream::OwnStream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
OwnStream::~OwnStream() { cudaStreamDestroy(stream_); }

size_t Packet::put(const void* values, size_t bytes) {
  const size_t offset = (bytes_.size() + 15) / 16 * 16;
  bytes_.resize(offset + bytes);
  if (bytes > 0) std::memcpy(bytes_.data() + offset, values, bytes);
  return offset;
}

void Packet::send() {
  if (bytes_.empty()) return;
  data_ = static_cast<unsigned char*>(device_->recorder.enter(bytes_.data(), bytes_.size()));
  in_inbox_ = data_ != nullptr;
  if (in_inbox_) return;
  data_ = static_cast<unsigned char*>(device_->allocator.allocate(bytes_.size()));
  device_->recorder.flush();
  unsigned char* from = device_->staging.take(bytes_.size());
  std::memcpy(from, bytes_.data(), bytes_.size());
  check(cudaMemcpyAsync(data_, from, bytes_.size(), cudaMemcpyHostToDevice, device_->own), "copy to the device");
}

Packet::~Packet() {
  if (in_inbox_) {
    device_->recorder.leave();
  } else if (data_ != nullptr) {
    device_->allocator.release(data_, bytes_.size());
  }
}

}  // namespace govtrain::cuda
