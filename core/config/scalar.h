// Scalars as text to values. Strict: nothing is guessed, and forms that YAML readers disagree about are refused.
// Independent of the locale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace govtrain {

// `quoted`: written in quotes, or given where only text makes sense.
struct Scalar {
  std::string text;
  bool quoted = false;
};

// What is wrong with a value and what to do; `item` is the index in a list.
struct Problem {
  std::string message, hint;
  size_t item = 0;
};

// Each returns what is wrong, or writes `out` and returns nothing.

// true or false. yes, no, on and off are refused: YAML 1.1 and 1.2 read them differently.
std::optional<Problem> parse_boolean(const Scalar& scalar, bool& out);
// Whole numbers, exact: 12, -3, 1_000, 1e6, 1.5k; suffixes k, M, G, T (1000) and Ki, Mi, Gi, Ti (1024). For the unit
// "bytes" the suffixes may end in B; for "seconds" they are s, m, h, d. Leading zeros are refused.
std::optional<Problem> parse_integer(const Scalar& scalar, const std::string& unit, int64_t& out);
// Decimal numbers with the same suffixes. Not-a-number, infinity and overflow are refused.
std::optional<Problem> parse_number(const Scalar& scalar, const std::string& unit, double& out);

// A warning for a plain scalar that is taken as text but that other YAML readers take for something else.
std::optional<Problem> ambiguous_text(const Scalar& scalar);

}  // namespace govtrain
