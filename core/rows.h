// A ragged batch: the rows of all examples one after another. Never padding, never a batch dimension.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace govtrain {

// Invariants, checked once at construction: offsets[0] == 0, strictly increasing, so no example is empty.
class Rows {
 public:
  Rows() : offsets_{0} {}
  // offsets: int32 [E+1]. Throws Error when an invariant does not hold.
  explicit Rows(std::vector<int32_t> offsets);
  static Rows of_lengths(const std::vector<int32_t>& lengths);

  int examples() const { return static_cast<int>(offsets_.size()) - 1; }
  int begin(int e) const { return offsets_[static_cast<size_t>(e)]; }
  int end(int e) const { return offsets_[static_cast<size_t>(e) + 1]; }
  int length(int e) const { return end(e) - begin(e); }
  int total() const { return offsets_.back(); }
  int longest() const;
  const std::vector<int32_t>& offsets() const { return offsets_; }

 private:
  std::vector<int32_t> offsets_;
};

}  // namespace govtrain
