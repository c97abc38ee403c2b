// Matrix products of linear layers by own kernels. An element is one chain in ascending k, so its bits are the same for
// any batch: in fp32 those of the CPU backend (kernels/cpu/gemm.cpp); in tf32 and bf16 on tensor cores, operands
// rounded on the way, sums, bias and what is added to in float32. All pointers are device memory. Not here: parameter
// gradients (contract.h), cuBLASLt (blas.h).
#pragma once

#include "core/view.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/precision.h"

namespace govtrain::cuda {

// y[rows,p] = x[rows,d] * w[p,d]^T + bias[p]; bias may be null. Overwrites.
void linear(View x, View w, const float* bias, MutView y, Precision precision, Stream stream);
// dx[rows,d] = (or, with add, +=) dy[rows,p] * w[p,d].
void linear_dx(View dy, View w, MutView dx, bool add, Precision precision, Stream stream);

}  // namespace govtrain::cuda
