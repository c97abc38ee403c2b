// Which device the program computes on: what run.device asks for, and what this build and this machine have. The only
// place where a backend is chosen. A device is never taken in place of the one that was asked for; the emulated one,
// which is for tests, only when it is asked for.
#pragma once

#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "kernels/backend.h"

namespace govtrain {

// auto: CUDA where there is a real device, else the CPU.
const std::vector<std::string>& device_names();  // auto, cpu, cuda

// Reports at `at` when `name` cannot be taken. REQUIRES: one of device_names().
void check_device(const std::string& name, const Position& at, Diagnostics& diagnostics);
// Throws ConfigError when it cannot be taken.
Backend& device_backend(const std::string& name, const Position& at = {"run.device"});

// What can be taken here, and why the rest cannot: "cpu, emulated cuda (for tests)".
std::string devices_text();

}  // namespace govtrain
