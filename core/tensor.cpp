#include "core/tensor.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace govtrain {

Tensor::Tensor(int64_t rows, int64_t cols, Allocator& allocator) : rows_(rows), cols_(cols), allocator_(&allocator) {
  if (rows < 0 || cols < 0) throw Error("tensor", "expected sizes >= 0, got [{}, {}]", rows, cols);
  const size_t bytes = static_cast<size_t>(std::max<int64_t>(rows * cols, 1)) * sizeof(float);
  Allocator* owner = &allocator;
  data_ = std::shared_ptr<float>(static_cast<float*>(allocator.allocate(bytes)),
                                 [owner, bytes](float* p) { owner->release(p, bytes); });
}

Tensor Tensor::zeros(int64_t rows, int64_t cols, Allocator& allocator) {
  Tensor t(rows, cols, allocator);
  std::memset(t.data(), 0, static_cast<size_t>(t.size()) * sizeof(float));
  return t;
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor t(rows_, cols_, *allocator_);
  std::memcpy(t.data(), data(), static_cast<size_t>(size()) * sizeof(float));
  return t;
}

}  // namespace govtrain
