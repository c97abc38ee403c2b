// The backends that the laws are tested on: the CPU, and the CUDA device that this build has, real or emulated. A test
// case names one by OnBackend, its helpers compute on test_backend(). The emulated device is not observed here unless
// GOVTRAIN_SIMT_OBSERVE says so: what each kernel touches is watched in tests/cuda.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/backend.h"

namespace govtrain::test {

struct NamedBackend {
  std::string name;
  Backend* backend;
};
inline NamedBackend& current_backend() {
  static NamedBackend current{"cpu", &cpu_backend()};
  return current;
}
inline Backend& test_backend() { return *current_backend().backend; }

// GOVTRAIN_TEST_BACKENDS=device leaves the CPU out where there is a device.
inline std::vector<std::string> backend_names() {
  ::setenv("GOVTRAIN_SIMT_OBSERVE", "0", 0);
  if (!cuda_available(nullptr)) return {"cpu"};
  const char* const asked = std::getenv("GOVTRAIN_TEST_BACKENDS");
  if (asked != nullptr && std::string(asked) == "device") return {"cuda"};
  return {"cpu", "cuda"};
}

// And the device with operands rounded for its tensor cores.
inline std::vector<std::string> backend_and_precision_names() {
  std::vector<std::string> names = backend_names();
  if (names.back() == "cuda") names.insert(names.end(), {"cuda tf32", "cuda bf16"});
  return names;
}

inline Backend& backend_named(const std::string& name) {
  if (name == "cuda") return cuda_backend();
  if (name == "cuda tf32") return cuda_backend(cuda::Precision::tf32);
  if (name == "cuda bf16") return cuda_backend(cuda::Precision::bf16);
  if (name == "cpu") return cpu_backend();
  throw std::invalid_argument("no backend '" + name + "'");
}

// While it lives, test_backend() is the one of that name.
class OnBackend {
 public:
  explicit OnBackend(const std::string& name) { current_backend() = {name, &backend_named(name)}; }
  ~OnBackend() { current_backend() = {"cpu", &cpu_backend()}; }
  OnBackend(const OnBackend&) = delete;
  OnBackend& operator=(const OnBackend&) = delete;
};

// `all` cases on the CPU and on a device in float32; `some` on an emulated device, which is slower, and in its other
// precisions.
inline uint64_t cases_here(uint64_t all, uint64_t some) {
  const std::string& name = current_backend().name;
  return name == "cpu" || (name == "cuda" && !cuda_is_emulated()) ? all : some;
}

}  // namespace govtrain::test
