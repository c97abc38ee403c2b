// Table look-up: a copy of rows. No arithmetic but the optional add, so no dispatch by instruction set.
#include <cstring>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

namespace govtrain::cpu {

void embedding(View table, std::span<const int32_t> index, MutView y, bool add) {
  assert(static_cast<int64_t>(index.size()) == y.rows && table.cols == y.cols);
  for_ranges(y.rows, row_grain(y.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int32_t i = index[static_cast<size_t>(t)];
      assert(i >= 0 && i < table.rows);
      const float* from = table.row(i);
      float* to = y.row(t);
      if (!add) {
        std::memcpy(to, from, static_cast<size_t>(y.cols) * sizeof(float));
        continue;
      }
      for (int64_t j = 0; j < y.cols; ++j) to[j] += from[j];
    }
  });
}

}  // namespace govtrain::cpu
