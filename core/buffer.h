// An owning array of plain values on one allocator, for what is not a matrix of float32: norms, counts. Moves, never
// copies. And such values on their way to the host. No arithmetic here.
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/allocator.h"

namespace govtrain {

// Values that arrive on the host later. A handle: copies share what arrives.
template <class T>
class Pending {
 public:
  Pending() : Pending(nullptr, 0) {}
  Pending(std::unique_ptr<Readback> from, size_t size) : state_(std::make_shared<State>()) {
    state_->from = std::move(from);
    state_->values.resize(size);
  }
  size_t size() const { return state_->values.size(); }
  // Waits, the first time.
  const std::vector<T>& get() const {
    if (state_->from != nullptr) {
      std::memcpy(state_->values.data(), state_->from->wait(), size() * sizeof(T));
      state_->from.reset();
    }
    return state_->values;
  }

 private:
  struct State {
    std::unique_ptr<Readback> from;
    std::vector<T> values;
  };
  std::shared_ptr<State> state_;
};

template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  // Of `size` values, contents undefined.
  Buffer(size_t size, Allocator& allocator) : allocator_(&allocator), size_(size) {
    if (size_ > 0) data_ = static_cast<T*>(allocator.allocate(size_ * sizeof(T)));
  }
  // A copy of `values`, which are host memory.
  Buffer(std::span<const T> values, Allocator& allocator) : Buffer(values.size(), allocator) { write(values); }
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
  // The contents, on the host. Waits for them.
  std::vector<T> host() const {
    std::vector<T> out(size_);
    if (size_ > 0) allocator_->read(out.data(), data_, size_ * sizeof(T));
    return out;
  }
  // The contents as they are now, without waiting for them.
  Pending<T> later() const {
    return size_ == 0 ? Pending<T>() : Pending<T>(allocator_->read_later(data_, size_ * sizeof(T)), size_);
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
