// The backend that computes on a CUDA device, real or emulated (kernels/simt). Not here: the choice between it and the
// CPU's; that is run.device of the program.
#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/precision.h"

namespace govtrain {

// Whether there is a device to compute on; if not, `why` says what is missing. True for the emulated one.
bool cuda_available(std::string* why);
// Whether the device is the emulated one: the same kernels on the host, for tests. Thousands of times slower.
bool cuda_is_emulated();
// The process-wide backend on device 0 whose products (linear, linear_dx, contract and contract_plain of outer factors)
// are made as asked for; all of them share one device, stream and allocator. fast gives up, for linear, linear_dx and
// contract_plain, that rows do not depend on the batch; contract() is the same in both. name() is "cuda" or "emulated
// cuda"; instruction_set() names the device, its architecture and the version of CUDA, of the emulated one the
// architecture alone. Throws Error when cuda_available() is false. attention() takes heads of up to 128 columns,
// contract() up to 8 factors of one parameter; beyond that they throw Error. One host thread at a time.
Backend& cuda_backend(cuda::Precision precision = cuda::Precision::fp32,
                      cuda::Determinism determinism = cuda::Determinism::strict);

// The launches of a backend are gathered and, where they are the same as before, started as one CUDA graph
// (cuda/recorder.h). Off, every launch starts at once: for tests and measurements.
void use_cuda_graphs(bool on);

// How launches and copies on the device were started since the last call.
struct CudaWork {
  int64_t single = 0;     // one by one
  int64_t graphs = 0;     // graphs launched
  int64_t in_graphs = 0;  // what they held
  int64_t captures = 0;   // of the graphs, those that were new
};
CudaWork take_cuda_work();

}  // namespace govtrain
