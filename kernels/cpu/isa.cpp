#include "kernels/cpu/isa.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/cpu/targets.h"
// targets.h must come first.
#include <hwy/targets.h>

namespace govtrain::cpu {
namespace {

struct Isa {
  int64_t target;
  const char* name;
};

#if HWY_ARCH_X86
constexpr Isa kIsas[] = {{HWY_AVX3, "avx512"}, {HWY_AVX2, "avx2"}};
#else
constexpr Isa kIsas[] = {{HWY_NEON, "neon"}};
#endif

int64_t detected() {
  static const int64_t targets = [] {
    hwy::SetSupportedTargetsForTest(0);
    return hwy::SupportedTargets();
  }();
  return targets;
}

std::string taken;

}  // namespace

std::vector<std::string> available_instruction_sets() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) {
    if ((detected() & isa.target) != 0) names.emplace_back(isa.name);
  }
  return names;
}

void use_instruction_set(const std::string& name) {
  for (const Isa& isa : kIsas) {
    if ((detected() & isa.target) == 0 || (!name.empty() && name != isa.name)) continue;
    hwy::SetSupportedTargetsForTest(isa.target);
    taken = isa.name;
    return;
  }
  std::string have;
  for (const auto& n : available_instruction_sets()) have += (have.empty() ? "" : ", ") + n;
  throw Error("cpu", "no usable instruction set; expected {}, this CPU has: {}",
              name.empty() ? "AVX2 with FMA, AVX-512 or NEON" : "'" + name + "'", have.empty() ? "none of them" : have);
}

std::string instruction_set() { return taken; }

}  // namespace govtrain::cpu
