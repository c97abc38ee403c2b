// SPDX licence expressions (SPDX specification 2.3, annex D): ids joined by AND, OR and WITH, '+' and parentheses.
// Knows the grammar, not the list of licences; says nothing about what a licence allows.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace govtrain {

struct LicenseExpression {
  enum class Kind { term, all_of, any_of };  // AND, OR
  Kind kind = Kind::term;
  std::string term;  // "GPL-2.0-or-later WITH Classpath-exception-2.0"
  std::vector<LicenseExpression> parts;
};

// Operators may be in lower case, as Debian copyright files write them. A text that is not an expression is one opaque
// term, compared as it stands.
LicenseExpression parse_license(std::string_view text);

// The forms under which a pattern may meet a term: as written; without its exception; for '+' the '-or-later' form;
// for a bare GNU id ("GPL-2.0") the '-only' form.
std::vector<std::string> license_forms(const std::string& term);

}  // namespace govtrain
