// Parameter gradients of vectors: norm gains and biases. A column of an example is one thread's sum in row order, one
// float chain, factor after factor, as kernels/cpu/contract_vector.cpp has it; examples are added in order.
#include <stdexcept>

#include "kernels/cuda/contract_common.h"

namespace govtrain::cuda {
namespace {

__device__ float add_rows(const VectorFactor& f, int begin, int end, int col, float sum) {
  for (int t = begin; t < end; ++t) {
    const float dy = load(f.dy.data + t * f.dy.ld + col);
    if (f.x.data == nullptr) {
      sum += dy;
      continue;
    }
    const float mean = f.mean == nullptr ? 0.0f : load(f.mean + t);
    const float hat = __fmul_rn(__fsub_rn(load(f.x.data + t * f.x.ld + col), mean), load(f.rstd + t));
    sum = __fmaf_rn(dy, hat, sum);
  }
  return sum;
}

// A block owns kColumns columns, one sector of a row, and sums kTogether examples at a time, each by threads of its
// own.
constexpr int kColumns = 8;
constexpr int kTogether = 32;
constexpr int kThreads = kColumns * kTogether;

__global__ void __launch_bounds__(kThreads) contract_vector_kernel(VectorContraction c) {
  __shared__ SharedArray<float, kThreads> sums;
  const int place = static_cast<int>(threadIdx.x) % kColumns;
  const int slot = static_cast<int>(threadIdx.x) / kColumns;
  const int col = static_cast<int>(blockIdx.x) * kColumns + place;
  const bool inside = col < c.columns;
  const bool writes = inside && slot == 0;
  float grad = writes ? load(c.grad + col) : 0.0f;
  float kept = writes && c.withheld != nullptr ? load(c.withheld_grad + col) : 0.0f;
  for (int first = 0; first < c.examples; first += kTogether) {
    const int e = first + slot;
    const float mine = e < c.examples ? load(c.weight + e) : 0.0f;
    const bool takes_part = mine != 0.0f || (e < c.examples && c.withheld != nullptr && load(c.withheld + e) != 0.0f);
    float sum = 0.0f;
    if (inside && takes_part) {
      const int begin = load(c.offsets + e);
      const int end = load(c.offsets + e + 1);
      for (int f = 0; f < c.count; ++f) sum = add_rows(c.factors[f], begin, end, col, sum);
    }
    sums[slot * kColumns + place] = sum;
    auto square = static_cast<double>(sum) * static_cast<double>(sum);
    for (int bits = kColumns / 2; bits > 0; bits /= 2) square += __shfl_xor_sync(0xFFFFFFFFu, square, bits);
    if (c.norm2 != nullptr && place == 0 && mine != 0.0f)
      store(c.scratch + int64_t{blockIdx.x} * c.examples + e, square);
    __syncthreads();
    for (int s = 0; writes && s < kTogether && first + s < c.examples; ++s) {
      const float weight = load(c.weight + first + s);
      const float withheld = c.withheld == nullptr ? 0.0f : load(c.withheld + first + s);
      const float of_example = sums[s * kColumns + place];
      if (withheld != 0.0f) kept = __fmaf_rn(withheld, of_example, kept);
      if (weight != 0.0f) grad = __fmaf_rn(weight, of_example, grad);
    }
    __syncthreads();
  }
  if (!writes) return;
  store(c.grad + col, grad);
  if (c.withheld != nullptr) store(c.withheld_grad + col, kept);
}

unsigned blocks_of(int64_t columns) { return static_cast<unsigned>((columns + kColumns - 1) / kColumns); }

}  // namespace

int64_t contract_vector_scratch(int64_t columns, int examples) { return int64_t{blocks_of(columns)} * examples; }

void contract_vector(const VectorContraction& c, Stream stream) {
  if (c.count > kMaxFactors)
    throw std::invalid_argument("[contract] more factors of one parameter than the kernel takes");
  if (c.examples == 0 || c.count == 0 || c.columns == 0) return;
  launch("contract_vector", contract_vector_kernel, blocks_of(c.columns), kThreads, 0, stream, c);
  add_norms({c.weight, c.norm2, c.scratch, c.examples}, static_cast<int>(blocks_of(c.columns)), stream);
}

}  // namespace govtrain::cuda
