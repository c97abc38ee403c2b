// An owning, contiguous, row-major float32 matrix on one allocator. Copies share the storage (a tensor is a handle);
// clone() copies the contents. No arithmetic here: that is kernels/.
#pragma once

#include <cstdint>
#include <memory>

#include "core/allocator.h"
#include "core/view.h"

namespace govtrain {

class Tensor {
 public:
  Tensor() = default;
  // [rows, cols], contents undefined. Throws Error on negative sizes.
  Tensor(int64_t rows, int64_t cols, Allocator& allocator = host_allocator());
  static Tensor zeros(int64_t rows, int64_t cols, Allocator& allocator = host_allocator());

  bool defined() const { return data_ != nullptr; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  float* data() const { return data_.get(); }
  MutView view() const { return {data_.get(), rows_, cols_}; }
  View cview() const { return {data_.get(), rows_, cols_}; }
  Tensor clone() const;
  // True when no other tensor shares this storage, so that overwriting it surprises nobody.
  bool unique() const { return data_.use_count() == 1; }

 private:
  std::shared_ptr<float> data_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  Allocator* allocator_ = nullptr;
};

}  // namespace govtrain
