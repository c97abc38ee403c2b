#include "kernels/backend.h"

#include "core/buffer.h"

namespace govtrain {

Rng dropout_stream(const DropoutKey& key, size_t e) {
  // The site enters through a product with an odd constant, so that sites of one example never coincide.
  const uint64_t id = key.example_ids[e] ^ (uint64_t{key.site} + 1) * 0x9E3779B97F4A7C15u;
  return Rng(key.seed, Stream::dropout, key.step, id);
}

void Backend::scale(std::span<float> x, float factor) {
  const Scaling piece{{x.data(), 1, static_cast<int64_t>(x.size())}, factor};
  scale(std::span(&piece, 1));
}

void Backend::fill(std::span<float> x, float value) {
  const MutView piece{x.data(), 1, static_cast<int64_t>(x.size())};
  fill(std::span(&piece, 1), value);
}

double Backend::sum_of_squares(std::span<const float> x) {
  const View piece{x.data(), 1, static_cast<int64_t>(x.size())};
  const double zero = 0.0;
  const int32_t into = 0;
  const Buffer<double> sum(std::span(&zero, 1), allocator());
  add_squares(std::span(&piece, 1), std::span(&into, 1), sum.span());
  return sum.host().front();
}

}  // namespace govtrain
