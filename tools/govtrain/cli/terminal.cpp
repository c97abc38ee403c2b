#include "tools/govtrain/cli/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "core/config/diagnostics.h"

namespace govtrain {
namespace {

bool has_colour(std::FILE* out) {
  const char* off = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return (off == nullptr || *off == '\0') && term != nullptr && std::strcmp(term, "dumb") != 0 &&
         isatty(fileno(out)) != 0;
}

std::string paint(const char* code, const std::string& text, std::FILE* out) {
  return has_colour(out) ? "\x1b[" + std::string(code) + "m" + text + "\x1b[0m" : text;
}

bool replace_first(std::string& line, const std::string& from, const std::string& to) {
  const size_t at = line.find(from);
  if (at == std::string::npos) return false;
  line.replace(at, from.size(), to);
  return true;
}

bool looks_like_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.,+-%kMGTe ") == std::string::npos;
}

}  // namespace

std::string red(const std::string& text, std::FILE* out) { return paint("1;31", text, out); }
std::string bold(const std::string& text, std::FILE* out) { return paint("1", text, out); }

std::string highlighted(const std::string& diagnostics, std::FILE* out) {
  if (!has_colour(out)) return diagnostics;
  std::istringstream in(diagnostics);
  std::string text;
  for (std::string line; std::getline(in, line);) {
    if (!replace_first(line, ": error: ", ": " + red("error:", out) + " "))
      replace_first(line, ": warning: ", ": " + paint("1;33", "warning:", out) + " ");
    text += line + "\n";
  }
  return text;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<bool> numeric;
  for (size_t r = 0; r < rows.size(); ++r) {
    widths.resize(std::max(widths.size(), rows[r].size()));
    numeric.resize(widths.size(), true);
    for (size_t c = 0; c < rows[r].size(); ++c) {
      widths[c] = std::max(widths[c], static_cast<size_t>(display_length(rows[r][c])));
      if (r > 0 && !rows[r][c].empty() && !looks_like_number(rows[r][c])) numeric[c] = false;
    }
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - static_cast<size_t>(display_length(row[c])), ' ');
      if (c > 0) line += "  ";
      line += numeric[c] ? space + row[c] : row[c] + space;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace govtrain
