#include "tools/govtrain/train/policy_version.h"

#include <cstdint>
#include <vector>

namespace govtrain {

std::optional<bool> is_newer(const std::string& text, const std::string& than) {
  const auto numbers = [](const std::string& version) -> std::optional<std::vector<uint64_t>> {
    std::vector<uint64_t> out = {0};
    bool digit = false;
    for (const char c : version) {
      const bool is_digit = c >= '0' && c <= '9';
      if (!is_digit && (c != '.' || !digit)) return {};
      if (is_digit && out.back() > UINT64_MAX / 10 - 1) return {};
      if (is_digit) out.back() = 10 * out.back() + static_cast<uint64_t>(c - '0');
      if (!is_digit) out.push_back(0);
      digit = is_digit;
    }
    if (!digit) return {};
    return out;
  };
  const auto a = numbers(text), b = numbers(than);
  if (!a || !b) return {};
  return *a > *b;
}

}  // namespace govtrain
