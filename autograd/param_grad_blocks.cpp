// What is done with the gradients of a step as a whole, block by block: zeroing, clipping, setting.
#include <algorithm>
#include <cmath>

#include "autograd/factors.h"
#include "autograd/param_grad.h"
#include "core/error.h"

namespace govtrain {

namespace {

bool any(const std::vector<bool>& flags) { return std::find(flags.begin(), flags.end(), true) != flags.end(); }

void clear(std::vector<bool>& flags) { flags.assign(flags.size(), false); }

}  // namespace

void zero_grad(ParameterSet& set, Backend& backend) {
  std::vector<MutView> changed;  // the others are still 0
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    if (any(p.grouped_)) changed.push_back(p.group_.view());
    if (any(p.touched_)) changed.push_back(p.grad_.view());
    clear(p.grouped_);
    clear(p.touched_);
  }
  backend.fill(changed, 0.0f);
}

void zero_withheld(ParameterSet& set, Backend& backend) {
  std::vector<MutView> changed;
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    if (any(p.withholds_)) changed.push_back(p.withheld_.view());
    clear(p.withholds_);
  }
  backend.fill(changed, 0.0f);
}

namespace {

// A slice of a gradient that something was added to.
struct Clipped {
  Parameter* parameter;
  size_t slice;
  MutView at;
  size_t block;
};

// Norms and factors of the blocks that the pieces belong to.
std::vector<BlockClip> measure(const std::vector<Clipped>& pieces, int blocks, Backend& backend, double max_norm) {
  std::vector<BlockClip> clips(static_cast<size_t>(blocks));
  std::vector<View> at;
  std::vector<int32_t> into;
  for (const Clipped& p : pieces) {
    at.push_back(p.at);
    into.push_back(static_cast<int32_t>(p.block));
  }
  const Buffer<double> squares(std::vector<double>(clips.size(), 0.0), backend.allocator());
  backend.add_squares(at, into, squares.span());
  const std::vector<double> sums = squares.host();
  for (size_t b = 0; b < clips.size(); ++b) {
    clips[b].norm = std::sqrt(sums[b]);
    const double factor = max_norm > 0 ? max_norm / (clips[b].norm + 1e-6) : 1.0;
    if (factor < 1.0) clips[b].factor = static_cast<float>(factor);
  }
  return clips;
}

std::vector<Scaling> scalings(const std::vector<Clipped>& pieces, const std::vector<BlockClip>& clips) {
  std::vector<Scaling> out;
  for (const Clipped& p : pieces) {
    if (clips[p.block].factor != 1.0f) out.push_back({p.at, clips[p.block].factor});
  }
  return out;
}

}  // namespace

std::vector<BlockClip> clip_blocks(ParameterSet& set, Backend& backend, double max_norm) {
  std::vector<Clipped> touched;
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    for (size_t k = 0; k < p.slices_.size(); ++k) {
      const Parameter::Slice& s = p.slices_[k];
      if (p.touched_[k]) touched.push_back({&p, k, rectangle(p.grad_, s), static_cast<size_t>(s.block)});
    }
  }
  std::vector<BlockClip> clips = measure(touched, set.blocks(), backend, max_norm);
  backend.scale(scalings(touched, clips));
  return clips;
}

std::vector<BlockClip> clip_withheld(ParameterSet& set, Backend& backend, double max_norm) {
  std::vector<Clipped> kept;
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    for (size_t k = 0; k < p.withholds_.size(); ++k) {
      const Parameter::Slice& s = p.slices_[k];
      if (p.withholds_[k]) kept.push_back({&p, k, rectangle(p.withheld_, s), static_cast<size_t>(s.block)});
    }
  }
  std::vector<BlockClip> clips = measure(kept, set.blocks(), backend, max_norm);
  std::vector<MutView> lost;
  std::erase_if(kept, [&](const Clipped& c) {
    if (std::isfinite(clips[c.block].norm)) return false;
    lost.push_back(c.at);
    c.parameter->withholds_[c.slice] = false;
    return true;
  });
  backend.scale(scalings(kept, clips));
  backend.fill(lost, 0.0f);
  return clips;
}

void set_gradient(ParameterSet& set, Backend& backend, std::span<const Tensor> gradient, float scale) {
  if (gradient.size() != set.size()) {
    throw Error("param_grad", "set_gradient; expected {} tensors, got {}", set.size(), gradient.size());
  }
  std::vector<Scaling> scaled;
  std::vector<View> pieces;
  std::vector<int32_t> into;
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    const Tensor& from = gradient[i];
    if (from.rows() != p.rows() || from.cols() != p.cols()) {
      throw Error("param_grad", "set_gradient of '{}'; expected [{}, {}], got [{}, {}]", p.name(), p.rows(), p.cols(),
                  from.rows(), from.cols());
    }
    if (!p.grad_.defined()) p.grad_ = zeros_like(p, backend);
    p.grad_.assign(from.host().values());
    scaled.push_back({p.grad_.view(), scale});
    for (const Parameter::Slice& s : p.slices_) {
      pieces.push_back(rectangle(p.grad_, s));
      into.push_back(s.block);
    }
  }
  backend.scale(scaled);
  const Buffer<double> squares(std::vector<double>(static_cast<size_t>(set.blocks()), 0.0), backend.allocator());
  backend.add_squares(pieces, into, squares.span());
  const std::vector<double> sums = squares.host();
  for (size_t i = 0; i < set.size(); ++i) {
    Parameter& p = set[i];
    for (size_t k = 0; k < p.slices_.size(); ++k) p.touched_[k] = sums[static_cast<size_t>(p.slices_[k].block)] != 0;
  }
}

}  // namespace govtrain
