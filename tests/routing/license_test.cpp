#include "routing/license.h"

#include <catch2/catch.hpp>

#include "core/rng.h"
#include "routing/condition.h"
#include "routing/date.h"
#include "routing/glob.h"

using namespace govtrain;

namespace {

// The tree as text: (A & B), (A | B).
std::string shape(const LicenseExpression& e) {
  if (e.kind == LicenseExpression::Kind::term) return e.term;
  std::string out;
  for (const auto& part : e.parts) {
    out += (out.empty() ? "(" : e.kind == LicenseExpression::Kind::all_of ? " & " : " | ") + shape(part);
  }
  return out + ")";
}

std::string shape(const std::string& text) { return shape(parse_license(text)); }

}  // namespace

TEST_CASE("licence expressions follow the SPDX grammar and its precedence") {
  CHECK(shape("MIT") == "MIT");
  CHECK(shape("GPL-2.0-or-later OR CC-BY-SA-3.0") == "(GPL-2.0-or-later | CC-BY-SA-3.0)");
  CHECK(shape("A OR B AND C") == "(A | (B & C))");
  CHECK(shape("(A OR B) AND C") == "((A | B) & C)");
  CHECK(shape("A and B or C") == "((A & B) | C)");
  CHECK(shape("GPL-2.0-only WITH Classpath-exception-2.0 AND MIT") ==
        "(GPL-2.0-only WITH Classpath-exception-2.0 & MIT)");
  CHECK(shape("DocumentRef-x:LicenseRef-y") == "DocumentRef-x:LicenseRef-y");
  CHECK(shape(" ( MIT ) ") == "MIT");
}

TEST_CASE("a text that is no expression is one opaque term") {
  for (const char* text : {"", "see the file COPYING", "MIT AND", "OR MIT", "(MIT", "MIT)", "MIT WITH",
                           "A WITH B WITH C", "A B", "()", "MIT/X11", "A AND OR B"}) {
    INFO(text);
    CHECK(parse_license(text).kind == LicenseExpression::Kind::term);
    CHECK(shape(text) == text);
  }
  const std::string deep(100'000, '(');
  CHECK(shape(deep) == deep);
  std::string nested = "A";
  for (int i = 0; i < 100; ++i) nested = "(" + nested + ")";
  CHECK(shape(nested) == nested);
}

TEST_CASE("licence patterns meet ids in any case, with and without exception, old and new GNU forms") {
  const auto hit = [](const char* pattern, const char* id) { return pattern_matches("license", pattern, id); };
  CHECK(hit("mit", "MIT"));
  CHECK(hit("GPL-*", "GPL-2.0-or-later"));
  CHECK(!hit("GPL-*", "LGPL-2.1-only"));
  CHECK(hit("GPL-2.0-or-later", "GPL-2.0+"));
  CHECK(hit("GPL-2.0-only", "GPL-2.0"));
  CHECK(!hit("GPL-2.0-only", "GPL-2.0-or-later"));
  CHECK(!hit("GPL-2.0-or-later", "GPL-2.0"));
  CHECK(hit("GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0"));
  CHECK(hit("* WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"));
  CHECK(!hit("*", ""));
}

TEST_CASE("globs agree with a slow definition") {
  const auto slow = [](const auto& self, std::string_view p, std::string_view t) -> bool {
    if (p.empty()) return t.empty();
    if (p[0] == '*') return self(self, p.substr(1), t) || (!t.empty() && self(self, p, t.substr(1)));
    if (t.empty()) return false;
    if (p[0] == '\\' && p.size() > 1) return p[1] == t[0] && self(self, p.substr(2), t.substr(1));
    return (p[0] == '?' || p[0] == t[0]) && self(self, p.substr(1), t.substr(1));
  };
  const Rng rng(11, Stream::test);
  INFO("seed 11");
  uint64_t n = 0;
  const auto text = [&](const std::string& letters, uint32_t most) {
    std::string out;
    for (uint32_t i = rng.bits(n++) % (most + 1); i > 0; --i) out += letters[rng.bits(n++) % letters.size()];
    return out;
  };
  int hits = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string p = text("ab*?\\", 6), t = text("ab*", 6);
    INFO(p << " on " << t);
    REQUIRE(glob_match(p, t) == slow(slow, p, t));
    hits += glob_match(p, t) ? 1 : 0;
  }
  CHECK(hits > 1000);
  CHECK(!glob_match("*a*a*a*a*a*a*a*a*b", std::string(20'000, 'a')));  // no exponential time
  CHECK(!is_glob("a\\*"));
  CHECK(is_glob("a\\\\*"));
}

TEST_CASE("dates are strict") {
  CHECK(Date::parse("2024-02-29")->text() == "2024-02-29");
  CHECK(Date::parse("0001-01-01")->text() == "0001-01-01");
  CHECK(*Date::parse("2025-12-31") < *Date::parse("2026-01-01"));
  for (const char* bad : {"", "2023-02-29", "2024-13-01", "2024-00-10", "2024-01-32", "24-01-01", "2024-1-1",
                          "2024/01/01", "2024-01-01T00:00", " 2024-01-01", "0000-01-01", "-024-01-01", "2024-01-0a"}) {
    INFO(bad);
    CHECK(!Date::parse(bad));
  }
}
