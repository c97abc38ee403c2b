// Plain matrix products by cuBLASLt, for determinism: fast. The library chooses its kernel by the whole shape, so the
// bits of a row may depend on how many rows there are; the same shapes give the same bits again. Private to
// kernels/cuda. Not here: parameter gradients of routed training, which are always own kernels (contract.h).
#pragma once

#include "core/view.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/precision.h"

#ifdef GOVTRAIN_CUDA_TOOLKIT
#include <cublasLt.h>
#else
#include "kernels/simt/cublaslt.h"
#endif

namespace govtrain::cuda {

// All matrices are device memory, in float32; tf32 and bf16 allow the library to round operands to that. Queued on the
// device's stream. Throws Error for whatever the library refuses.
class Blas {
 public:
  explicit Blas(Device& device);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // As gemm.h.
  void linear(View x, View w, const float* bias, MutView y, Precision precision);
  void linear_dx(View dy, View w, MutView dx, bool add, Precision precision);
  // grad[p,d] += dy[rows,p]^T x[rows,d].
  void outer(View dy, View x, MutView grad, Precision precision);

 private:
  struct Operand {
    View m;
    bool transposed;
  };
  // c = (or, with add, +=) a b + bias, all row-major; bias runs along the columns of c.
  void multiply(const Operand& a, const Operand& b, MutView c, bool add, const float* bias, Precision precision);

  Device* device_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
};

}  // namespace govtrain::cuda
