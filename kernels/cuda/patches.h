// The kernel behind patches() of convolution.h. Private to kernels/cuda.
#pragma once

#include "core/view.h"
#include "kernels/cuda/device.h"

namespace govtrain::cuda {

// Where the patch of one row comes from.
struct PatchOrigin {
  int32_t first;          // row of x: the image's first position
  int32_t height, width;  // of the image
  int32_t line, column;   // of the patch's first value; may lie outside
};
struct PatchShape {
  int channels, width;  // of the filter
  int dilation[2];
};
// origins: [out.rows].
void gather_patches(View x, const PatchOrigin* origins, const PatchShape& shape, MutView out, Stream stream);

}  // namespace govtrain::cuda
