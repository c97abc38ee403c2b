#include "routing/loss_window.h"

namespace govtrain {

void LossWindow::add(const Step& step) {
  if (step.tokens == 0 || size_ == 0) return;
  steps_.push_back(step);
  if (steps_.size() > 2 * size_) steps_.erase(steps_.begin());
}

std::optional<double> LossWindow::progress() const {
  if (size_ == 0 || steps_.size() < 2 * size_) return std::nullopt;
  const auto mean = [&](size_t begin) {
    double nll = 0, tokens = 0;
    for (size_t i = begin; i < begin + size_; ++i) {
      nll += steps_[i].nll;
      tokens += static_cast<double>(steps_[i].tokens);
    }
    return nll / tokens;
  };
  const double before = mean(0);
  if (before == 0) return 0;
  return (before - mean(size_)) / before;
}

}  // namespace govtrain
