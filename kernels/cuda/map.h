// One functor over all elements of a matrix, each by one thread: op(row, column) for every element, in no order. A
// warp takes 32 neighbouring columns, so that it reads and writes whole sectors. Private to kernels/cuda.
#pragma once

#include <algorithm>

#include "core/view.h"
#include "kernels/cuda/device.h"

namespace govtrain::cuda {

constexpr int kMapThreads = 128;
constexpr int64_t kMapEach = 4;  // elements of one thread, kMapThreads apart

template <class T>
__device__ __forceinline__ float element(const MatrixView<T>& v, int64_t r, int64_t c) {
  return load(v.data + r * v.ld + c);
}
__device__ __forceinline__ void put(const MutView& v, int64_t r, int64_t c, float value) {
  store(v.data + r * v.ld + c, value);
}

template <class Op>
__global__ void __launch_bounds__(kMapThreads) map_kernel(Op op, int64_t rows, int64_t cols) {
  const int64_t first = int64_t{blockIdx.x} * (kMapEach * kMapThreads) + threadIdx.x;
  for (int64_t r = blockIdx.y; r < rows; r += gridDim.y) {
    for (int64_t i = 0; i < kMapEach; ++i) {
      const int64_t c = first + i * kMapThreads;
      if (c < cols) op(r, c);
    }
  }
}

template <class Op>
void map(const char* name, const Op& op, int64_t rows, int64_t cols, Stream stream) {
  if (rows == 0 || cols == 0) return;
  const dim3 grid(static_cast<unsigned>((cols + kMapEach * kMapThreads - 1) / (kMapEach * kMapThreads)),
                  static_cast<unsigned>(std::min<int64_t>(rows, 65535)));
  launch(name, map_kernel<Op>, grid, kMapThreads, 0, stream, op, rows, cols);
}

}  // namespace govtrain::cuda
