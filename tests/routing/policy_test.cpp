// The policy as a document: identity, canonical text, rule table, files; what the check finds; what explain says; and
// the policy that comes with the project.
#include "routing/policy.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "routing/check.h"
#include "routing/explain.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

const std::string text =
    "policy: demo\nversion: 3\ndepth_origin: output\ndefault: none\nprofiles:\n  full: {all: 1}\n"
    "  odd: {first 12.5% of blocks: 0.1, rest: 1e-7}\n  minus: {allow_negative: {bound: 2}, all: -1.5}\n"
    "rules:\n- name: a\n  when: {license: [MIT, \"B*\"], any: [{language: \"n\\\"o\"}, {not: {class: é}}]}\n  profile: "
    "full\n"
    "  from: 2026-01-01\n  until: 2027-01-01\n- {name: b, when: always, profile: odd}\n- {name: c, when: {x: '1'}, "
    "profile: minus}\n"
    "privacy: {classes: {personal: odd}, unlisted: full}\nexclusions: [{name: n, id: [z, y, y]}, {source: \"s*\"}]\n";

std::string check(const std::string& policy, const CorpusSummary* corpus = nullptr, const char* today = "2026-06-01") {
  Diagnostics d;
  check_policy(bind_policy(policy), day(today), corpus, d);
  CHECK(!d.has_errors());
  return d.render();
}

const std::string base = "policy: p\nversion: 1\ndefault: none\nprofiles: {full: {all: 1}, half: {all: 0.5}}\n";

}  // namespace

TEST_CASE("the canonical text is JSON, reads back to the same policy, and ignores layout") {
  const Policy p = parse_policy(text);
  CHECK(nlohmann::json::accept(p.canonical()));
  const Policy again = parse_policy(p.canonical());
  CHECK(again.canonical() == p.canonical());
  CHECK(again.id() == p.id());
  CHECK(p.id().rfind("demo@", 0) == 0);
  CHECK(p.id().size() == 13);
  CHECK(parse_policy("# comment\n" + text + "\n").id() == p.id());
  std::string other = text;
  other.replace(other.find("0.1,"), 4, "0.2,");
  CHECK(parse_policy(other).id() != p.id());
  const std::vector<TableEntry> table = p.table();
  REQUIRE(table.size() == 8);
  CHECK(table[0].name == "default");
  CHECK(table[static_cast<size_t>(p.rule_index(2))].name == "rule c");
  CHECK(table[static_cast<size_t>(p.privacy_index(0))].name == "privacy personal");
  CHECK(table[static_cast<size_t>(p.privacy_index(1))].name == "privacy unlisted");
  CHECK(table[static_cast<size_t>(p.exclusion_index(1))].name == "exclusion 2");
  for (const TableEntry& e : table) CHECK(nlohmann::json::accept(e.text));
}

TEST_CASE("exclusion files belong to the policy's identity and are found beside it") {
  const auto dir = std::filesystem::temp_directory_path() / ("govtrain_policy_" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  const std::string path = (dir / "p.yaml").string();
  const auto write = [&](const std::string& name, const std::string& body) { std::ofstream(dir / name) << body; };
  write("p.yaml", base + "rules: [{name: r, when: always, profile: full}]\nexclusions: [{file: list.txt}]\n");
  write("list.txt", "# why: asked to\r\n doc 1 \r\n\nsha256:" + std::string(64, 'c') + "\nsource:deb:x@*\n");
  const Policy p = Policy::load(path);
  REQUIRE(p.exclusions.size() == 1);
  CHECK(p.exclusions[0].name == "list.txt");
  CHECK(p.exclusions[0].ids == std::vector<std::string>{"doc 1"});
  CHECK(p.exclusions[0].digests == std::vector<std::string>{std::string(64, 'c')});
  CHECK(p.exclusions[0].sources == std::vector<std::string>{"deb:x@*"});
  CHECK(parse_policy(p.canonical()).id() == p.id());
  write("list.txt", "doc 2\n");
  CHECK(Policy::load(path).id() != p.id());
  write("list.txt", "");
  const Policy empty = Policy::load(path);
  CHECK(parse_policy(empty.canonical()).id() == empty.id());
  std::filesystem::remove_all(dir);
}

TEST_CASE("an exclusion list of any length is read back from the canonical text") {
  for (const size_t count : {size_t{100}, size_t{101}, size_t{30000}}) {
    CAPTURE(count);
    std::string list;
    for (size_t i = 0; i < count; ++i) {
      list += i % 3 == 0 ? "    source:s" : i % 3 == 1 ? "    sha256:" + std::string(58, 'a') : "    id \u00e9\" ";
      list += std::to_string(100000 + i) + "\n";
    }
    const Policy p = parse_policy(base + "exclusions:\n- name: long\n  list: |\n    # a comment\n" + list);
    const Exclusion& e = p.exclusions.at(0);
    CHECK(e.ids.size() + e.digests.size() + e.sources.size() == count);
    const Policy again = parse_policy(p.canonical());
    CHECK(again.exclusions.at(0).ids == e.ids);
    CHECK(again.exclusions.at(0).digests == e.digests);
    CHECK(again.exclusions.at(0).sources == e.sources);
    CHECK(again.id() == p.id());
  }
}

TEST_CASE("the check finds rules that cannot matter") {
  CHECK(check(base +
              "rules: [{name: a, when: {license: MIT}, profile: full}, {name: b, when: {license: X}, profile: half}]")
            .empty());
  CHECK(check(base + "rules:\n- {name: a, when: {license: MIT}, profile: full}\n- {name: b, when: {license: MIT}, "
                     "profile: full}\n")
            .find("p.yaml:7:3: warning: rule 'b' says the same as rule 'a' at p.yaml:6:3") != std::string::npos);
  CHECK(
      check(base +
            "rules:\n- {name: a, when: {license: MIT, language: en}, profile: full}\n- {name: b, when: {license: M*}, "
            "profile: half}\n")
          .find("p.yaml:6:3: warning: rule 'a' can never decide: rule 'b' at p.yaml:7:3 matches whenever it does") !=
      std::string::npos);
  CHECK(
      check(
          base +
          "rules:\n- {name: a, when: {license: MIT}, profile: half}\n- {name: b, when: {license: M*}, profile: full}\n")
          .empty());
  // The wider rule does not cover the narrower one's every value.
  CHECK(check(base + "rules:\n- {name: a, when: {license: [MIT, X]}, profile: full}\n- {name: b, when: {license: M*}, "
                     "profile: half}\n")
            .empty());
  // Outside its window the rule gives zero, so it can decide.
  CHECK(check(base + "rules:\n- {name: a, when: {license: MIT}, profile: full, until: 2030-01-01}\n- {name: b, when: "
                     "always, profile: half}\n")
            .empty());
}

TEST_CASE("the check finds unused profiles, closed windows and patterns that meet nothing") {
  CHECK(check(base + "rules: [{name: a, when: always, profile: full}]")
            .find("p.yaml:4:34: warning: nothing uses the profile 'half'") != std::string::npos);
  const std::string window = base +
                             "rules: [{name: a, when: {license: A}, profile: full, from: 2026-01-01, until: "
                             "2026-02-01}, {name: b, when: {license: B}, profile: half}]";
  CHECK(check(window).find("rule 'a' expired on 2026-02-01") != std::string::npos);
  CHECK(check(window, nullptr, "2025-12-31").find("rule 'a' is not valid before 2026-01-01") != std::string::npos);
  CHECK(check(window, nullptr, "2026-01-01").empty());
  const CorpusSummary corpus{{"license", {"MIT OR Zlib"}}, {"source", {"deb:a"}}};
  const std::string rules = base +
                            "rules:\n- {name: a, when: {license: [Zlib, Zlob]}, profile: full}\n"
                            "- {name: b, when: {sourc: \"deb:*\"}, profile: half}\nexclusions: [{source: \"rpm:*\"}]\n";
  const std::string found = check(rules, &corpus);
  CHECK(found.find("p.yaml:6:20: warning: rule 'a': no license in the corpus matches 'Zlob'") != std::string::npos);
  CHECK(found.find("rule 'b': no document in the corpus has the key 'sourc'") != std::string::npos);
  CHECK(found.find("did you mean 'source'?") != std::string::npos);
  CHECK(found.find("exclusion '1': 'rpm:*' matches no source in the corpus") != std::string::npos);
}

TEST_CASE("implication is never claimed where a document tells the two apart") {
  const std::vector<std::string> conditions{"always",
                                            "{license: MIT}",
                                            "{license: M*}",
                                            "{license: [MIT, Zlib]}",
                                            "{license: \"*\"}",
                                            "{not: {license: MIT}}",
                                            "{not: {license: M*}}",
                                            "{license: MIT, language: en}",
                                            "{any: [{license: MIT}, {language: en}]}",
                                            "{all: [{not: {language: en}}, {license: Zlib}]}",
                                            "{license: GPL-2.0}",
                                            "{license: GPL-2.0-only}",
                                            "{license: \"GPL-2.0+\"}"};
  std::vector<Condition> parsed;
  for (const std::string& c : conditions) {
    parsed.push_back(parse_policy(base + "rules: [{name: r, when: " + c + ", profile: full}]").rules[0].when);
  }
  std::vector<DocumentFacts> documents{document({})};
  for (const char* license :
       {"MIT", "Zlib", "MIT-0", "GPL-2.0", "GPL-2.0-only", "GPL-2.0+", "GPL-2.0 WITH X", "MIT WITH X"}) {
    for (const char* language : {"en", "de"})
      documents.push_back(document({{"license", license}, {"language", language}}));
  }
  int claims = 0;
  for (size_t a = 0; a < parsed.size(); ++a) {
    for (size_t b = 0; b < parsed.size(); ++b) {
      if (!implies(parsed[a], parsed[b])) continue;
      ++claims;
      for (const DocumentFacts& facts : documents) {
        for (const MetaView& view : views_of(facts)) {
          INFO(conditions[a] << " => " << conditions[b] << " for " << view.license);
          CHECK((!matches(parsed[a], view) || matches(parsed[b], view)));
        }
      }
    }
  }
  CHECK(claims > 25);
}

TEST_CASE("explain says what each band makes of a document, and whether the document moves the edges") {
  const std::string bands =
      "policy: p\nversion: 1\ndefault: low\nprofiles: {full: {all: 1}, low: {embedding: 1, rest: 0.5}, "
      "deep: {embedding: 0, rest: 1}}\nrules: [{name: a, when: {license: MIT}, profile: full}, "
      "{name: b, when: {license: Odd}, profile: none}]\n"
      "entropy: {edges: [2.5], slope: {by: package, edges: [0]}, profiles: [low, [deep, full]]}\n";
  const BoundPolicy p = bind_policy(bands, 1);
  const std::string out = explain_document(p, licensed("MIT"), day("2026-01-01"));
  INFO(out);
  CHECK(out.find("bands of surprisal: edges 2.5 nats per token\n  slopes by package: edges 0 nats per step\n"
                 "  this document moves edges and slopes\n") != std::string::npos);
  CHECK(out.find("band                    profile  embedding layer.0 head\n"
                 "  entropy band 0 slope 0  low      1         0.5     0.5\n"
                 "  entropy band 0 slope 1  low      1         0.5     0.5\n"
                 "  entropy band 1 slope 0  deep     0         1       1\n"
                 "  entropy band 1 slope 1  full     1         1       1\n") != std::string::npos);
  // A band can only take away, and an excluded document is not measured.
  const std::string low = explain_document(p, licensed("Other"), day("2026-01-01"));
  CHECK(low.find("deep     0         0.5     0.5\n") != std::string::npos);
  CHECK(explain_document(p, licensed("Odd"), day("2026-01-01")).find("bands of surprisal") == std::string::npos);
}

TEST_CASE("explain names every rule, every condition, every block and what the block owns") {
  const BoundPolicy p = bind_policy(text, 2);
  const std::string out = explain_document(p, licensed("MIT AND Odd"), day("2027-01-01"));
  for (const char* part : {"no  license: 'Odd' matches none of 'MIT', 'B*'", "yes license: 'MIT' matches 'MIT'",
                           "yes not", "no  language: the document has none",
                           "[1] rule a -> none: matches, but expired on 2027-01-01", "[2] rule b -> odd: matches",
                           "decision: profile none (excluded: no block learns from it)", "layer.1", "decided by"}) {
    INFO(out);
    CHECK(out.find(part) != std::string::npos);
  }
  const std::string blocks_text = explain_blocks(blocks(2), parameters(2));
  INFO(blocks_text);
  CHECK(blocks_text.find("layer.1 [2]: 52 elements") != std::string::npos);
  CHECK(blocks_text.find("model.layers.1.mlp.up_proj.weight") != std::string::npos);
  CHECK(blocks_text.find("4 blocks, 236 elements") != std::string::npos);
}

TEST_CASE("the Debian policy fits any number of layers and decides as it says") {
  Diagnostics d;
  const auto policy = Policy::read(GOVTRAIN_SOURCE_DIR "/configs/policies/debian.yaml", d);
  INFO(d.render());
  REQUIRE(policy);
  CHECK(d.warnings() == 0);
  for (const int layers : {1, 2, 3, 4, 12, 48}) {
    const BoundPolicy p = BoundPolicy::bind(*policy, blocks(layers));
    Diagnostics findings;
    check_policy(p, day("2026-11-01"), nullptr, findings);
    CHECK(findings.render().empty());
    const auto of = [&](const Meta& meta, const char* today = "2026-11-01") {
      return p.resolve(document(meta), day(today));
    };
    for (const char* open : {"LicenseRef-public-domain", "MIT", "BSD-3-Clause"}) {
      CHECK(of({{"license", open}}).weights == std::vector<float>(static_cast<size_t>(layers) + 2, 1.0F));
    }
    for (const char* shallow :
         {"GPL-2.0-or-later", "GFDL-1.1-no-invariants-or-later", "CC-BY-SA-3.0", "Linux-man-pages-copyleft",
          "GPL-2.0-or-later OR CC-BY-SA-3.0", "BSD-4-Clause AND Linux-man-pages-copyleft"}) {
      const Decision got = of({{"license", shallow}});
      CHECK(got.profile == "shallow");
      for (int b = 0; b < layers + 2; ++b)
        CHECK(got.weights[static_cast<size_t>(b)] == (b == 0 || b <= layers / 2 ? 1.0F : 0.0F));
    }
    CHECK(of({{"license", "LicenseRef-SPI-FAQ"}}).profile == "shallow");
    CHECK(of({{"license", "LicenseRef-SPI-FAQ"}}, "2031-01-01").excluded);
    CHECK(of({{"license", "NOASSERTION"}, {"class", "quotes/uncertain"}}).excluded);
    CHECK(of({{"license", "MIT"}, {"class", "quotes/uncertain"}}).excluded);
    CHECK(of({{"license", "LicenseRef-unheard-of"}}).excluded);
    CHECK(of({}).excluded);
    CHECK(of({{"license", "MIT"}, {"privacy", "personal"}}).profile == "shallow");
  }
}
