// The backends that the laws are tested on: the CPU, and the CUDA device that this build has, real or emulated. A test
// case names one by OnBackend, its helpers compute on test_backend(). The emulated device is not observed here unless
// GOVTRAIN_SIMT_OBSERVE says so: what each kernel touches is watched in tests/cuda.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/cuda/backend.h"

namespace govtrain::test {

inline Backend*& current_backend() {
  static Backend* backend = &cpu_backend();
  return backend;
}
inline Backend& test_backend() { return *current_backend(); }

inline std::vector<std::string> backend_names() {
  ::setenv("GOVTRAIN_SIMT_OBSERVE", "0", 0);
  if (cuda_available(nullptr)) return {"cpu", "cuda"};
  return {"cpu"};
}

// While it lives, test_backend() is the one of that name.
class OnBackend {
 public:
  explicit OnBackend(const std::string& name) { current_backend() = name == "cuda" ? &cuda_backend() : &cpu_backend(); }
  ~OnBackend() { current_backend() = &cpu_backend(); }
  OnBackend(const OnBackend&) = delete;
  OnBackend& operator=(const OnBackend&) = delete;
};

// `all` cases on the CPU, `some` on an emulated device, which is slower.
inline uint64_t cases_here(uint64_t all, uint64_t some) {
  return test_backend().name() == "emulated cuda" ? some : all;
}

}  // namespace govtrain::test
