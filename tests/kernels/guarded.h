// A strided matrix inside a larger buffer whose every other element is a known NaN: kernels that write outside are
// caught by check(), kernels that read outside get NaN.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "core/rng.h"
#include "core/rows.h"
#include "core/view.h"
#include "kernels/cpu/isa.h"

namespace govtrain::test {

class Guarded {
 public:
  // `pad` extra columns per row (0: contiguous, as spans need).
  Guarded(int64_t rows, int64_t cols, int64_t pad = 3)
      : rows_(rows), cols_(cols), ld_(cols + pad), v_(static_cast<size_t>((rows + 2) * ld_ + 2 * kGuard), sentinel()) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) view().at(r, c) = 0.0f;
    }
  }
  MutView view() { return {v_.data() + kGuard + ld_, rows_, cols_, ld_}; }
  View cview() const { return {v_.data() + kGuard + ld_, rows_, cols_, ld_}; }
  std::span<float> span() { return {view().data, static_cast<size_t>(rows_ * cols_)}; }

  // Uniform on [-1, 1).
  Guarded& randomise(uint64_t seed) {
    const Rng rng(seed, Stream::test);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) {
        view().at(r, c) = 2.0f * rng.uniform(static_cast<uint64_t>(r * cols_ + c)) - 1.0f;
      }
    }
    return *this;
  }

  // The whole buffer, guards included, and where in it the matrix begins: for a copy of it on a device.
  std::span<float> storage() { return v_; }
  int64_t offset() const { return kGuard + ld_; }
  int64_t ld() const { return ld_; }

  // True when nothing outside the matrix was written.
  bool intact() const {
    Guarded clean(rows_, cols_, ld_ - cols_);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) clean.view().at(r, c) = cview().at(r, c);
    }
    return std::memcmp(clean.v_.data(), v_.data(), v_.size() * sizeof(float)) == 0;
  }

 private:
  static constexpr int64_t kGuard = 32;
  static float sentinel() {
    const uint32_t bits = 0x7FC0BEEFu;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }
  int64_t rows_, cols_, ld_;
  std::vector<float> v_;
};

inline bool same_bits(View a, View b) {
  if (a.rows != b.rows || a.cols != b.cols) return false;
  for (int64_t r = 0; r < a.rows; ++r) {
    if (std::memcmp(a.row(r), b.row(r), static_cast<size_t>(a.cols) * sizeof(float)) != 0) return false;
  }
  return true;
}

// Runs `body` under every instruction set that this CPU has, and leaves the best one taken.
template <class F>
void for_each_instruction_set(const F& body) {
  for (const std::string& isa : cpu::available_instruction_sets()) {
    cpu::use_instruction_set(isa);
    INFO("instruction set " << isa);
    body();
  }
  cpu::use_instruction_set("");
}

// Ragged batches that are no multiples of any tile.
inline std::vector<std::vector<int32_t>> ragged_lengths() { return {{1}, {1, 1}, {31, 32, 33}, {7, 389, 2}}; }

}  // namespace govtrain::test
