// Checks text that comes from outside. Only validity; no normalisation.
#pragma once

#include <cstddef>
#include <string_view>

namespace govtrain {

// Byte index of the first byte that is not part of valid UTF-8 (RFC 3629: no surrogates, no overlong forms), or
// text.size() when all of it is.
size_t first_invalid_utf8(std::string_view text);

}  // namespace govtrain
