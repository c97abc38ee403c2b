#include "core/allocator.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace govtrain {
namespace {

// Size classes of an eighth of a power of two, so that ragged batches of similar size reuse each other's blocks.
size_t size_class(size_t bytes) {
  size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return (std::max<size_t>(bytes, 64) + step - 1) / step * step;
}

class HostReadback final : public Readback {
 public:
  HostReadback(const void* from, size_t bytes)
      : bytes_(static_cast<const unsigned char*>(from), static_cast<const unsigned char*>(from) + bytes) {}
  const void* wait() override { return bytes_.data(); }

 private:
  std::vector<unsigned char> bytes_;
};

class HostAllocator final : public Allocator {
 public:
  ~HostAllocator() override { trim(); }

  void* allocate(size_t bytes) override {
    const size_t size = size_class(bytes);
    const std::lock_guard lock(mutex_);
    live_ += size;
    peak_ = std::max(peak_, live_);
    auto& list = free_[size];
    if (!list.empty()) {
      void* p = list.back();
      list.pop_back();
      return p;
    }
    return ::operator new(size, std::align_val_t(64));
  }

  void release(void* p, size_t bytes) noexcept override {
    const size_t size = size_class(bytes);
    const std::lock_guard lock(mutex_);
    live_ -= size;
    free_[size].push_back(p);
  }

  size_t live_bytes() const override {
    const std::lock_guard lock(mutex_);
    return live_;
  }
  size_t peak_bytes() const override {
    const std::lock_guard lock(mutex_);
    return peak_;
  }
  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    peak_ = live_;
  }
  void trim() override {
    const std::lock_guard lock(mutex_);
    for (auto& [size, list] : free_) {
      for (void* p : list) ::operator delete(p, std::align_val_t(64));
      list.clear();
    }
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> free_;
  size_t live_ = 0;
  size_t peak_ = 0;
};

}  // namespace

std::unique_ptr<Readback> Allocator::read_later(const void* from, size_t bytes) {
  return std::make_unique<HostReadback>(from, bytes);
}

Allocator& host_allocator() {
  static HostAllocator allocator;
  return allocator;
}

}  // namespace govtrain
