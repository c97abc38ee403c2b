// An owning, contiguous, row-major float32 matrix on one allocator. Copies share the storage (a tensor is a handle);
// clone() copies the contents. The memory may be a device's: code that is not a backend's reads it through host() and
// changes it through assign(). No arithmetic here: that is kernels/.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/allocator.h"
#include "core/view.h"

namespace govtrain {

class Tensor {
 public:
  Tensor() = default;
  // [rows, cols], contents undefined. Throws Error on negative sizes.
  Tensor(int64_t rows, int64_t cols, Allocator& allocator = host_allocator());
  // A copy of host values, row by row; values.size() == rows * cols.
  static Tensor of(int64_t rows, int64_t cols, std::span<const float> values, Allocator& allocator = host_allocator());
  static Tensor zeros(int64_t rows, int64_t cols, Allocator& allocator = host_allocator());

  bool defined() const { return data_ != nullptr; }
  bool on_host() const { return allocator_ == nullptr || allocator_->host(); }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  float* data() const { return data_.get(); }
  MutView view() const { return {data_.get(), rows_, cols_}; }
  View cview() const { return {data_.get(), rows_, cols_}; }
  Tensor clone() const;
  // The same values on the host: this tensor where its memory is the host's, else a copy.
  Tensor host() const;
  // The contents as host memory, valid while the tensor lives. Throws Error for a tensor on a device: take host()
  // first.
  std::span<float> values() const;
  // Overwrites all elements with values from the host; values.size() == size(), else Error.
  void assign(std::span<const float> values) const;
  // True when no other tensor shares this storage, so that overwriting it surprises nobody.
  bool unique() const { return data_.use_count() == 1; }

 private:
  std::shared_ptr<float> data_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  Allocator* allocator_ = nullptr;
};

}  // namespace govtrain
