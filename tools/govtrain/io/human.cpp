#include "tools/govtrain/io/human.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace govtrain {

std::string human_count(double n) {
  constexpr std::array<const char*, 5> units = {"", "k", "M", "G", "T"};
  size_t u = 0;
  // 999.95 would print as "1000.0": go to the next unit from there on.
  while (std::abs(n) >= (u == 0 ? 999.5 : 999.95) && u + 1 < units.size()) {
    n /= 1000;
    ++u;
  }
  return u == 0 ? fmt::format("{:.0f}", n) : fmt::format("{:.1f}{}", n, units[u]);
}

std::string human_bytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto n = static_cast<double>(bytes);
  size_t u = 0;
  while (n >= (u == 0 ? 1024 : 1023.95) && u + 1 < units.size()) {
    n /= 1024;
    ++u;
  }
  return u == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", n, units[u]);
}

std::string human_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto s = static_cast<int64_t>(std::llround(std::min(seconds, 1e12)));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  return fmt::format("{}d{:02}h", s / 86400, s / 3600 % 24);
}

std::string grouped(int64_t n) {
  const std::string digits = fmt::format("{}", n);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > (n < 0 ? 1U : 0U) && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string noun(int64_t n, std::string_view one) {
  std::string text(one);
  if (n == 1) return text;
  const bool y = text.size() > 1 && text.back() == 'y' &&
                 std::string_view("aeiou").find(text[text.size() - 2]) == std::string_view::npos;
  if (y) return text.substr(0, text.size() - 1) + "ies";
  return text + (text.back() == 's' ? "es" : "s");
}

std::string printable(std::string_view text) {
  constexpr std::string_view replacement = "\xef\xbf\xbd";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (c == 0xc2 && next >= 0x80 && next <= 0x9f) {
      out += replacement;
      ++i;
    } else if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f) {
      out += replacement;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace govtrain
