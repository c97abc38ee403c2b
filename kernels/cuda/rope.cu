// Rotary positions: a thread rotates one pair of one head. The angles come from the host, where they are computed in
// double.
#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

// "Column" i is pair i % half of head i / half.
struct Rotate {
  MutView x;
  const int32_t* position;
  RopeTable table;
  int64_t half;
  float direction;
  __device__ void operator()(int64_t r, int64_t i) const {
    const int64_t j = i % half;
    const int64_t c = i / half * 2 * half + j;
    const int64_t at = load(position + r) * half + j;
    const float cosine = load(table.cosine + at);
    const float sine = direction * load(table.sine + at);
    const float a = element(x, r, c);
    const float b = element(x, r, c + half);
    put(x, r, c, __fmaf_rn(-b, sine, a * cosine));
    put(x, r, c + half, __fmaf_rn(a, sine, b * cosine));
  }
};

}  // namespace

void rope(MutView x, const int32_t* position, RopeTable table, int head_dim, float direction, Stream stream) {
  map("rope", Rotate{x, position, table, head_dim / 2, direction}, x.rows, x.cols / 2, stream);
}

}  // namespace govtrain::cuda
