// Every message of the policy reader, with its position; and policies at random, which may be refused but nothing
// worse.
#include <catch2/catch.hpp>

#include "core/rng.h"
#include "routing/policy.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

const std::string good =
    "policy: demo\nversion: 1\ndefault: none\nprofiles:\n  full: {all: 1}\n  shallow: {embedding: 1, rest: 0}\n"
    "rules:\n- name: a\n  when: {license: MIT}\n  profile: full\n";

std::string messages(const std::string& text, int layers = 2) {
  Diagnostics d;
  const auto policy = Policy::parse("p.yaml", text, d);
  CHECK(policy.has_value() == !d.has_errors());
  if (policy) BoundPolicy::bind(*policy, blocks(layers), d);
  return d.render();
}

struct Row {
  const char *from, *to;  // the change to the good policy; `from` empty: `to` is appended
  const char *message, *hint;
};

}  // namespace

TEST_CASE("every mistake in a policy gets its message at its place") {
  REQUIRE(messages(good).empty());
  const std::vector<Row> rows{
      {"policy: demo\n", "", "p.yaml:1:1: error: the policy needs the key 'policy'", "policy: <name>"},
      {"version: 1\n", "", "p.yaml:1:1: error: the policy needs the key 'version'", "version: 1"},
      {"default: none\n", "", "p.yaml:1:1: error: the policy needs the key 'default'", "no rule matches"},
      {"demo", "a b", "p.yaml:1:9: error: 'a b' is not a name", "letters, digits"},
      {"demo", "[x]", "p.yaml:1:9: error: 'policy' of the policy must be a text, found a list", ""},
      {"version: 1", "version: ''", "p.yaml:2:10: error: 'version' of the policy must be a text, found an empty one",
       ""},
      {"default: none", "default: fulll", "p.yaml:3:10: error: 'default': the profile 'fulll' is not defined",
       "did you mean 'full'?"},
      {"default: none", "default: xyz", "p.yaml:3:10: error: 'default': the profile 'xyz' is not defined",
       "profiles: none, full, shallow"},
      {"default: none", "default: {a: b}", "p.yaml:3:10: error: 'default' must name a profile, found a map", ""},
      {"", "depth_orgin: input\n", "p.yaml:11:1: error: unknown key 'depth_orgin' in the policy",
       "did you mean 'depth_origin'?"},
      {"", "depth_origin: imput\n", "p.yaml:11:15: error: 'depth_origin' must be input or output, found 'imput'",
       "did you mean 'input'?"},
      {"", "default: full\n", "p.yaml:11:1: error: duplicate key 'default', first at p.yaml:3:1", ""},
      {"{all: 1}", "{all: -1}", "p.yaml:5:15: error: profile 'full': the weight must be >= 0, found -1",
       "allow_negative: {bound: x}"},
      {"{all: 1}", "{allow_negative: {bound: 0.5}, all: -1}",
       "p.yaml:5:45: error: profile 'full': the weight must be >= -0.5, found -1", "raise the bound"},
      {"{all: 1}", "{allow_negative: yes, all: 1}",
       "p.yaml:5:26: error: 'allow_negative' of profile 'full' must be a map", ""},
      {"{all: 1}", "{allow_negative: {bound: -1}, all: 1}", "p.yaml:5:34: error: bound: must be > 0, found -1", ""},
      {"{all: 1}", "{all: .nan}", "p.yaml:5:15: error: profile 'full': expected a finite number, found '.nan'", ""},
      {"{all: 1}", "{all: 1e39}", "p.yaml:5:15: error: profile 'full': '1e39' is outside the range of a 32-bit float",
       ""},
      {"{all: 1}", "{all: 1e-60}", "p.yaml:5:15: error: profile 'full': '1e-60' is outside the range of a 32-bit float",
       ""},
      {"{all: 1}", "{all: much}", "p.yaml:5:15: error: profile 'full': expected a number, found 'much'", ""},
      {"{all: 1}", "{all: [1]}", "p.yaml:5:15: error: profile 'full': expected a number, found a list", ""},
      {"{all: 1}", "1", "p.yaml:5:9: error: profile 'full' must map block selectors to weights, found '1'",
       "{embedding: 1, rest: 0}"},
      {"{all: 1}", "{}", "p.yaml:5:9: error: profile 'full' must map block selectors to weights, found an empty map",
       ""},
      {"{all: 1}", "{first half: 1}", "p.yaml:5:10: error: profile 'full': expected 'first 2 layers'",
       "a block name (layer.2)"},
      {"{all: 1}", "{first: 1}", "p.yaml:5:10: error: profile 'full': expected 'first 2 layers' or", ""},
      {"{all: 1}", "{first 0 layers: 1}",
       "p.yaml:5:10: error: profile 'full': expected a number from 1, or a percentage above 0", ""},
      {"{all: 1}", "{last 101% of layers: 1}",
       "p.yaml:5:10: error: profile 'full': expected a number from 1, or a percentage above 0", ""},
      {"{all: 1}", "{layer.3-1: 1}", "p.yaml:5:10: error: profile 'full': 'layer.3-1' is not a range such as layer.0-3",
       ""},
      {"{all: 1}", "{the head: 1}", "p.yaml:5:10: error: profile 'full': 'the head' is not a block selector", ""},
      {"{all: 1}", "{layer.7: 1, rest: 0}", "p.yaml:5:10: error: profile 'full': the model has no block 'layer.7'",
       "did you mean 'layer.0'?"},
      {"{all: 1}", "{layer.0-2: 1, rest: 0}", "p.yaml:5:10: error: profile 'full': the model has no block 'layer.2'",
       ""},
      {"{all: 1}", "{mlp.*: 1, rest: 0}", "p.yaml:5:10: error: profile 'full': the model has no block 'mlp.*'",
       "blocks: embedding, layer.0, layer.1, head"},
      {"{all: 1}", "{first 3 layers: 1, rest: 0}", "p.yaml:5:10: error: profile 'full': the model has only 2 layers",
       ""},
      {"{all: 1}", "{layer.*: 1, layer.1: 0, rest: 0}",
       "p.yaml:5:22: error: profile 'full': block layer.1 already has a weight from 'layer.*' (p.yaml:5:10)",
       "exactly one weight"},
      {"{all: 1}", "{layer.*: 1}", "p.yaml:5:9: error: profile 'full': no weight for embedding, head", "add 'rest: 0'"},
      {"  full: {all: 1}", "  none: {all: 1}", "p.yaml:5:3: error: the profile 'none' is built in", "rename it"},
      {"  full: {all: 1}", "  a/b: {all: 1}", "p.yaml:5:3: error: 'a/b' is not a name for a profile", ""},
      {"when: {license: MIT}", "whn: {license: MIT}", "p.yaml:9:3: error: unknown key 'whn' in rule 1 'a'",
       "did you mean 'when'?"},
      {"  when: {license: MIT}\n", "", "p.yaml:8:3: error: rule 1 'a' needs the key 'when'",
       "'when: always' matches every document"},
      {"  profile: full\n", "", "p.yaml:8:3: error: rule 1 'a' needs the key 'profile'", ""},
      {"- name: a\n", "- x: a\n", "p.yaml:8:3: error: rule 1 needs the key 'name'", ""},
      {"profile: full", "profile: ful", "p.yaml:10:12: error: rule 1 'a': the profile 'ful' is not defined",
       "did you mean 'full'?"},
      {"{license: MIT}", "{}",
       "p.yaml:9:9: error: rule 1 'a': a condition must be a map such as {license: MIT}, found an empty map",
       "'when: always'"},
      {"{license: MIT}", "MIT",
       "p.yaml:9:9: error: rule 1 'a': a condition must be a map such as {license: MIT}, found 'MIT'", ""},
      {"{license: MIT}", "{license: []}",
       "p.yaml:9:19: error: rule 1 'a': the list of 'license' is empty and matches nothing", ""},
      {"{license: MIT}", "{license: }", "error: rule 1 'a': 'license' must be a text or a list of texts, found nothing",
       "write not: {license: \"*\"}"},
      {"{license: MIT}", "{license: [MIT, {a: b}]}",
       "p.yaml:9:25: error: rule 1 'a': 'license' must be a text or a list of texts, found a map", ""},
      {"{license: MIT}", "{license: MIT OR ISC}",
       "p.yaml:9:19: error: rule 1 'a': 'MIT OR ISC' is an expression; a licence pattern is one id",
       "write a list of ids"},
      {"{license: MIT}", "{any: {license: MIT}}",
       "p.yaml:9:15: error: rule 1 'a': 'any' needs a list of conditions, found a map", "any: [{license: MIT}"},
      {"{license: MIT}", "{all: []}",
       "p.yaml:9:15: error: rule 1 'a': 'all' needs a list of conditions, found an empty list", ""},
      {"{license: MIT}", "{not: [x]}", "p.yaml:9:15: error: rule 1 'a': a condition must be a map", ""},
      {"{license: MIT}", "{licence: MIT}", "p.yaml:9:10: warning: rule 1 'a': 'licence' is not a usual metadata key",
       "did you mean 'license'?"},
      {"{license: MIT}", "{language: no}", "p.yaml:9:20: warning: rule 1 'a': 'no' is taken as text",
       "write it in quotes"},
      {"  profile: full\n", "  profile: full\n  from: 2026-02-30\n",
       "p.yaml:11:9: error: rule 1 'a': 'from' must be a date, found '2026-02-30'", "YYYY-MM-DD"},
      {"  profile: full\n", "  profile: full\n  until: tomorrow\n",
       "p.yaml:11:10: error: rule 1 'a': 'until' must be a date, found 'tomorrow'", ""},
      {"  profile: full\n", "  profile: full\n  from: 2026-02-01\n  until: 2026-02-01\n",
       "p.yaml:12:10: error: rule 1 'a': the window from 2026-02-01 until 2026-02-01 is empty", "first day after"},
      {"", "- {name: a, when: always, profile: full}\n",
       "p.yaml:11:10: error: rule 2 'a': the name is taken by the rule at p.yaml:8:3", "rename one"},
      {"", "- just text\n", "p.yaml:11:3: error: rule 2 must be a map", ""},
      {"rules:\n- name: a\n  when: {license: MIT}\n  profile: full\n", "rules: {a: b}\n",
       "p.yaml:7:8: error: 'rules' must be a list", ""},
      {"", "privacy: {}\n", "p.yaml:11:10: error: 'privacy' needs the key 'classes'", "classes: {personal: shallow}"},
      {"", "privacy: {classes: []}\n",
       "p.yaml:11:20: error: 'classes' of 'privacy' must map classes to profiles, found a list", ""},
      {"", "privacy: {classes: {personal: shalow}}\n",
       "p.yaml:11:31: error: privacy class 'personal': the profile 'shalow' is not defined", "did you mean 'shallow'?"},
      {"", "exclusions: {file: x}\n", "p.yaml:11:13: error: 'exclusions' must be a list, found a map", ""},
      {"", "exclusions: [{file: nowhere.txt}]\n",
       "p.yaml:11:21: error: cannot read nowhere.txt: No such file or directory", ""},
      {"", "exclusions: [{name: x}]\n", "p.yaml:11:14: error: exclusion 1 excludes nothing",
       "give it a file, id, digest or source"},
      {"", "exclusions: [{digest: abc}]\n", "p.yaml:11:23: error: exclusion 1: 'abc' is not a SHA-256 digest",
       "64 lower-case hex digits"},
      {"", "exclusions: [{id: [a, [b]]}]\n", "p.yaml:11:23: error: exclusion 1: expected a text, found a list", ""},
      {"", "exclusions: [{ids: a}]\n", "p.yaml:11:15: error: unknown key 'ids' in exclusion 1", "did you mean 'id'?"},
      {"", "<<: {a: b}\n", "p.yaml:11:1: error: merge keys", ""},
      {"{all: 1}", "{all: 1", "error: not valid YAML", ""},
      {"  full", "\tfull", "p.yaml:5:1: error: a tab in the indentation", "use spaces"},
  };
  for (const Row& row : rows) {
    std::string text = good;
    if (*row.from == '\0') {
      text += row.to;
    } else {
      REQUIRE(text.find(row.from) != std::string::npos);
      text.replace(text.find(row.from), std::string(row.from).size(), row.to);
    }
    const std::string got = messages(text);
    INFO("policy:\n" << text << "\nmessages:\n" << got);
    CHECK(got.find(row.message) != std::string::npos);
    CHECK(got.find(row.hint) != std::string::npos);
  }
}

TEST_CASE("all mistakes of a policy come at once, and one mistake gives one message") {
  Diagnostics d;
  CHECK(!Policy::parse("p.yaml",
                       "policy: x\nprofiles: {bad: {all: x}}\nrules: [{name: r, when: {license: []}, profile: bad, "
                       "until: x}]\ndefault: bad\n",
                       d));
  INFO(d.render());
  CHECK(d.errors() == 4);  // version, weight, list, date; not the two uses of the broken profile
}

TEST_CASE("random changes to a good policy give a policy or an error, never a crash") {
  const std::string text =
      good +
      "- name: b\n  when:\n    any: [{source: \"deb:*\"}, {not: {class: [x, z]}}]\n  profile: shallow\n"
      "  from: 2026-01-01\n  until: 2027-01-01\nprivacy: {classes: {personal: none}}\n"
      "exclusions: [{id: [a, b]}, {source: \"x*\"}]\n"
      "adaptation: {mode: frozen, begin: 0.1, full: 0.5, wait: 2, profiles: {shallow: full}}\n"
      "controller: {by: review, protect: [own], window: 5, profiles: {full: {floor: shallow}}}\n";
  REQUIRE(messages(text) == "");
  const std::string alphabet = "{}[]:,-?!&*#|>'\"%@`~<\n\t .0123456789aeinf\\\xc3\xff";
  const Rng rng(77, Stream::test);
  INFO("seed 77");
  uint64_t n = 0;
  const auto pick = [&](size_t size) { return static_cast<size_t>(rng.bits(n++)) % size; };
  int refused = 0, accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string changed = text;
    for (size_t change = 0; change <= pick(4); ++change) {
      const size_t at = pick(changed.size());
      switch (pick(4)) {
        case 0:
          changed.erase(at, 1 + pick(5));
          break;
        case 1:
          changed.insert(at, 1, alphabet[pick(alphabet.size())]);
          break;
        case 2:
          changed[at] = alphabet[pick(alphabet.size())];
          break;
        default:
          changed.insert(at, changed.substr(pick(changed.size()), pick(40)));
          break;
      }
    }
    Diagnostics d;
    const auto policy = Policy::parse("p.yaml", changed, d);
    INFO(changed << "\n" << d.render());
    REQUIRE(policy.has_value() == !d.has_errors());
    (policy ? accepted : refused) += 1;
    if (!policy) continue;
    REQUIRE(parse_policy(policy->canonical()).id() == policy->id());
    const auto bound = BoundPolicy::bind(*policy, blocks(3), d);
    if (bound) REQUIRE(bound->resolve(licensed("MIT OR ("), day("2026-06-01")).weights.size() == 5);
  }
  CHECK(refused > 500);
  CHECK(accepted > 100);
}
