#include "core/rows.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace govtrain {

Rows::Rows(std::vector<int32_t> offsets) : offsets_(std::move(offsets)) {
  if (offsets_.empty() || offsets_[0] != 0) throw Error("rows", "expected offsets that start with 0");
  for (size_t i = 1; i < offsets_.size(); ++i) {
    if (offsets_[i] <= offsets_[i - 1]) {
      throw Error("rows", "expected strictly increasing offsets, got offsets[{}] = {} after {}", i, offsets_[i],
                  offsets_[i - 1]);
    }
  }
}

Rows Rows::of_lengths(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> offsets{0};
  offsets.reserve(lengths.size() + 1);
  for (const int32_t n : lengths) {
    if (n > std::numeric_limits<int32_t>::max() - offsets.back()) throw Error("rows", "more than 2^31 - 1 rows");
    offsets.push_back(offsets.back() + n);
  }
  return Rows(std::move(offsets));
}

int Rows::longest() const {
  int longest = 0;
  for (int e = 0; e < examples(); ++e) longest = std::max(longest, length(e));
  return longest;
}

}  // namespace govtrain
