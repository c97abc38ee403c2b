// How the CUDA backend makes its products, those of attention included. Not here: anything that runs; norms, softmax,
// the loss and the optimizers are float32 whatever is chosen.
#pragma once

namespace govtrain::cuda {

// Operands of products as the tensor cores take them; sums, norms and gradients are float32 (norms across tiles:
// double) in each, and the values of parameters stay float32.
//   fp32  one chain of fused multiply-adds in ascending order per element: the bits of the CPU backend
//   tf32  operands rounded to 11 bits, tensor cores
//   bf16  operands rounded to 8 bits, tensor cores
enum class Precision { fp32, tf32, bf16 };

// strict  own kernels: the same bits for any batch that an example is part of
// fast    plain products by cuBLASLt: the same bits for the same shapes only
enum class Determinism { strict, fast };

}  // namespace govtrain::cuda
