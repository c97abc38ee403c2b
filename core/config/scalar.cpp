#include "core/config/scalar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "core/config/diagnostics.h"

namespace govtrain {
namespace {

// The parts of 'sign digits . digits e exponent suffix', underscores removed.
struct Literal {
  bool negative = false;
  std::string whole, fraction;
  int64_t exponent = 0;
  std::string suffix;
  std::string number() const {
    return fmt::format("{}{}.{}e{}", negative ? "-" : "", whole.empty() ? "0" : whole,
                       fraction.empty() ? "0" : fraction, exponent);
  }
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Digits with single underscores between them.
std::string take_digits(std::string_view& text) {
  std::string digits;
  while (!text.empty()) {
    if (is_digit(text[0])) {
      digits += text[0];
      text.remove_prefix(1);
    } else if (text[0] == '_' && !digits.empty() && text.size() > 1 && is_digit(text[1])) {
      text.remove_prefix(1);
    } else {
      break;
    }
  }
  return digits;
}

std::optional<Literal> split(std::string_view text) {
  Literal out;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    out.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  out.whole = take_digits(text);
  if (!text.empty() && text[0] == '.') {
    text.remove_prefix(1);
    out.fraction = take_digits(text);
  }
  if (out.whole.empty() && out.fraction.empty()) return {};
  if (text.size() > 1 && (text[0] == 'e' || text[0] == 'E')) {
    std::string_view rest = text.substr(1);
    const bool down = rest[0] == '-';
    if (rest[0] == '-' || rest[0] == '+') rest.remove_prefix(1);
    const std::string digits = take_digits(rest);
    if (digits.empty() || digits.size() > 6) return {};
    for (const char c : digits) out.exponent = out.exponent * 10 + (c - '0');
    if (down) out.exponent = -out.exponent;
    text = rest;
  }
  out.suffix = std::string(text);
  if (!out.suffix.empty() && out.suffix[0] == ' ') out.suffix.erase(0, 1);
  return out;
}

std::optional<int64_t> multiplier(const std::string& suffix, const std::string& unit) {
  using Table = std::array<std::pair<std::string_view, int64_t>, 9>;
  static constexpr Table sizes{{{"", 1},
                                {"k", 1'000},
                                {"M", 1'000'000},
                                {"G", 1'000'000'000},
                                {"T", 1'000'000'000'000},
                                {"Ki", 1LL << 10},
                                {"Mi", 1LL << 20},
                                {"Gi", 1LL << 30},
                                {"Ti", 1LL << 40}}};
  static constexpr std::array<std::pair<std::string_view, int64_t>, 5> times{
      {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};
  const auto look_up = [](const auto& table, std::string_view name) -> std::optional<int64_t> {
    for (const auto& [text, value] : table) {
      if (text == name) return value;
    }
    return {};
  };
  if (unit == "seconds") return look_up(times, suffix);
  std::string_view name = suffix;
  if (unit == "bytes" && !name.empty() && name.back() == 'B') name.remove_suffix(1);
  return look_up(sizes, name);
}

std::string suffix_hint(const std::string& unit) {
  if (unit == "seconds") return "examples: 90, 10m, 2h";
  if (unit == "bytes") return "examples: 4096, 512MiB, 2GB";
  return "";
}

bool equals_any(const std::string& text, std::initializer_list<const char*> words) {
  std::string lower;
  for (const char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return std::any_of(words.begin(), words.end(), [&](const char* w) { return lower == w; });
}

bool leading_zero(const Literal& literal) { return literal.whole.size() > 1 && literal.whole[0] == '0'; }

// What integers and numbers refuse alike; `kind` is "an integer" or "a number".
std::optional<Problem> refuse(const Scalar& s, const std::optional<Literal>& literal, const std::string& kind,
                              const std::string& unit) {
  if (s.quoted) {
    return Problem{fmt::format("expected {}, found the string {}", kind, in_quotes(s.text)),
                   literal ? "remove the quotes" : ""};
  }
  if (equals_any(s.text, {".nan", "nan", ".inf", "inf", "-.inf", "-inf", "+.inf", "+inf", "infinity"})) {
    return Problem{fmt::format("expected a finite number, found {}", in_quotes(s.text)), ""};
  }
  if (!literal) return Problem{fmt::format("expected {}, found {}", kind, in_quotes(s.text)), suffix_hint(unit)};
  if (leading_zero(*literal)) {
    const std::string plain =
        literal->whole.substr(std::min(literal->whole.find_first_not_of('0'), literal->whole.size() - 1));
    return Problem{fmt::format("{} is ambiguous: YAML 1.1 reads a leading zero as octal", in_quotes(s.text)),
                   fmt::format("write {}", plain)};
  }
  if (!multiplier(literal->suffix, unit)) {
    return Problem{
        fmt::format("expected {}, found {}", kind, in_quotes(s.text)),
        suffix_hint(unit).empty() ? fmt::format("unknown suffix {}", in_quotes(literal->suffix)) : suffix_hint(unit)};
  }
  return {};
}

}  // namespace

std::optional<Problem> parse_boolean(const Scalar& s, bool& out) {
  if (!s.quoted && (s.text == "true" || s.text == "false")) {
    out = s.text == "true";
    return {};
  }
  if (!s.quoted && equals_any(s.text, {"yes", "on", "y", "true", "1"})) {
    return Problem{fmt::format("expected true or false, found {}", in_quotes(s.text)), "write true"};
  }
  if (!s.quoted && equals_any(s.text, {"no", "off", "n", "false", "0"})) {
    return Problem{fmt::format("expected true or false, found {}", in_quotes(s.text)), "write false"};
  }
  return Problem{fmt::format("expected true or false, found {}{}", s.quoted ? "the string " : "", in_quotes(s.text)),
                 s.quoted ? "remove the quotes" : ""};
}

std::optional<Problem> parse_integer(const Scalar& s, const std::string& unit, int64_t& out) {
  const std::optional<Literal> literal = split(s.text);
  if (auto problem = refuse(s, literal, "an integer", unit)) return problem;
  const Problem too_large{fmt::format("{} is too large for a 64-bit integer", in_quotes(s.text)), ""};
  const Problem not_whole{fmt::format("expected an integer, found {}", in_quotes(s.text)), "it is not a whole number"};
  // value = digits * 10^-scale * multiplier, with the factors of ten cancelled exactly.
  std::string digits = literal->whole + literal->fraction;
  int64_t scale = static_cast<int64_t>(literal->fraction.size()) - literal->exponent;
  while (scale > 0 && digits.size() > 1 && digits.back() == '0') {
    digits.pop_back();
    --scale;
  }
  int64_t value = 0;
  for (const char c : digits) {
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, c - '0', &value)) return too_large;
  }
  if (value == 0) {
    out = 0;
    return {};
  }
  if (__builtin_mul_overflow(value, *multiplier(literal->suffix, unit), &value)) return too_large;
  for (; scale < 0; ++scale) {
    if (__builtin_mul_overflow(value, 10, &value)) return too_large;
  }
  for (; scale > 0; --scale) {
    if (value % 10 != 0) return not_whole;
    value /= 10;
  }
  out = literal->negative ? -value : value;
  return {};
}

std::optional<Problem> parse_number(const Scalar& s, const std::string& unit, double& out) {
  const std::optional<Literal> literal = split(s.text);
  if (auto problem = refuse(s, literal, "a number", unit)) return problem;
  const std::string text = literal->number();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Problem{fmt::format("{} is outside the range of a double", in_quotes(s.text)), ""};
  }
  value *= static_cast<double>(*multiplier(literal->suffix, unit));
  if (!std::isfinite(value)) return Problem{fmt::format("{} is outside the range of a double", in_quotes(s.text)), ""};
  out = value;
  return {};
}

std::optional<Problem> ambiguous_text(const Scalar& s) {
  if (s.quoted) return {};
  if (equals_any(s.text, {"yes", "no", "on", "off", "true", "false", "y", "n"})) {
    return Problem{fmt::format("{} is taken as text; other YAML readers take it for a boolean", in_quotes(s.text)),
                   "write it in quotes"};
  }
  const std::optional<Literal> literal = split(s.text);
  if (literal && literal->suffix.empty() && leading_zero(*literal)) {
    return Problem{
        fmt::format("{} is taken as text; other YAML readers take it for an octal number", in_quotes(s.text)),
        "write it in quotes"};
  }
  return {};
}

}  // namespace govtrain
