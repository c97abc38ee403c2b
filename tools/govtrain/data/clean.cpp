#include "tools/govtrain/data/clean.h"

#include <cmath>

namespace govtrain {
namespace {

// Length of the control character at the start of `text`, or 0. Tab and LF are not control characters here; CR is one.
size_t control_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const unsigned char c = byte(0);
  if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7F) return 1;
  if (c == 0xC2 && byte(1) >= 0x80 && byte(1) <= 0x9F) return 2;  // U+0080..9F
  if (c == 0xEF && byte(1) == 0xBB && byte(2) == 0xBF) return 3;  // U+FEFF
  return 0;
}

}  // namespace

std::string clean(std::string_view text, const CleaningOptions& options) {
  std::string out;
  out.reserve(text.size());
  int newlines = 0;  // at the end of `out`
  for (size_t i = 0; i < text.size();) {
    char c = text[i];
    if (options.normalize_newlines && c == '\r') {
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
      c = '\n';
    } else if (options.strip_control) {
      if (const size_t length = control_length(text.substr(i)); length > 0) {
        i += length;
        continue;
      }
    }
    ++i;
    newlines = c == '\n' ? newlines + 1 : 0;
    if (options.max_blank_lines >= 0 && newlines > options.max_blank_lines + 1) continue;
    out.push_back(c);
  }
  return out;
}

int64_t count_chars(std::string_view text) {
  int64_t count = 0;
  for (char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

bool in_validation(const Digest& digest, double fraction) {
  const Digest keyed = sha256("split" + std::string(digest.begin(), digest.end()));
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | keyed[i];
  if (fraction >= 1) return true;
  return value < static_cast<uint64_t>(std::ldexp(fraction, 64));
}

}  // namespace govtrain
