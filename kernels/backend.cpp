#include "kernels/backend.h"

namespace govtrain {

Rng dropout_stream(const DropoutKey& key, size_t e) {
  // The site enters through a product with an odd constant, so that sites of one example never coincide.
  const uint64_t id = key.example_ids[e] ^ (uint64_t{key.site} + 1) * 0x9E3779B97F4A7C15u;
  return Rng(key.seed, Stream::dropout, key.step, id);
}

}  // namespace govtrain
