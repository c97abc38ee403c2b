// The host's part of the parameter gradients: factors as autograd hands them over -> what the kernels take. Scatter
// factors are sorted here. Private to kernels/cuda.
#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/precision.h"

namespace govtrain::cuda {

// As Backend::contract. `precision` is that of the products of outer factors.
void contract(Device& device, Precision precision, std::span<const Factor> factors, const Rows& rows,
              const Contraction& how, MutView grad);
// As Backend::contract_plain for one of its factors: the sum runs over pieces of 128 rows, as on the CPU.
void contract_plain(Device& device, Precision precision, const Factor& factor, MutView grad);

}  // namespace govtrain::cuda
