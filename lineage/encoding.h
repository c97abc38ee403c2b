// Small text encodings that the formats of the log need: strict base64, UTF-8 validation, JSON strings and canonical
// JSON. Not a JSON library: documents are parsed by nlohmann-json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "core/hash.h"
#include "core/status.h"

namespace govtrain {

// Standard alphabet with padding (RFC 4648 section 4).
std::string base64(std::string_view bytes);
std::string base64(const Digest& digest);
// Accepts exactly what base64() writes.
Result<std::string> from_base64(std::string_view text);
Result<Digest> digest_from_base64(std::string_view text);

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool valid_utf8(std::string_view text);

// Appends `text` as a JSON string. REQUIRES: valid_utf8(text).
void append_json_string(std::string& out, std::string_view text);

// Appends the canonical form: keys sorted by byte, no white space, numbers as core/number.h. `invalid` for what JSON
// cannot hold (NaN, infinities, invalid UTF-8, binary) and for nesting deeper than 64.
Status append_canonical_json(std::string& out, const nlohmann::json& value);

// Parses UTF-8 JSON; `corrupt` for syntax errors and nesting deeper than 64. Of equal keys the last counts: who must
// refuse them compares the canonical form with the text.
Result<nlohmann::json> parse_json(std::string_view text);

// Decimal without sign or leading zeros, at most 2^63 - 1.
Result<uint64_t> parse_decimal(std::string_view text);

}  // namespace govtrain
