// Rows: policies and the files that they name.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

std::function<void(const Damage&)> edit(const std::string& from, const std::string& to) {
  return [=](const Damage& d) { d.edit("policy.yaml", from, to); };
}

std::function<void(const Damage&)> append(const std::string& text) {
  return [=](const Damage& d) { d.append("policy.yaml", text); };
}

std::function<void(const Damage&)> exclude(const std::string& line) {
  return [=](const Damage& d) {
    d.append("policy.yaml", "exclusions:\n  - file: blocklist.txt\n");
    d.write("blocklist.txt", "# blocked\n" + line);
  };
}

const std::string confined = "privacy: {classes: {personal: shallow}}\n";
const std::string run = "govtrain run config.yaml run.out=new";
const std::string check = "govtrain policy check policy.yaml --layers 2";

}  // namespace

BadInputs bad_policies() {
  return {
      "Policies",
      "A policy with an error admits nothing: nothing is begun.",
      {
          {"policy-empty", "an empty file", [](const Damage& d) { d.write("policy.yaml", ""); }, run, 2,
           "policy.yaml:1:1: error: the file is empty"},
          {"policy-default", "no default", edit("default: none\n", ""), run, 2,
           "policy.yaml:1:1: error: the policy needs the key 'default'"},
          {"policy-version", "a version that is a list", edit("version: 1", "version: [1]"), run, 2,
           "policy.yaml:2:10: error: 'version' of the policy must be a text, found a list"},
          {"policy-unknown-section", "an unknown section", edit("rules:", "rulez:"), run, 2,
           "policy.yaml:10:1: error: unknown key 'rulez' in the policy"},
          {"policy-profile", "a rule with an unknown profile", edit("profile: shallow", "profile: shalow"), run, 2,
           "policy.yaml:16:14: error: rule 2 'copyleft': the profile 'shalow' is not defined"},
          {"policy-default-profile", "an unknown profile as default", edit("default: none", "default: all"), run, 2,
           "policy.yaml:3:10: error: 'default': the profile 'all' is not defined"},
          {"policy-none", "the built-in profile `none` redefined", edit("full: {all: 1}", "none: {all: 1}"), run, 2,
           "policy.yaml:5:3: error: the profile 'none' is built in: weight 0 for every block"},
          {"policy-overlap", "two selectors that name the same block", edit("rest: 0", "layer.0: 0\n    rest: 0"), run,
           2,
           "policy.yaml:9:5: error: profile 'shallow': block layer.0 already has a weight from 'first 1 layers' "
           "(policy.yaml:8:5)"},
          {"policy-gap", "a block without a weight", edit("    rest: 0\n", ""), run, 2,
           "policy.yaml:7:5: error: profile 'shallow': no weight for layer.1, head"},
          {"policy-block", "a block that the model does not have", edit("first 1 layers", "layer.7"), run, 2,
           "policy.yaml:8:5: error: profile 'shallow': the model has no block 'layer.7'"},
          {"policy-count", "more layers than the model has", edit("first 1 layers", "first 3 layers"), check, 2,
           "policy.yaml:8:5: error: profile 'shallow': the model has only 2 layers"},
          {"policy-percent", "more than all layers", edit("first 1 layers", "first 150% of layers"), run, 2,
           "policy.yaml:8:5: error: profile 'shallow': expected a number from 1, or a percentage above 0 and at most "
           "100, found '150%'"},
          {"policy-selector", "a selector that is none", edit("first 1 layers", "the first layer"), run, 2,
           "policy.yaml:8:5: error: profile 'shallow': 'the first layer' is not a block selector"},
          {"policy-weight", "a weight that is a word", edit("rest: 0", "rest: little"), run, 2,
           "policy.yaml:9:11: error: profile 'shallow': expected a number, found 'little'"},
          {"policy-nan", "a weight that is NaN", edit("{all: 1}", "{all: .nan}"), run, 2,
           "policy.yaml:5:15: error: profile 'full': expected a finite number, found '.nan'"},
          {"policy-inf", "a weight beyond the range of floats", edit("{all: 1}", "{all: 1e39}"), run, 2,
           "policy.yaml:5:15: error: profile 'full': '1e39' is outside the range of a 32-bit float"},
          {"policy-negative", "a negative weight without a bound", edit("{all: 1}", "{all: -1}"), run, 2,
           "policy.yaml:5:15: error: profile 'full': the weight must be >= 0, found -1"},
          {"policy-beyond-bound", "a negative weight beyond its bound",
           edit("{all: 1}", "{all: -1, allow_negative: {bound: 0.5}}"), run, 2,
           "policy.yaml:5:15: error: profile 'full': the weight must be >= -0.5, found -1"},
          {"policy-rule-twice", "two rules of one name", edit("name: copyleft", "name: permissive"), run, 2,
           "policy.yaml:14:11: error: rule 2 'permissive': the name is taken by the rule at policy.yaml:11:5"},
          {"policy-no-when", "a rule without a condition", edit("    when: {license: GPL-*}\n", ""), run, 2,
           "policy.yaml:14:5: error: rule 2 'copyleft' needs the key 'when'"},
          {"policy-empty-when", "an empty condition", edit("{license: GPL-*}", "{}"), run, 2,
           "policy.yaml:15:11: error: rule 2 'copyleft': a condition must be a map such as {license: MIT}, found an "
           "empty map"},
          {"policy-expression", "a licence expression as a pattern", edit("GPL-*", "GPL-2 OR MIT"), run, 2,
           "policy.yaml:15:21: error: rule 2 'copyleft': 'GPL-2 OR MIT' is an expression; a licence pattern is one id"},
          {"policy-date", "a window that begins on no day", append("    from: 2026-13-01\n"), run, 2,
           "policy.yaml:17:11: error: rule 2 'copyleft': 'from' must be a date, found '2026-13-01'"},
          {"policy-window", "a window that ends before it begins",
           append("    from: 2027-01-01\n    until: 2026-01-01\n"), run, 2,
           "policy.yaml:18:12: error: rule 2 'copyleft': the window from 2027-01-01 until 2026-01-01 is empty"},
          {"policy-window-empty", "a window of no days", append("    from: 2027-01-01\n    until: 2027-01-01\n"), run,
           2, "policy.yaml:18:12: error: rule 2 'copyleft': the window from 2027-01-01 until 2027-01-01 is empty"},
          {"policy-privacy", "a privacy class with an unknown profile",
           append("privacy: {classes: {personal: secret}}\n"), run, 2,
           "policy.yaml:17:31: error: privacy class 'personal': the profile 'secret' is not defined"},
          {"policy-privacy-adapts", "a privacy class whose profile adapts from a broader one",
           append(confined + "adaptation: {profiles: {shallow: full}}\n"), check, 2,
           "policy.yaml:18:25: error: adaptation widens the profile 'shallow', to which 'privacy' confines 'personal': "
           "layer.1 from 0 to 1"},
          {"policy-privacy-schedule", "a privacy class whose profile a schedule widens",
           append(confined + "schedule:\n  - {name: open, profile: shallow, to: full, when: {step: 2}}\n"), run, 2,
           "policy.yaml:19:5: error: schedule 'open' widens the profile 'shallow', to which 'privacy' confines "
           "'personal': layer.1 from 0 to 1"},
          {"policy-privacy-validate", "the same, asked of `validate`",
           append(confined + "schedule:\n  - {name: open, profile: shallow, to: full, when: {step: 2}}\n"),
           "govtrain validate config.yaml run.out=new", 2,
           "policy.yaml:19:5: error: schedule 'open' widens the profile 'shallow', to which 'privacy' confines "
           "'personal': layer.1 from 0 to 1"},
          {"policy-adaptation-bounds", "an adaptation whose broad end is the narrower one",
           append("adaptation: {profiles: {full: shallow}}\n"), run, 2,
           "policy.yaml:17:25: error: adaptation of 'full' from 'shallow': the broad end gives layer.1 the weight 0, "
           "the narrow end 1"},
          {"policy-adaptation-mode", "a mode that adaptation does not have",
           append("adaptation: {mode: fast, profiles: {shallow: full}}\n"), run, 2,
           "policy.yaml:17:20: error: 'mode' of 'adaptation': expected off or frozen or on, found 'fast'"},
          {"policy-controller-floor", "a controller without a floor",
           append("controller: {protect: own, profiles: {shallow: {ceiling: full}}}\n"), run, 2,
           "policy.yaml:17:48: error: 'controller' of 'shallow' needs the key 'floor'"},
          {"policy-exclusion-missing", "an exclusion file that is not there",
           append("exclusions:\n  - file: blocklist.txt\n"), run, 2,
           "policy.yaml:18:11: error: cannot read blocklist.txt: No such file or directory"},
          {"policy-exclusion-folder", "a folder as exclusion file", append("exclusions:\n  - file: cache\n"), run, 2,
           "policy.yaml:18:11: error: cannot read cache: it is a folder"},
          {"policy-exclusion-digest", "a digest of 10 digits in an exclusion file", exclude("sha256:0123456789\n"), run,
           2, "blocklist.txt:2:1: error: 'sha256:0123456789' is not a SHA-256 digest"},
          {"policy-exclusion-utf8", "bytes that are not UTF-8 in an exclusion file", exclude("d1\xff\n"), run, 2,
           "blocklist.txt:2:1: error: the line is not text"},
          {"policy-weights-file", "weights in place of a policy",
           [](const Damage& d) { d.copy("run/ckpt/step-000003/model.safetensors", "policy.yaml"); }, run, 2,
           "policy.yaml:1:1: error: the byte 0xe8 is not valid UTF-8"},
      }};
}

}  // namespace govtrain_test
