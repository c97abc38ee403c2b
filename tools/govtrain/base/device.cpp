#include "tools/govtrain/base/device.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/cuda/backend.h"

namespace govtrain {
namespace {

bool takes_cuda(const std::string& name) {
  return name == "cuda" || (name == "auto" && cuda_available(nullptr) && !cuda_is_emulated());
}

template <class E>
E value_of(const std::vector<std::string>& names, const std::string& name) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) throw Error("device", "expected one of {}, got '{}'", fmt::join(names, ", "), name);
  return static_cast<E>(at - names.begin());
}

}  // namespace

const std::vector<std::string>& precision_names() {
  static const std::vector<std::string> names = {"fp32", "tf32", "bf16"};
  return names;
}

const std::vector<std::string>& determinism_names() {
  static const std::vector<std::string> names = {"strict", "fast"};
  return names;
}

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

void check_products(const std::string& name, const Products& products,
                    const std::function<Position(const std::string&)>& where, Diagnostics& diagnostics) {
  if (takes_cuda(name)) return;
  const Products of_cpu;
  const auto expect = [&](const std::string& key, const std::string& found, const std::string& expected,
                          const std::vector<std::string>& names) {
    // What is no name at all has been refused where it was read.
    if (found == expected || std::find(names.begin(), names.end(), found) == names.end()) return;
    diagnostics.error(where(key), fmt::format("'{}': expected {} on the CPU, found '{}'", key, expected, found),
                      fmt::format("take {}, or run.device=cuda where there is a device", expected));
  };
  expect("run.precision", products.precision, of_cpu.precision, precision_names());
  expect("run.determinism", products.determinism, of_cpu.determinism, determinism_names());
}

Backend& device_backend(const std::string& name, const Position& at, const Products& products) {
  Diagnostics diagnostics;
  check_device(name, at, diagnostics);
  check_products(
      name, products, [](const std::string& key) { return Position{key}; }, diagnostics);
  diagnostics.throw_if_errors();
  if (!takes_cuda(name)) return cpu_backend();
  return cuda_backend(value_of<cuda::Precision>(precision_names(), products.precision),
                      value_of<cuda::Determinism>(determinism_names(), products.determinism));
}

std::string devices_text() {
  std::string why;
  if (!cuda_available(&why)) return fmt::format("cpu; no cuda: {}", why);
  const std::string cuda = fmt::format("{} ({})", cuda_backend().name(), cuda_backend().instruction_set());
  return cuda_is_emulated() ? fmt::format("cpu, {}, for tests", cuda) : fmt::format("cpu, {}", cuda);
}

}  // namespace govtrain
