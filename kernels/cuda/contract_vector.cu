// Parameter gradients of vectors: norm gains and biases. A thread owns a column: an example's sum runs in row order,
// one float chain, factor after factor, as kernels/cpu/contract_vector.cpp has it.
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

__global__ void __launch_bounds__(kContractThreads) contract_vector_kernel(VectorContraction c) {
  __shared__ SharedArray<double, kContractThreads / 32> part;
  const int col = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const bool inside = col < c.columns;
  float grad = inside ? load(c.grad + col) : 0.0f;
  float kept = inside && c.withheld != nullptr ? load(c.withheld_grad + col) : 0.0f;
  for (int e = 0; e < c.examples; ++e) {
    const float weight = load(c.weight + e);
    const float withheld = c.withheld == nullptr ? 0.0f : load(c.withheld + e);
    if (weight == 0.0f && withheld == 0.0f) continue;
    float sum = 0.0f;
    if (inside) {
      const int begin = load(c.offsets + e);
      const int end = load(c.offsets + e + 1);
      for (int f = 0; f < c.count; ++f) sum = add_rows(c.factors[f], begin, end, col, sum);
    }
    if (withheld != 0.0f) kept = __fmaf_rn(withheld, sum, kept);
    if (weight == 0.0f) continue;
    grad = __fmaf_rn(weight, sum, grad);
    if (c.norm2 == nullptr) continue;
    share_sum(static_cast<double>(sum) * static_cast<double>(sum), part.span());
    __syncthreads();
    if (threadIdx.x == 0) store(c.scratch + int64_t{blockIdx.x} * c.examples + e, block_sum(part.span()));
    __syncthreads();
  }
  if (!inside) return;
  store(c.grad + col, grad);
  if (c.withheld != nullptr) store(c.withheld_grad + col, kept);
}

unsigned blocks_of(int64_t columns) {
  return static_cast<unsigned>((columns + kContractThreads - 1) / kContractThreads);
}

}  // namespace

int64_t contract_vector_scratch(int64_t columns, int examples) { return int64_t{blocks_of(columns)} * examples; }

void contract_vector(const VectorContraction& c, cudaStream_t stream) {
  if (c.count > kMaxFactors)
    throw std::invalid_argument("[contract] more factors of one parameter than the kernel takes");
  if (c.examples == 0 || c.count == 0 || c.columns == 0) return;
  launch("contract_vector", contract_vector_kernel, blocks_of(c.columns), kContractThreads, 0, stream, c);
  add_norms({c.weight, c.norm2, c.scratch, c.examples}, static_cast<int>(blocks_of(c.columns)), stream);
}

}  // namespace govtrain::cuda
