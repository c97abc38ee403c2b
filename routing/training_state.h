// What decisions that depend on the course of training may look at. Plain data, taken between steps: the same for every
// example of a step, and never made from what excluded examples contain.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace govtrain {

struct TrainingState {
  int64_t step = 0;    // steps done
  uint64_t epoch = 0;  // of the next batch, from 0
  // As of the last measurement on the probe set; empty before the first one.
  std::vector<double> drift;     // [B] how far a block's representation has moved since the reference, 0 .. 1
  std::vector<double> capacity;  // [B] how much of its width a block's representation uses, 0 .. 1
  // Relative improvement of the smoothed training loss over the last window; nothing before a window is full.
  std::optional<double> loss_progress;
};

}  // namespace govtrain
