// Matrix products of linear layers in float32, as kernels/cpu/gemm.cpp does them: one chain of fused multiply-adds in
// ascending k per element, so the bits of the CPU backend for any batch. All pointers are device memory. Not here:
// parameter gradients (contract.h), tensor cores.
#pragma once

#include "core/view.h"
#include "kernels/cuda/device.h"

namespace govtrain::cuda {

// y[rows,p] = x[rows,d] * w[p,d]^T + bias[p]; bias may be null. Overwrites.
void linear(View x, View w, const float* bias, MutView y, cudaStream_t stream);
// dx[rows,d] = (or, with add, +=) dy[rows,p] * w[p,d].
void linear_dx(View dy, View w, MutView dx, bool add, cudaStream_t stream);

}  // namespace govtrain::cuda
