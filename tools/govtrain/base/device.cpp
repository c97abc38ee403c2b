#include "tools/govtrain/base/device.h"

#include <fmt/format.h>

#include "kernels/cuda/backend.h"

namespace govtrain {

const std::vector<std::string>& device_names() {
  static const std::vector<std::string> names = {"auto", "cpu", "cuda"};
  return names;
}

void check_device(const std::string& name, const Position& at, Diagnostics& diagnostics) {
  std::string why;
  if (name != "cuda" || cuda_available(&why)) return;
  diagnostics.error(at, "there is no CUDA device: " + why,
                    "choose cpu or auto, or run where there is one, with a build that has GOVTRAIN_CUDA=on");
}

Backend& device_backend(const std::string& name, const Position& at) {
  Diagnostics diagnostics;
  check_device(name, at, diagnostics);
  diagnostics.throw_if_errors();
  if (name == "cuda" || (name == "auto" && cuda_available(nullptr) && !cuda_is_emulated())) return cuda_backend();
  return cpu_backend();
}

std::string devices_text() {
  std::string why;
  if (!cuda_available(&why)) return fmt::format("cpu; no cuda: {}", why);
  const std::string cuda = fmt::format("{} ({})", cuda_backend().name(), cuda_backend().instruction_set());
  return cuda_is_emulated() ? fmt::format("cpu, {}, for tests", cuda) : fmt::format("cpu, {}", cuda);
}

}  // namespace govtrain
