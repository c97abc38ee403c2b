#include "tools/govtrain/base/build_info.h"

#include <fmt/format.h>

namespace govtrain {

std::string version() { return GOVTRAIN_VERSION; }

std::string git_id() {
  return
#include "git_id.inc"
      ;
}

std::string version_line() { return fmt::format("govtrain {} ({})", version(), git_id()); }

std::string build_description() {
#ifdef __OPTIMIZE__
  const char* optimised = "optimised";
#else
  const char* optimised = "not optimised";
#endif
#ifdef NDEBUG
  const char* checks = "assertions off";
#else
  const char* checks = "assertions on";
#endif
#ifdef __clang__
  const char* compiler = "";
#else
  const char* compiler = "gcc ";
#endif
  return fmt::format("{}{}, C++{}, {}, {}", compiler, __VERSION__, __cplusplus / 100 % 100, optimised, checks);
}

}  // namespace govtrain
