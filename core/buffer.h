// An owning array of plain values on one allocator, for what is not a matrix of float32: norms, counts. Moves, never
// copies. No arithmetic here.
#pragma once

#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/allocator.h"

namespace govtrain {

template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  // A copy of `values`, which are host memory.
  Buffer(std::span<const T> values, Allocator& allocator) : allocator_(&allocator), size_(values.size()) {
    if (size_ == 0) return;
    data_ = static_cast<T*>(allocator.allocate(size_ * sizeof(T)));
    write(values);
  }
  ~Buffer() {
    if (data_ != nullptr) allocator_->release(data_, size_ * sizeof(T));
  }
  Buffer(Buffer&& o) noexcept { swap(o); }
  Buffer& operator=(Buffer&& o) noexcept {
    swap(o);
    return *this;
  }

  // In the allocator's memory, which may be a device's.
  std::span<T> span() const { return {data_, size_}; }
  size_t size() const { return size_; }
  // The contents, on the host; and from it. Waits for the work that uses them.
  std::vector<T> host() const {
    std::vector<T> out(size_);
    if (size_ > 0) allocator_->read(out.data(), data_, size_ * sizeof(T));
    return out;
  }
  void write(std::span<const T> values) {
    if (size_ > 0) allocator_->write(data_, values.data(), size_ * sizeof(T));
  }

 private:
  void swap(Buffer& o) noexcept {
    std::swap(allocator_, o.allocator_);
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
  }
  Allocator* allocator_ = nullptr;
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace govtrain
