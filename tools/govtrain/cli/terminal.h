// Colour and tables for people. Colour only on a terminal, and never when NO_COLOR is set (no-color.org).
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace govtrain {

// Bold red, bold yellow or bold around `text` if `out` is a terminal that should have colour, else the text itself.
std::string red(const std::string& text, std::FILE* out);
std::string bold(const std::string& text, std::FILE* out);

// Rendered diagnostics with "error:", "warning:" and the line of carets coloured.
std::string highlighted(const std::string& diagnostics, std::FILE* out);

// Columns aligned by their widest cell and two spaces apart; cells that look like numbers are aligned right. The first
// row is the heading. Ends with a newline.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace govtrain
