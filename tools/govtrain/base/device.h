// Which device the program computes on: what run.device asks for, and what this build and this machine have. The only
// place where a backend is chosen. A device is never taken in place of the one that was asked for; the emulated one,
// which is for tests, only when it is asked for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "kernels/backend.h"

namespace govtrain {

// auto: CUDA where there is a real device, else the CPU.
const std::vector<std::string>& device_names();  // auto, cpu, cuda

// How products are made: run.precision and run.determinism (kernels/cuda/precision.h). The CPU has the default of each
// and nothing else.
const std::vector<std::string>& precision_names();    // fp32, tf32, bf16
const std::vector<std::string>& determinism_names();  // strict, fast
struct Products {
  std::string precision = "fp32", determinism = "strict";
};

// Reports at `at` when `name` cannot be taken. REQUIRES: one of device_names().
void check_device(const std::string& name, const Position& at, Diagnostics& diagnostics);
// Reports, each at its key, what the device that `name` takes does not have. where: of "run.precision", say.
void check_products(const std::string& name, const Products& products,
                    const std::function<Position(const std::string&)>& where, Diagnostics& diagnostics);
// Throws ConfigError when it cannot be taken, or does not have the products asked for.
Backend& device_backend(const std::string& name, const Position& at = {"run.device"}, const Products& products = {});

// What can be taken here, and why the rest cannot: "cpu, emulated cuda (for tests)".
std::string devices_text();

}  // namespace govtrain
