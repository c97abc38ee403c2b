#include "kernels/rope_angles.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

namespace govtrain {

int64_t rope_positions(const Rows& rows, std::span<const int32_t> start) {
  int64_t positions = 0;
  for (int e = 0; e < rows.examples(); ++e) {
    const int first = start.empty() ? 0 : start[static_cast<size_t>(e)];
    positions = std::max<int64_t>(positions, first + rows.length(e));
  }
  return positions;
}

std::shared_ptr<const RopeAngles> rope_angles(int64_t positions, int64_t half, float base) {
  static std::mutex mutex;
  static std::map<std::pair<int64_t, float>, std::shared_ptr<const RopeAngles>> kept;
  positions = (positions + 255) / 256 * 256;
  const std::lock_guard lock(mutex);
  auto& entry = kept[{half, base}];
  if (entry != nullptr && static_cast<int64_t>(entry->cosine.size()) >= positions * half) return entry;
  auto fresh = std::make_shared<RopeAngles>();
  for (int64_t t = 0; t < positions; ++t) {
    for (int64_t j = 0; j < half; ++j) {
      const double exponent = -static_cast<double>(j) / static_cast<double>(half);
      const double angle = static_cast<double>(t) * std::pow(static_cast<double>(base), exponent);
      fresh->cosine.push_back(static_cast<float>(std::cos(angle)));
      fresh->sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  entry = fresh;
  return fresh;
}

}  // namespace govtrain
