// Whole numbers, percentages and the parts of a whole that they name: small helpers of selectors. Shares are
// thousandths of a percent, so that no rounding of binary fractions can move a layer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace govtrain {

inline constexpr int64_t whole_share = 100'000;

inline std::optional<int64_t> parse_whole_number(const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) return {};
  return std::stoll(text);
}

// "50%" or "12.5%", above 0 and at most 100, up to three decimals; with `zero` also "0%".
inline std::optional<int64_t> parse_percentage(const std::string& text, bool zero = false) {
  if (text.empty() || text.back() != '%') return {};
  const std::string body = text.substr(0, text.size() - 1);
  const size_t dot = body.find('.');
  const auto whole = parse_whole_number(body.substr(0, dot));
  std::string fraction = dot == std::string::npos ? "" : body.substr(dot + 1);
  if (!whole || *whole > 100 || fraction.size() > 3 || (dot != std::string::npos && fraction.empty())) return {};
  fraction.resize(3, '0');
  const auto thousandths = parse_whole_number(fraction);
  if (!thousandths) return {};
  const int64_t value = *whole * 1000 + *thousandths;
  return (value > 0 || zero) && value <= whole_share ? std::optional(value) : std::nullopt;
}

inline int64_t share_down(int64_t n, int64_t share) { return n * share / whole_share; }
inline int64_t share_up(int64_t n, int64_t share) { return (n * share + whole_share - 1) / whole_share; }

}  // namespace govtrain
