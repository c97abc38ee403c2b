// The angles of rotary positions, computed in double, for every backend. Kept, as every step asks for the same ones.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/rows.h"

namespace govtrain {

// cos and sin of position * base^(-j/half), [positions, half] each.
struct RopeAngles {
  std::vector<float> cosine, sine;
};

// One more than the largest position of the batch; start: [E], empty: 0.
int64_t rope_positions(const Rows& rows, std::span<const int32_t> start);
// For at least `positions` positions. The same object until more are asked for. Thread-safe.
std::shared_ptr<const RopeAngles> rope_angles(int64_t positions, int64_t half, float base);

}  // namespace govtrain
