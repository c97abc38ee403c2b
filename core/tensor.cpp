#include "core/tensor.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/error.h"

namespace govtrain {

Tensor::Tensor(int64_t rows, int64_t cols, Allocator& allocator) : rows_(rows), cols_(cols), allocator_(&allocator) {
  if (rows < 0 || cols < 0) throw Error("tensor", "expected sizes >= 0, got [{}, {}]", rows, cols);
  const size_t bytes = static_cast<size_t>(std::max<int64_t>(rows * cols, 1)) * sizeof(float);
  Allocator* owner = &allocator;
  data_ = std::shared_ptr<float>(static_cast<float*>(allocator.allocate(bytes)),
                                 [owner, bytes](float* p) { owner->release(p, bytes); });
}

Tensor Tensor::of(int64_t rows, int64_t cols, std::span<const float> values, Allocator& allocator) {
  Tensor t(rows, cols, allocator);
  t.assign(values);
  return t;
}

Tensor Tensor::zeros(int64_t rows, int64_t cols, Allocator& allocator) {
  if (!allocator.host()) {
    const std::vector<float> values(static_cast<size_t>(rows * cols), 0.0f);
    return of(rows, cols, values, allocator);
  }
  Tensor t(rows, cols, allocator);
  std::memset(t.data(), 0, static_cast<size_t>(t.size()) * sizeof(float));
  return t;
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor t(rows_, cols_, *allocator_);
  allocator_->copy(t.data(), data(), static_cast<size_t>(size()) * sizeof(float));
  return t;
}

Tensor Tensor::host() const {
  if (on_host()) return *this;
  Tensor t(rows_, cols_);
  allocator_->read(t.data(), data(), static_cast<size_t>(size()) * sizeof(float));
  return t;
}

std::span<float> Tensor::values() const {
  if (!on_host()) throw Error("tensor", "expected memory of the host, got a device's");
  return {data(), static_cast<size_t>(size())};
}

void Tensor::assign(std::span<const float> values) const {
  if (static_cast<int64_t>(values.size()) != size()) {
    throw Error("tensor", "assign; expected {} values, got {}", size(), values.size());
  }
  if (!values.empty()) allocator_->write(data(), values.data(), values.size_bytes());
}

}  // namespace govtrain
