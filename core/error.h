// The exception for wrong programs and wrong configurations. Not for disks and logs: see core/status.h.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace govtrain {

// what() reads "[op] what; expected ..., got ...".
class Error : public std::runtime_error {
 public:
  template <class... Args>
  explicit Error(const std::string& op, fmt::format_string<Args...> text, Args&&... args)
      : std::runtime_error("[" + op + "] " + fmt::format(text, std::forward<Args>(args)...)) {}
};

}  // namespace govtrain
