// The summary of repeated measurements. For benchmarks only.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace govtrain {

// The value of rank q * (n - 1), rounded; q = 0.5 is the median. REQUIRES: not empty, q in [0, 1].
inline double quantile(std::vector<double> v, double q) {
  const auto rank = std::lround(q * static_cast<double>(v.size() - 1));
  std::nth_element(v.begin(), v.begin() + rank, v.end());
  return v[static_cast<size_t>(rank)];
}

}  // namespace govtrain
