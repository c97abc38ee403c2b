// What the emulated libraries share: the objects behind their handles, and access to device memory as an operation of a
// stream. Private to kernels/simt.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/simt/memory.h"
#include "kernels/simt/number.h"

namespace govtrain::simt {

// The objects that a program has created and not destroyed.
template <class T>
class Known {
 public:
  T* add(T value) {
    all_.push_back(std::make_unique<T>(std::move(value)));
    return all_.back().get();
  }
  bool has(const T* p) const {
    return std::any_of(all_.begin(), all_.end(), [&](const auto& q) { return q.get() == p; });
  }
  bool remove(const T* p) {
    return std::erase_if(all_, [&](const auto& q) { return q.get() == p; }) == 1;
  }

 private:
  std::vector<std::unique_ptr<T>> all_;
};

// The running operation of a library reads or writes `bytes` of device memory: bounds, order between streams, and reads
// of what nobody wrote are checked while launches are observed.
void touch(const void* p, size_t bytes, Access access);

// How a library takes an operand of a product.
enum class Rounding { none, tf32, bf16 };
inline float rounded(float x, Rounding how) {
  if (how == Rounding::tf32) return to_tf32(x);
  return how == Rounding::bf16 ? __bfloat162float(__float2bfloat16_rn(x)) : x;
}

}  // namespace govtrain::simt
