// The host's part of the parameter gradients: factors as autograd hands them over -> what the kernels take. Scatter
// factors are sorted here. Private to kernels/cuda.
#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/memory.h"

namespace govtrain::cuda {

// As Backend::contract.
void contract(Device& device, std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad);
// As Backend::contract_plain: the sum runs over pieces of 128 rows, as on the CPU.
void contract_plain(Device& device, std::span<const Factor> factors, MutView grad);

}  // namespace govtrain::cuda
