// What a policy decides for a document: matching, windows, exclusions, privacy, licence expressions, several
// provenances; and the properties that hold for any policy.
#include "routing/resolve.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <sstream>

#include "core/rng.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

const std::string head =
    "policy: t\nversion: 1\ndefault: none\n"
    "profiles:\n  full: {all: 1}\n  half: {all: 0.5}\n  shallow: {embedding: 1, first 50% of layers: 1, rest: 0}\n"
    "  deep: {last 50% of layers: 2, head: 1, rest: 0.25}\n  minus: {allow_negative: {bound: 1}, all: -0.75}\n";

Decision decide(const std::string& text, const DocumentFacts& facts, const std::string& today = "2026-06-01") {
  return bind_policy(head + text).resolve(facts, day(today));
}

using Weights = std::vector<float>;
const Weights all_zero(6, 0.0F), all_one(6, 1.0F);

}  // namespace

TEST_CASE("a rule matches by exact text, list, glob and combinators") {
  const Meta meta{{"license", "MIT"}, {"source", "deb:bash@5.2:doc/x"}, {"language", "en"}, {"year", "2020"}};
  const std::vector<std::pair<const char*, bool>> rows{
      {"always", true},
      {"{license: MIT}", true},
      {"{license: mit}", true},
      {"{language: EN}", false},
      {"{license: [ISC, MIT]}", true},
      {"{license: M*}", true},
      {"{source: \"deb:bash@*\"}", true},
      {"{source: bash}", false},
      {"{license: MIT, language: en}", true},
      {"{license: MIT, language: de}", false},
      {"{any: [{language: de}, {license: MIT}]}", true},
      {"{any: [{language: de}, {license: ISC}]}", false},
      {"{all: [{language: en}, {not: {license: GPL-*}}]}", true},
      {"{not: {any: [{license: MIT}, {license: ISC}]}}", false},
      {"{year: 2020}", true},
      {"{year: \"20??\"}", true},
      {"{package: \"*\"}", false},
      {"{not: {package: \"*\"}}", true},
      {"{id: doc}", true},
  };
  for (const auto& [when, expected] : rows) {
    INFO(when);
    const Decision d = decide(std::string("rules: [{name: r, when: ") + when + ", profile: full}]\n", document(meta));
    CHECK(d.excluded == !expected);
    CHECK(d.weights == (expected ? all_one : all_zero));
    CHECK(d.rule[0] == (expected ? 1 : 0));
    CHECK(d.profile == (expected ? "full" : "none"));
  }
}

TEST_CASE("matching rules combine per block to the smallest magnitude, and the record names the rule that decided") {
  const std::string rules =
      "rules:\n- {name: a, when: {license: MIT}, profile: half}\n- {name: b, when: {language: en}, profile: shallow}\n"
      "- {name: c, when: {class: x}, profile: deep}\n";
  const Decision d = decide(rules, document({{"license", "MIT"}, {"language", "en"}, {"class", "x"}}));
  // half 0.5 everywhere; shallow 1 1 1 0 0 0; deep 0.25 0.25 0.25 2 2 1
  CHECK(d.weights == Weights{0.25, 0.25, 0.25, 0, 0, 0});
  CHECK(d.rule == std::vector<int32_t>{3, 3, 3, 2, 2, 2});
  CHECK(d.profile == "deep+shallow");
  CHECK(!d.excluded);
  CHECK(d.matched.size() == 3);
  CHECK(decide(rules, document({{"license", "MIT"}})).profile == "half");
  CHECK(decide("", document({})).matched.at(0).reason == "no rule matches, and there is no licence");
}

TEST_CASE("opposite signs give zero, equal signs the smaller") {
  const std::string rules =
      "rules:\n- {name: a, when: {license: MIT}, profile: full}\n- {name: b, when: {language: en}, profile: minus}\n";
  CHECK(decide(rules, document({{"license", "MIT"}, {"language", "en"}})).weights == all_zero);
  CHECK(decide(rules, document({{"license", "MIT"}, {"language", "en"}})).profile == "full+minus");
  CHECK(decide(rules, document({{"language", "en"}})).weights == Weights(6, -0.75F));
}

TEST_CASE("the profiles that a decision names give its weights, whatever matches and in which order") {
  int together = 0, opposite = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    const Rng rng(seed, Stream::test, 9);
    uint64_t n = 0;
    const auto one_of = [&](std::initializer_list<const char*> list) {
      return std::string(*(list.begin() + rng.bits(n++) % list.size()));
    };
    std::string text = "policy: p\nversion: 1\ndefault: none\nprofiles:\n", rules = "rules:\n";
    for (const char* name : {"a", "b", "c", "d"}) {
      text += fmt::format("  {}: {{allow_negative: {{bound: 2}}", name);
      for (const char* block : {"embedding", "layer.0", "layer.1", "head"})
        text += fmt::format(", {}: {}", block, one_of({"0", "1", "0.5", "-0.5", "-1", "2"}));
      text += "}\n";
      rules += fmt::format("- {{name: {0}, when: {{k{0}: x}}, profile: {0}}}\n", name);
    }
    const BoundPolicy policy = bind_policy(text + rules, 2);
    Meta meta;
    for (const char* name : {"a", "b", "c", "d"}) {
      if (rng.bits(n++) % 4 != 0) meta[std::string("k") + name] = "x";
    }
    if (meta.empty()) continue;
    const Decision d = policy.resolve(document(meta), day("2026-01-01"));
    Weights combined;
    std::istringstream names(d.profile);
    for (std::string name; std::getline(names, name, '+');) {
      const int p = name == "none" ? 0 : name[0] - 'a' + 1;
      if (combined.empty()) combined = policy.weights(p);
      for (size_t b = 0; b < combined.size(); ++b) {
        int32_t ignored = 0;
        if (combined[b] * policy.weights(p)[b] < 0) ++opposite;
        restrict_weight(combined[b], ignored, policy.weights(p)[b], 0);
      }
    }
    CHECK(combined == d.weights);
    together += d.profile.find('+') != std::string::npos ? 1 : 0;
  }
  CHECK(together > 50);
  CHECK(opposite > 50);
}

TEST_CASE("a window holds from its first day until the day that ends it; outside, what matches is kept out") {
  const std::string rules =
      "rules:\n- {name: w, when: {license: MIT}, profile: full, from: 2026-02-01, until: 2026-03-01}\n"
      "- {name: open, when: {language: en}, profile: full}\n";
  const auto at = [&](const char* today, const Meta& meta) { return decide(rules, document(meta), today); };
  CHECK(at("2026-01-31", {{"license", "MIT"}}).weights == all_zero);
  CHECK(at("2026-02-01", {{"license", "MIT"}}).weights == all_one);
  CHECK(at("2026-02-28", {{"license", "MIT"}}).weights == all_one);
  CHECK(at("2026-03-01", {{"license", "MIT"}}).weights == all_zero);
  CHECK(at("2026-01-31", {{"license", "MIT"}}).matched[0].reason == "matches, but is not valid before 2026-02-01");
  CHECK(at("2026-03-01", {{"license", "MIT"}}).matched[0].reason == "matches, but expired on 2026-03-01");
  CHECK(at("2026-03-01", {{"license", "MIT"}}).rule[0] == 1);
  CHECK(at("2026-03-01", {{"license", "MIT"}, {"language", "en"}}).excluded);
  CHECK(at("2026-03-01", {{"language", "en"}}).weights == all_one);
  const Policy p = parse_policy(head + rules);
  CHECK(p.next_change(day("2026-01-01"))->text() == "2026-02-01");
  CHECK(p.next_change(day("2026-02-01"))->text() == "2026-03-01");
  CHECK(!p.next_change(day("2026-03-01")));
}

TEST_CASE("every term of a licence counts for AND; for OR those that a rule speaks of") {
  const std::string rules =
      "rules:\n- {name: free, when: {license: [MIT, BSD-*]}, profile: full}\n- {name: copyleft, when: {license: "
      "GPL-*}, "
      "profile: shallow}\n- {name: old, when: {license: Zlib}, profile: full, until: 2020-01-01}\n";
  const auto profile = [&](const std::string& license) { return decide(rules, licensed(license)).profile; };
  CHECK(profile("MIT") == "full");
  CHECK(profile("MIT AND BSD-3-Clause") == "full");
  CHECK(profile("MIT AND GPL-2.0-only") == "shallow");
  CHECK(profile("MIT OR GPL-2.0-only") == "shallow");
  CHECK(profile("MIT AND LicenseRef-odd") == "none");
  CHECK(profile("MIT OR LicenseRef-odd") == "full");
  CHECK(profile("LicenseRef-odd OR LicenseRef-other") == "none");
  CHECK(profile("(MIT AND LicenseRef-odd) OR GPL-2.0-only") == "shallow");
  CHECK(profile("(MIT OR LicenseRef-odd) AND BSD-2-Clause") == "full");
  CHECK(profile("GPL-2.0-only WITH Classpath-exception-2.0") == "shallow");
  CHECK(profile("MIT AND Zlib") == "none");
  CHECK(profile("see COPYING") == "none");
}

TEST_CASE("of several provenances the most restrictive holds") {
  const std::string rules =
      "rules:\n- {name: free, when: {license: MIT}, profile: full}\n- {name: copyleft, when: {license: GPL-*}, "
      "profile: shallow}\n"
      "exclusions: [{source: \"bad:*\"}]\n";
  const DocumentFacts two{"d", "", {{{"license", "MIT"}}, {{"license", "GPL-3.0-only"}}}};
  CHECK(decide(rules, two).profile == "shallow");
  CHECK(decide(rules, {"d", "", {{{"license", "MIT"}}, {{"license", "unknown"}}}}).excluded);
  CHECK(decide(rules, {"d", "", {{{"license", "MIT"}}, {{"license", "MIT"}, {"source", "bad:1"}}}}).excluded);
  CHECK(decide(rules, {"d", "", {{{"license", "MIT"}}, {}}}).excluded);
}

TEST_CASE("privacy only restricts, and unlisted classes are kept out") {
  const std::string rules =
      "rules: [{name: free, when: {license: MIT}, profile: full}]\nprivacy: {classes: {personal: shallow, public: "
      "full}}\n";
  const auto of = [&](const std::string& cls, const std::string& license) {
    return decide(rules, document({{"license", license}, {"privacy", cls}}));
  };
  CHECK(of("personal", "MIT").weights == Weights{1, 1, 1, 0, 0, 0});
  CHECK(of("personal", "MIT").rule == std::vector<int32_t>{2, 2, 2, 2, 2, 2});
  CHECK(of("public", "MIT").weights == all_one);
  CHECK(of("public", "other").excluded);
  CHECK(of("secret", "MIT").excluded);
  CHECK(of("secret", "MIT").rule[0] == 4);
  CHECK(decide(rules, licensed("MIT")).weights == all_one);
}

TEST_CASE("excluded by id, digest or source is excluded") {
  const std::string digest(64, 'a');
  const std::string rules =
      "rules: [{name: all, when: always, profile: full}]\nexclusions: [{name: list, id: [x, y], digest: \"sha256:" +
      digest + "\"}, {source: [\"deb:bad*\"]}]\n";
  CHECK(decide(rules, {"x", "", {}}).excluded);
  CHECK(decide(rules, {"x", "", {}}).rule[0] == 2);
  CHECK(decide(rules, {"z", digest, {}}).excluded);
  CHECK(decide(rules, {"z", "sha256:" + digest, {}}).excluded);
  CHECK(decide(rules, {"sha256:" + digest, "", {}}).excluded);
  CHECK(decide(rules, document({{"source", "deb:bad-package"}})).rule[0] == 3);
  CHECK(decide(rules, {"z", std::string(64, 'b'), {}}).weights == all_one);
  // As the corpus calls the document, and as the log calls it.
  CHECK(decide(rules, {std::string(64, 'd'), "", {{{"id", "y"}}}}).excluded);
  const std::string other(64, 'c');
  CHECK(decide(rules, {other, other, {{{"id", "w"}}, {{"id", "y"}}}}).excluded);
  CHECK(decide(rules, {other, other, {{{"id", "w"}}}}).weights == all_one);
  const std::string logged =
      "rules: [{name: all, when: always, profile: full}]\nexclusions: [{id: \"sha256:" + other + "\"}]\n";
  CHECK(decide(logged, {other, other, {}}).excluded);
  CHECK(decide(logged, {digest, digest, {}}).weights == all_one);
}

// ---- properties of any policy --------------------------------------------------------------------------------------

namespace {

struct Random {
  Rng rng;
  uint64_t n = 0;
  explicit Random(uint64_t seed) : rng(seed, Stream::test) {}
  size_t pick(size_t size) { return rng.bits(n++) % size; }
  std::string of(const std::vector<std::string>& words) { return words[pick(words.size())]; }

  std::string condition() {
    switch (pick(6)) {
      case 0:
        return "{license: " + of({"MIT", "GPL-*", "[MIT, Zlib]", "\"*\""}) + "}";
      case 1:
        return "{language: " + of({"en", "de"}) + ", class: " + of({"x", "y", "\"?\""}) + "}";
      case 2:
        return "{not: " + condition() + "}";
      case 3:
        return "{any: [" + condition() + ", " + condition() + "]}";
      case 4:
        return "always";
      default:
        return "{class: " + of({"x", "y"}) + "}";
    }
  }
  std::string when() {
    std::string out = condition();
    while (out.find("always") != std::string::npos && out != "always") out = condition();  // only alone
    return out;
  }
  std::string rule(size_t number) {
    std::string out = "{name: r" + std::to_string(number) + ", when: " + when() +
                      ", profile: " + of({"full", "half", "shallow", "deep", "minus", "none"});
    if (pick(4) == 0) out += ", from: " + of({"2026-01-01", "2026-07-01"});
    if (pick(4) == 0) out += ", until: " + of({"2026-08-01", "2027-01-01"});
    return out + "}";
  }
  DocumentFacts facts() {
    DocumentFacts out{of({"d1", "d2"}), "", {}};
    for (size_t i = 0; i <= pick(3); ++i) {
      Meta meta;
      if (pick(4) > 0)
        meta["license"] =
            of({"MIT", "GPL-2.0-only", "Zlib", "MIT AND Zlib", "MIT OR Odd", "GPL-2.0-only AND (MIT OR Odd)"});
      if (pick(3) > 0) meta["language"] = of({"en", "de"});
      if (pick(3) > 0) meta["class"] = of({"x", "y"});
      if (pick(4) == 0) meta["privacy"] = of({"personal", "secret"});
      out.provenances.push_back(meta);
    }
    return out;
  }
};

std::string policy_text(const std::vector<std::string>& rules, const std::string& rest) {
  return head + "rules: [" + join(rules) + "]\n" + rest;
}

}  // namespace

TEST_CASE("for any rules: more rules never raise a weight, their order changes none, and excluded is excluded") {
  constexpr uint64_t seed = 99;
  INFO("seed " << seed);
  Random random(seed);
  int admitted = 0, changed = 0;
  for (int round = 0; round < 300; ++round) {
    const int layers = 1 + static_cast<int>(random.pick(6));
    std::vector<std::string> rules{
        "{name: base, when: always, profile: " + random.of({"full", "deep", "half", "minus"}) + "}"};
    for (size_t i = 0; i < 1 + random.pick(5); ++i) rules.push_back(random.rule(i));
    const std::string privacy = random.pick(2) == 0 ? "privacy: {classes: {personal: shallow}}\n" : "";
    const BoundPolicy before = bind_policy(policy_text(rules, privacy), layers);
    std::vector<std::string> more = rules, shuffled = rules;
    more.insert(more.begin() + static_cast<std::ptrdiff_t>(random.pick(rules.size() + 1)), random.rule(100));
    for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.pick(i)]);
    const BoundPolicy after = bind_policy(policy_text(more, privacy), layers);
    const BoundPolicy reordered = bind_policy(policy_text(shuffled, privacy), layers);
    const BoundPolicy closed = bind_policy(policy_text(rules, privacy + "exclusions: [{id: [d1]}]\n"), layers);
    for (int k = 0; k < 10; ++k) {
      const DocumentFacts facts = random.facts();
      const Date today = day(random.of({"2025-12-31", "2026-01-01", "2026-07-31", "2026-08-01", "2027-01-01"}));
      const Decision a = before.resolve(facts, today), b = after.resolve(facts, today);
      INFO(before.policy().canonical() << "\n" << after.policy().canonical());
      for (size_t i = 0; i < a.weights.size(); ++i) {
        REQUIRE(std::isfinite(a.weights[i]));
        REQUIRE(std::abs(b.weights[i]) <= std::abs(a.weights[i]));
        REQUIRE(!(b.weights[i] * a.weights[i] < 0));
      }
      REQUIRE(reordered.resolve(facts, today).weights == a.weights);
      const Decision c = closed.resolve(facts, today);
      REQUIRE(c.excluded == (facts.id == "d1" || a.excluded));
      if (facts.id == "d1") REQUIRE(c.rule[0] == closed.policy().exclusion_index(0));
      REQUIRE(a.excluded == (a.weights == Weights(a.weights.size(), 0.0F)));
      // The deciding entry had a say, and a lone one decides alone.
      for (const int32_t rule : a.rule) {
        REQUIRE(std::any_of(a.matched.begin(), a.matched.end(), [&](const Match& m) { return m.rule == rule; }));
      }
      admitted += a.excluded ? 0 : 1;
      changed += a.weights == b.weights ? 0 : 1;
    }
  }
  CHECK(admitted > 500);
  CHECK(changed > 200);
}

TEST_CASE("a decision over several provenances is never above the decision over one of them") {
  constexpr uint64_t seed = 5;
  INFO("seed " << seed);
  Random random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> rules;
    for (size_t i = 0; i < 1 + random.pick(6); ++i) rules.push_back(random.rule(i));
    const BoundPolicy p = bind_policy(policy_text(rules, ""), 3);
    for (int k = 0; k < 10; ++k) {
      const DocumentFacts facts = random.facts();
      const Decision whole = p.resolve(facts, day("2026-06-01"));
      for (const Meta& meta : facts.provenances) {
        const Decision one = p.resolve({facts.id, "", {meta}}, day("2026-06-01"));
        for (size_t b = 0; b < one.weights.size(); ++b) REQUIRE(std::abs(whole.weights[b]) <= std::abs(one.weights[b]));
      }
    }
  }
}
