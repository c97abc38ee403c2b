// The routed kernels on CUDA: parameter gradients of outer, gain and bias factors, example by example, as
// kernels/cpu/contract.cpp does it; scatter factors beside outer ones (a tied embedding). All pointers are device
// memory. Not here: scatter factors alone (ops.h).
#pragma once

#include <cstdint>

#include "core/view.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/precision.h"

namespace govtrain::cuda {

// Which instructions make the products of tf32 and bf16. The sums are the same; norms agree to 64 * 2^-24 relative,
// since the squares of a tile are added in another order.
enum class TensorCores {
  mma,   // mma.sync: the lane layouts of the PTX manual
  wmma,  // nvcuda::wmma: no layout is known, and none can be wrong; what mma is held to
};

constexpr int kMaxFactors = 8;
constexpr int kContractTile = 64;  // a block owns kContractTile x kContractTile elements of the gradient

struct OuterFactor {
  View dy;  // outer: [rows, p]; scatter: [rows, d]
  View x;   // outer: [rows, d]
  // Scatter: the rows of each example sorted by (index, row), at the example's place: index and row of each. They are
  // added in float32, in that order, whatever the precision of the products.
  const int32_t* index = nullptr;
  const int32_t* order = nullptr;
};

struct OuterContraction {
  OuterFactor factors[kMaxFactors];
  int count = 0;  // of factors
  int examples = 0;
  const int32_t* offsets = nullptr;  // [examples + 1]
  const float* weight = nullptr;     // [examples]; 0: the example's rows are not read
  const float* withheld = nullptr;   // [examples] or null
  MutView grad;                      // [p, d]; adds weight[i] * tile_i, in example order
  MutView withheld_grad;             // [p, d]; adds withheld[i] * tile_i, where withheld is not null
  double* norm2 = nullptr;           // [examples] or null; adds |tile_i|^2 of examples with weight != 0
  double* scratch = nullptr;         // [contract_scratch(p, d, examples)], needed with norm2
  // Null or 0, or memory [spread_examples, p, d]: so many examples at a time are summed by blocks of their own, each
  // into its part, and added to the gradient in example order afterwards. The bits are the same, mma only.
  float* spread = nullptr;
  int spread_examples = 0;
  int first = 0;  // example of a launch that spreads them; contract_outer() sets it
};

template <>
inline constexpr bool has_no_padding<OuterContraction> = true;

// How many examples to spread, `rows` in all; 0: none. Worth its memory where a gradient has too few tiles to occupy a
// device, and examples have rows enough; at most 4 MiB, or one example.
int spread_examples(int64_t p, int64_t d, int64_t rows, int examples);

// Doubles of scratch for the norms.
int64_t contract_scratch(int64_t p, int64_t d, int examples);

// Same bits for any batch that an example may be part of, and whatever the order of blocks. Each input is read once per
// tile of the gradient that needs it; the gradient is read and written once. Throws std::invalid_argument for more than
// kMaxFactors factors.
void contract_outer(const OuterContraction& what, Precision precision, Stream stream,
                    TensorCores by = TensorCores::mma);

// Gains and biases; float32 whatever the precision of the products.
struct VectorFactor {
  View dy;                      // [rows, columns]
  View x;                       // gain: [rows, columns]; bias: no data
  const float* mean = nullptr;  // gain: [rows], null means 0
  const float* rstd = nullptr;  // gain: [rows]
};

// Members as in OuterContraction, for a parameter of [1, columns].
struct VectorContraction {
  VectorFactor factors[kMaxFactors];
  int count = 0;
  int examples = 0;
  const int32_t* offsets = nullptr;
  const float* weight = nullptr;
  const float* withheld = nullptr;
  float* grad = nullptr;
  float* withheld_grad = nullptr;
  int64_t columns = 0;
  double* norm2 = nullptr;
  double* scratch = nullptr;  // [contract_vector_scratch(columns, examples)], needed with norm2
};

template <>
inline constexpr bool has_no_padding<VectorContraction> = true;

int64_t contract_vector_scratch(int64_t columns, int examples);
// The bits of the CPU backend for the gradients; norms sum squares in double.
void contract_vector(const VectorContraction& what, Stream stream);

}  // namespace govtrain::cuda
