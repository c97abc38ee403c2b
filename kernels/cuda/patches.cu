#include "kernels/cuda/map.h"
#include "kernels/cuda/patches.h"

namespace govtrain::cuda {
namespace {

struct Gather {
  View x;
  const PatchOrigin* origins;
  PatchShape shape;
  MutView out;
  __device__ void operator()(int64_t r, int64_t c) const {
    const int tap = static_cast<int>(c) / shape.channels;
    const int channel = static_cast<int>(c) % shape.channels;
    const int line = load(&origins[r].line) + tap / shape.width * shape.dilation[0];
    const int column = load(&origins[r].column) + tap % shape.width * shape.dilation[1];
    const int width = load(&origins[r].width);
    const bool inside = line >= 0 && line < load(&origins[r].height) && column >= 0 && column < width;
    const int64_t row = int64_t{load(&origins[r].first)} + int64_t{line} * width + column;
    put(out, r, c, inside ? element(x, row, channel) : 0.0f);
  }
};

}  // namespace

void gather_patches(View x, const PatchOrigin* origins, const PatchShape& shape, MutView out, Stream stream) {
  map("patches", Gather{x, origins, shape, out}, out.rows, out.cols, stream);
}

}  // namespace govtrain::cuda
