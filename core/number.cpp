#include "core/number.h"

#include <cassert>
#include <charconv>
#include <cmath>
#include <string_view>

namespace govtrain {
namespace {

template <class T>
void append(std::string& out, T value) {
  assert(std::isfinite(value));
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  out += text.substr(0, e);
  if (e == std::string_view::npos) return;
  out += 'e';
  size_t digits = e + 1;
  if (text[digits] == '-') out += '-';
  if (text[digits] == '-' || text[digits] == '+') ++digits;
  while (digits + 1 < text.size() && text[digits] == '0') ++digits;
  out += text.substr(digits);
}

}  // namespace

void append_number(std::string& out, float value) { append(out, value); }
void append_number(std::string& out, double value) { append(out, value); }

std::string number_text(float value) {
  std::string out;
  append(out, value);
  return out;
}
std::string number_text(double value) {
  std::string out;
  append(out, value);
  return out;
}

}  // namespace govtrain
