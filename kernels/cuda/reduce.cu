// Sums and searches over whole arrays, in an order that the size alone decides.
#include <algorithm>

#include "kernels/cuda/map.h"
#include "kernels/cuda/math.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int64_t kPart = 16384;  // elements of one block

__global__ void __launch_bounds__(kThreads) squares_kernel(const float* x, int64_t n, double* parts) {
  __shared__ SharedArray<double, kWarps> part;
  const int64_t begin = int64_t{blockIdx.x} * kPart;
  const int64_t end = begin + kPart < n ? begin + kPart : n;
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const auto v = static_cast<double>(load(x + i));
    sum += v * v;
  }
  sum = sum_over_block(sum, part.span(), kWarps);
  if (threadIdx.x == 0) store(parts + blockIdx.x, sum);
}

__global__ void __launch_bounds__(kThreads) sum_parts_kernel(const double* parts, int64_t n, double* out) {
  __shared__ SharedArray<double, kWarps> part;
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += load(parts + i);
  sum = sum_over_block(sum, part.span(), kWarps);
  if (threadIdx.x == 0) store(out, sum);
}

struct NonFinite {
  View x;
  int32_t* row;
  __device__ void operator()(int64_t r, int64_t c) const {
    if (element(x, r, c) * 0.0f != 0.0f) atomicMin(row, static_cast<int32_t>(r));
  }
};

struct SetRow {
  int32_t* row;
  int32_t value;
  __device__ void operator()(int64_t, int64_t) const { store(row, value); }
};

}  // namespace

int64_t reduce_parts(int64_t n) { return std::max<int64_t>(1, (n + kPart - 1) / kPart); }

void sum_of_squares(const float* x, int64_t n, double* parts, double* sum, cudaStream_t stream) {
  const int64_t count = reduce_parts(n);
  launch("squares", squares_kernel, static_cast<unsigned>(count), kThreads, 0, stream, x, n, parts);
  launch("sum_parts", sum_parts_kernel, 1, kThreads, 0, stream, static_cast<const double*>(parts), count, sum);
}

void first_non_finite_row(View x, int32_t* row, cudaStream_t stream) {
  map("set_row", SetRow{row, static_cast<int32_t>(x.rows)}, 1, 1, stream);
  map("first_non_finite_row", NonFinite{x, row}, x.rows, x.cols, stream);
}

}  // namespace govtrain::cuda
