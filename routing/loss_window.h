// The loss plateau: how much the smoothed training loss still improves. Knows losses only; which examples are counted
// is the caller's business (they must be admitted to every block, or a closed block could be governed by their
// content).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace govtrain {

// Two consecutive windows of `size` steps each. progress = (a - b) / a with a the mean loss per token over the earlier
// window and b over the later one (Prechelt, "Early stopping - but when?", 1998, compares training strips in the same
// manner): 0.01 is one per cent better, 0 or less a plateau.
class LossWindow {
 public:
  struct Step {
    double nll = 0;  // nats
    int64_t tokens = 0;
    bool operator==(const Step&) const = default;
  };

  explicit LossWindow(size_t size) : size_(size) {}
  // A step without counted tokens changes nothing.
  void add(const Step& step);
  // Nothing before both windows are full.
  std::optional<double> progress() const;

  // All that it remembers: at most 2 * size steps, oldest first.
  const std::vector<Step>& steps() const { return steps_; }
  void restore(std::vector<Step> steps) { steps_ = std::move(steps); }

 private:
  size_t size_;
  std::vector<Step> steps_;
};

}  // namespace govtrain
