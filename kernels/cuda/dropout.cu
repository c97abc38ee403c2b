// Dropout with the mask of core/rng.h: a thread draws one Philox block and applies its four numbers to the elements of
// one row that they belong to.
#include <algorithm>

#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

struct Words {
  uint32_t w[4];
};

__device__ Words philox_words(uint64_t block, const uint32_t (&nonce)[2], const uint32_t (&key)[2]) {
  Words c{{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), nonce[0], nonce[1]}};
  uint32_t k0 = key[0];
  uint32_t k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c.w[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c.w[2];
    c = {{static_cast<uint32_t>(p1 >> 32) ^ c.w[1] ^ k0, static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ c.w[3] ^ k1, static_cast<uint32_t>(p0)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// "Column" b is the b-th Philox block that touches the row.
struct Drop {
  View x;
  const DropoutRow* at;
  DropoutStream from;
  MutView y;
  __device__ void operator()(int64_t r, int64_t b) const {
    const uint32_t nonce[2] = {load(&at[r].nonce[0]), load(&at[r].nonce[1])};
    const int64_t first = int64_t{load(&at[r].row)} * x.cols;  // number of the row's first element
    const int64_t block = first / 4 + b;
    const Words words = philox_words(static_cast<uint64_t>(block), nonce, from.key);
    for (int i = 0; i < 4; ++i) {
      const int64_t c = block * 4 + i - first;
      if (c < 0 || c >= x.cols) continue;
      const float u = static_cast<float>(words.w[i] >> 8) * 0x1p-24f;
      const float kept = element(x, r, c) * from.keep;
      put(y, r, c, u >= from.rate ? kept : 0.0f);
    }
  }
};

}  // namespace

void dropout(View x, const DropoutRow* at, const DropoutStream& from, MutView y, Stream stream) {
  map("dropout", Drop{x, at, from, y}, x.rows, x.cols == 0 ? 0 : (x.cols + 3) / 4 + 1, stream);
}

}  // namespace govtrain::cuda
