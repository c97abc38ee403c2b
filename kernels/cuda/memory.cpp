#include "kernels/cuda/memory.h"

#include <algorithm>
#include <cstring>
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
void forget(void*, size_t) {}
constexpr size_t kMostKept = SIZE_MAX;
#else
// Emulated memory is handed out to the byte, so that the redzones stand where it ends, and is unwritten again. Ragged
// batches seldom ask for the same number of bytes twice: what is kept needs a limit.
size_t size_class(size_t bytes) { return std::max<size_t>(bytes, 1); }
void forget(void* p, size_t bytes) { simt::forget_device(p, bytes); }
constexpr size_t kMostKept = size_t{256} << 20;
#endif

}  // namespace

DeviceAllocator::~DeviceAllocator() { trim(); }

void* DeviceAllocator::allocate(size_t bytes) {
  const size_t size = size_class(bytes);
  const std::lock_guard lock(mutex_);
  live_ += size;
  peak_ = std::max(peak_, live_);
  auto& list = free_[size];
  if (!list.empty()) {
    void* p = list.back();
    list.pop_back();
    kept_ -= size;
    return p;
  }
  if (kept_ > kMostKept) give_back();
  void* p = nullptr;
  if (cudaMalloc(&p, size) == cudaSuccess) return p;
  cudaGetLastError();  // clears it
  give_back();
  if (cudaMalloc(&p, size) == cudaSuccess) return p;
  cudaGetLastError();
  live_ -= size;
  throw std::bad_alloc();
}

void DeviceAllocator::release(void* p, size_t bytes) noexcept {
  const size_t size = size_class(bytes);
  const std::lock_guard lock(mutex_);
  live_ -= size;
  forget(p, size);
  free_[size].push_back(p);
  kept_ += size;
}

void DeviceAllocator::give_back() {
  for (auto& [size, list] : free_) {
    for (void* p : list) cudaFree(p);
  }
  free_.clear();
  kept_ = 0;
}

void DeviceAllocator::copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copy on the device");
}

void DeviceAllocator::read(void* host, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_), "copy from the device");
  check(cudaStreamSynchronize(stream_), "copy from the device");
}

void DeviceAllocator::write(void* to, const void* host, size_t bytes) {
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
  // The oldest chunk, if its copies are done and it is large enough; else, up to a few, a new one.
  constexpr size_t kMost = 8;
  const bool fits = !chunks_.empty() && chunks_.front().size >= bytes;
  if (fits && (chunks_.size() >= kMost || cudaEventQuery(chunks_.front().sent) == cudaSuccess)) {
    check(cudaEventSynchronize(chunks_.front().sent), "event");
    chunks_.push_back(chunks_.front());
    chunks_.pop_front();
    chunks_.back().used = 0;
    return;
  }
  cudaGetLastError();  // an event that is not ready is no failure
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
  size_ = bytes_.size();
  data_ = static_cast<unsigned char*>(device_->allocator.allocate(size_));
  unsigned char* from = device_->staging.take(size_);
  std::memcpy(from, bytes_.data(), size_);
  check(cudaMemcpyAsync(data_, from, size_, cudaMemcpyHostToDevice, device_->stream), "copy to the device");
}

Packet::~Packet() {
  if (data_ != nullptr) device_->allocator.release(data_, size_);
}

}  // namespace govtrain::cuda
