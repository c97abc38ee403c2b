// Where adaptation, controller and schedule can lead weights, and what explain says of it.
#include "routing/reach.h"

#include <catch2/catch.hpp>
#include <string>

#include "routing/explain.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

const std::string opens = "schedule: [{name: join, profile: later, to: low, when: {step: 21}, over: 8}]\n";

DocumentFacts of(const std::string& license, const std::string& privacy = "") {
  DocumentFacts facts;
  facts.provenances = {{{"license", license}}};
  if (!privacy.empty()) facts.provenances[0]["privacy"] = privacy;
  return facts;
}

std::string explained(const std::string& text, const DocumentFacts& facts) {
  return explain_document(bind_policy(text, 1), facts, day("2026-01-01"));
}

bool says(const std::string& out, const std::string& part) { return out.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("explain says of a profile that adapts what it starts with and between which ends it moves") {
  const std::string out = explained(three_rules + low_adapts, of("MIT"));
  INFO(out);
  CHECK(says(out, "decision at the start: profile low\n"));
  CHECK(says(out, "  head               1  [1] rule a\n"));
  CHECK(says(out, "  at the start                                1         1       1\n"));
  CHECK(says(out, "  adaptation: low adapts, broad end full      1         1       1\n"));
  CHECK(says(out, "  adaptation: low adapts, narrow end its own  1         0.5     0\n"));
  const std::string off = explained(three_rules + "adaptation: {mode: off, profiles: {low: full}}\n", of("MIT"));
  CHECK(says(off, "decision: profile low\n"));
  CHECK_FALSE(says(off, "while training"));
  CHECK_FALSE(says(explained(three_rules + low_adapts, of("ISC")), "while training"));
}

TEST_CASE("explain says what a schedule opens, and calls excluded only what stays kept out") {
  const std::string out = explained(three_rules + opens, of("BSD"));
  INFO(out);
  CHECK(says(out, "decision at the start: profile later (no block learns from it yet)\n"));
  CHECK_FALSE(says(out, "excluded"));
  CHECK(says(out, "  schedule 'join': later reaches low from step 28 on  1         0.5     0\n"));
  CHECK(says(explained(three_rules + opens, of("Other")),
             "decision: profile none (excluded: no block learns from it)\n"));
  CHECK(says(explained(three_rules, of("BSD")), "decision: profile later (excluded: no block learns from it)\n"));
}
