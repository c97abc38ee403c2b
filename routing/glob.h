// Patterns over whole texts: '*' any run of characters, '?' one character, '\' takes the next one literally. Not paths:
// '*' crosses '/'. Byte-wise and case-sensitive.
#pragma once

#include <string>
#include <string_view>

namespace govtrain {

bool is_glob(std::string_view pattern);
// At most |pattern| * |text| steps.
bool glob_match(std::string_view pattern, std::string_view text);

// ASCII letters to lower case.
std::string lower_case(std::string_view text);

}  // namespace govtrain
