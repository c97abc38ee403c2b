// What the kernels behind gemm.h share. Private to kernels/cuda.
#pragma once

#include "core/view.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/precision.h"

namespace govtrain::cuda {

struct Product {
  View a;             // [m, k]
  View b;             // [n, k] when transposed, else [k, n]
  MutView c;          // [m, n]
  const float* bias;  // [n] or null
  bool add;           // c += instead of c =
};

// By tensor cores: tf32 or bf16.
void tensor_product(const char* name, const Product& p, bool transposed, Precision precision, Stream stream);

}  // namespace govtrain::cuda
