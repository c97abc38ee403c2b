// Cleaning and the split by content hash.
#include <catch2/catch.hpp>
#include <cmath>

#include "core/config/utf8.h"
#include "tests/tools/data_fixture.h"
#include "tools/govtrain/data/clean.h"

using namespace govtrain;
using namespace govtrain::test;

TEST_CASE("cleaning does what its options say", "[data]") {
  const CleaningOptions on;
  struct Row {
    std::string in, out;
  };
  const std::vector<Row> rows = {
      {"a\r\nb\rc\n", "a\nb\nc\n"},
      {"a\r\r\nb", "a\n\nb"},
      {"\xEF\xBB\xBFtext", "text"},
      {"a\x01\x1F\x7F\tb", "a\tb"},
      {"a\xC2\x80\xC2\x9F\xC2\xA0z", "a\xC2\xA0z"},
      {"a\n\n\n\n\n\nb", "a\n\n\nb"},
      {"a\n\x02\n\n\n\nb", "a\n\n\nb"},
      {"  kept  \n", "  kept  \n"},
      {"\xE2\x82\xAC\xF0\x9F\x98\x80", "\xE2\x82\xAC\xF0\x9F\x98\x80"},
      {"", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.in);
    CHECK(clean(row.in, on) == row.out);
    CHECK(clean(row.out, on) == row.out);
  }
  CleaningOptions off;
  off.normalize_newlines = off.strip_control = false;
  off.max_blank_lines = -1;
  for (const Row& row : rows) CHECK(clean(row.in, off) == row.in);
  CHECK(count_chars("a\xE2\x82\xAC\xF0\x9F\x98\x80") == 3);
}

TEST_CASE("cleaning is idempotent and keeps UTF-8 valid on random text", "[data]") {
  const uint64_t seed = 5;
  const Rng rng(seed, Stream::test);
  const std::vector<std::string> parts = {"a",    "\n", "\r",       "\xC2\x85",         "\xEF\xBB\xBF",
                                          "\x07", "\t", "\xC3\xA9", "\xF0\x9F\x98\x80", " "};
  uint64_t at = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text;
    const uint32_t length = rng.bits(at++) % 30;
    for (uint32_t i = 0; i < length; ++i) text += parts[rng.bits(at++) % parts.size()];
    CAPTURE(seed, trial, text);
    const std::string once = clean(text, {});
    REQUIRE(clean(once, {}) == once);
    REQUIRE(first_invalid_utf8(once) == once.size());
    REQUIRE(once.find("\n\n\n\n") == std::string::npos);
  }
}

TEST_CASE("the validation split is a share of all digests, and grows with the fraction", "[data]") {
  const int n = 20000;
  int small = 0, large = 0;
  for (int i = 0; i < n; ++i) {
    const Digest d = sha256(std::to_string(i));
    const bool in_small = in_validation(d, 0.05), in_large = in_validation(d, 0.3);
    CHECK_FALSE((in_small && !in_large));
    small += in_small;
    large += in_large;
    CHECK_FALSE(in_validation(d, 0));
  }
  // Five standard deviations of a binomial count.
  CHECK(std::abs(small - 0.05 * n) < 5 * std::sqrt(n * 0.05 * 0.95));
  CHECK(std::abs(large - 0.3 * n) < 5 * std::sqrt(n * 0.3 * 0.7));
  // Fixed forever: these documents may never change sides.
  CHECK(in_validation(sha256("govtrain"), 0.5) == in_validation(sha256("govtrain"), 0.5));
}
