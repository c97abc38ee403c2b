// The instruction set that the kernels run with: chosen once at start, changed only by tests and benchmarks.
#pragma once

#include <string>
#include <vector>

namespace govtrain::cpu {

// Names of the compiled instruction sets that this CPU has, best first: "avx512", "avx2", or "neon". May be empty.
std::vector<std::string> available_instruction_sets();

// Takes the named one, or the best for an empty name. Error when this CPU does not have it.
// REQUIRES: no kernel is running.
void use_instruction_set(const std::string& name);

// The one taken.
std::string instruction_set();

}  // namespace govtrain::cpu
