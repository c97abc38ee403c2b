// Numbers as text: shortest decimal form that reads back to the same value (std::to_chars), independent of the locale.
#pragma once

#include <string>

namespace govtrain {

// Appends `value` as a JSON number. REQUIRES: finite. Exponents have no leading zeros or plus sign ("1e-7").
void append_number(std::string& out, float value);
void append_number(std::string& out, double value);
std::string number_text(float value);
std::string number_text(double value);

}  // namespace govtrain
