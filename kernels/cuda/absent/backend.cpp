// What a build without CUDA answers: there is no device. Linked in place of the backend.
#include "kernels/cuda/backend.h"

#include "core/error.h"

namespace govtrain {

bool cuda_available(std::string* why) {
  if (why != nullptr) *why = "this build has no CUDA (GOVTRAIN_CUDA=off)";
  return false;
}

bool cuda_is_emulated() { return false; }

Backend& cuda_backend(cuda::Precision, cuda::Determinism) {
  std::string why;
  cuda_available(&why);
  throw Error("cuda", "expected a CUDA device, got none: {}", why);
}

void use_cuda_graphs(bool) {}

CudaWork take_cuda_work() { return {}; }

}  // namespace govtrain
