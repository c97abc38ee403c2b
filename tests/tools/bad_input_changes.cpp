// Rows: what changes decisions while a run trains: bands of surprisal, schedules, the day, revocations, a reference
// model.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

const std::string run = "govtrain run config.yaml run.out=new";

std::function<void(const Damage&)> append(const std::string& text) {
  return [=](const Damage& d) { d.append("policy.yaml", text); };
}

std::function<void(const Damage&)> bands(const std::string& keys) { return append("entropy:\n  " + keys + "\n"); }

// One entry, `keys` in place of a complete "name: move, profile: shallow, to: full, when: {step: 2}".
std::function<void(const Damage&)> schedule(const std::string& keys) {
  return append("schedule:\n  - {" + keys + "}\n");
}

std::function<void(const Damage&)> when(const std::string& condition) {
  return schedule("name: move, profile: shallow, to: full, when: " + condition);
}

// config.yaml names the list; without a text there is no list.
std::function<void(const Damage&)> revoked(const std::string& text) {
  return [=](const Damage& d) {
    d.edit("config.yaml", "policy: {", "policy: {revocations: revoked.txt, ");
    if (!text.empty()) d.write("revoked.txt", text);
  };
}

std::function<void(const Damage&)> frozen(const std::function<void(const Damage&)>& change) {
  return [=](const Damage& d) {
    bands("reference: frozen\n  profiles: [shallow, full]")(d);
    d.edit("config.yaml", "policy: {", "policy: {reference: model, ");
    d.copy("run/ckpt/step-000003", "model");
    change(d);
  };
}

std::vector<BadInput> of_bands() {
  return {
      {"bands-scalar", "a section that is a word", append("entropy: low\n"), run, 2,
       "policy.yaml:17:10: error: 'entropy' must be a map ('key: value' lines), found 'low'"},
      {"bands-key", "an unknown key", bands("profile: [shallow, full]"), run, 2,
       "policy.yaml:18:3: error: 'entropy' needs the key 'profiles'"},
      {"bands-one", "one band", bands("profiles: [full]"), run, 2,
       "policy.yaml:18:3: error: 'entropy' needs at least 2 bands, found 1"},
      {"bands-profile", "a profile that is not defined", bands("profiles: [shalow, full]"), run, 2,
       "policy.yaml:18:14: error: entropy band 0: the profile 'shalow' is not defined"},
      {"bands-count", "more profiles than bands", bands("edges: [2]\n  profiles: [none, shallow, full]"), run, 2,
       "policy.yaml:19:13: error: 'profiles' of 'entropy' has 3 for 2 bands"},
      {"bands-order", "edges that fall", bands("edges: [4, 2]\n  profiles: [none, shallow, full]"), run, 2,
       "policy.yaml:18:14: error: 'edges' of 'entropy' must ascend, found 2 after 4"},
      {"bands-edge-nan", "an edge that is NaN", bands("edges: [.nan]\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:11: error: 'edges' of 'entropy': expected a finite number, found '.nan'"},
      {"bands-quantile", "a quantile above 1", bands("quantiles: [1.5]\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:15: error: 'quantiles' of 'entropy' is 1.5"},
      {"bands-both", "edges and quantiles", bands("edges: [2]\n  quantiles: [0.5]\n  profiles: [shallow, full]"), run,
       2, "policy.yaml:18:10: error: 'entropy' has both 'edges' and 'quantiles'"},
      {"bands-fixed-warmup", "a warm-up of edges that do not move",
       bands("edges: [2]\n  warmup: 9\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:19:11: error: 'entropy': 'warmup' belongs to 'quantiles'"},
      {"bands-error", "an error of half the ranks", bands("error: 0.5\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:10: error: 'error' of 'entropy' is 0.5"},
      {"bands-warmup", "a warm-up of -1", bands("warmup: -1\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:11: error: 'warmup' of 'entropy' is -1"},
      {"bands-window", "a window that is a word", bands("window: all\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:11: error: 'window' of 'entropy': expected an integer, found 'all'"},
      {"bands-ema", "an average that never moves", bands("reference: {ema: 1}\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:20: error: 'ema' of 'entropy' is 1"},
      {"bands-reference", "a reference that does not exist", bands("reference: median\n  profiles: [shallow, full]"),
       run, 2, "policy.yaml:18:14: error: 'reference' of 'entropy' is 'median'"},
      {"bands-slope", "slopes without edges", bands("slope: {by: source}\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:10: error: 'slope' of 'entropy' needs 'edges' or 'quantiles'"},
      {"bands-slope-row", "fewer profiles than slope bands",
       bands("slope: {edges: [-0.1, 0]}\n  profiles: [[shallow, full], full]"), run, 2,
       "policy.yaml:19:14: error: entropy band 0 has 2 profiles for 3 slope bands"},
      {"bands-slope-none", "a table without slopes", bands("profiles: [[shallow, full], full]"), run, 2,
       "policy.yaml:18:14: error: entropy band 0 has 2 profiles for 1 slope bands"},
      {"bands-slope-over", "a time that does not exist",
       bands("slope: {edges: [0], over: days}\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:29: error: 'over' of 'slope' is 'days'"},
      {"bands-slope-points", "a line through one point",
       bands("slope: {edges: [0], min_points: 1}\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:35: error: 'min_points' of 'entropy' is 1"},
  };
}

std::vector<BadInput> of_schedules() {
  const std::string move = "name: move, profile: shallow, to: full, when: {step: 2}";
  return {
      {"schedule-map", "a map in place of a list", append("schedule: {step: 2}\n"), run, 2,
       "policy.yaml:17:11: error: 'schedule' must be a list ('- name: ...'), found a map"},
      {"schedule-no-when", "an entry without a condition", schedule("name: move, profile: shallow, to: full"), run, 2,
       "policy.yaml:18:5: error: schedule 1 'move' needs the key 'when'"},
      {"schedule-profile", "a profile that is not defined",
       schedule("name: move, profile: shallow, to: ful, when: {step: 2}"), run, 2,
       "policy.yaml:18:40: error: schedule 1 'move': 'to': the profile 'ful' is not defined"},
      {"schedule-none", "the built-in profile `none`", schedule("name: move, profile: none, to: full, when: {step: 2}"),
       run, 2, "policy.yaml:18:27: error: schedule 1 'move': the profile 'none' never changes"},
      {"schedule-itself", "a profile that goes to itself",
       schedule("name: move, profile: full, to: full, when: {step: 2}"), run, 2,
       "policy.yaml:18:37: error: schedule 1 'move': 'to' is the profile itself"},
      {"schedule-twice", "two entries of one name", append("schedule:\n  - {" + move + "}\n  - {" + move + "}\n"), run,
       2, "policy.yaml:19:12: error: schedule 2: the name is taken by the entry at policy.yaml:18:5"},
      {"schedule-over", "a way of no steps", schedule(move + ", over: 0"), run, 2,
       "policy.yaml:18:69: error: schedule 1 'move': 'over' is 0; expected steps, at least 1"},
      {"schedule-step", "step 0", when("{step: 0}"), run, 2,
       "policy.yaml:18:59: error: schedule 1 'move': 'when': 'step' is 0"},
      {"schedule-word", "a condition that does not exist", when("{loss: {below: 1}}"), run, 2,
       "policy.yaml:18:53: error: schedule 1 'move': 'when': unknown condition 'loss'"},
      {"schedule-epoch", "half an epoch", when("{epoch: 0.5}"), run, 2,
       "policy.yaml:18:60: error: schedule 1 'move': 'when': 'epoch': expected an integer, found '0.5'"},
      {"schedule-empty", "an empty condition", when("{}"), run, 2,
       "policy.yaml:18:52: error: schedule 1 'move': 'when': expected a condition such as {epoch: 1}, found an empty "
       "map"},
      {"schedule-any", "`any` of nothing", when("{any: []}"), run, 2,
       "policy.yaml:18:58: error: schedule 1 'move': 'when': 'any' must be a list of conditions, found an empty list"},
      {"schedule-unbounded", "a condition without a bound", when("{drift: {block: layer.0}}"), run, 2,
       "policy.yaml:18:60: error: schedule 1 'move': 'when': 'drift' has no bound"},
      {"schedule-no-block", "a drift of no block", when("{drift: {above: 0.1}}"), run, 2,
       "policy.yaml:18:60: error: schedule 1 'move': 'when': 'drift' needs the key 'block'"},
      {"schedule-block", "a block that the model does not have", when("{drift: {block: layer.9, above: 0.1}}"), run, 2,
       "policy.yaml:18:5: error: schedule 'move': drift and capacity need a probe set, but probe.examples is 0"},
      {"schedule-range", "a drift above 1", when("{drift: {block: layer.0, above: 2}}"), run, 2,
       "policy.yaml:18:84: error: schedule 1 'move': 'when': 'drift' lies between 0 and 1"},
      {"schedule-void", "bounds between which nothing lies", when("{loss_progress: {above: 0.5, below: 0.1}}"), run, 2,
       "policy.yaml:18:88: error: schedule 1 'move': 'when': 'loss_progress' cannot be above 0.5 and below 0.1"},
      {"schedule-adaptation", "a profile that adaptation moves, too",
       append("schedule:\n  - {" + move + "}\nadaptation: {profiles: {shallow: full}}\n"), run, 2,
       "policy.yaml:18:5: error: schedule 'move': 'adaptation' or 'controller' moves the profile 'shallow' too"},
      {"schedule-no-probe", "a drift that nothing measures", when("{drift: {block: layer.0, above: 0.1}}"), run, 2,
       "policy.yaml:18:5: error: schedule 'move': drift and capacity need a probe set, but probe.examples is 0"},
  };
}

std::vector<BadInput> of_the_day() {
  const auto nothing = [](const Damage&) {};
  return {
      {"clock-word", "a clock that does not exist", nothing, run + " policy.clock=sun", 2,
       "command line, argument 2: error: 'policy.clock': expected one of auto, fixed, wall, simulated, found 'sun'"},
      {"clock-simulated", "a simulated clock that stands still", nothing, run + " policy.clock=simulated", 2,
       "command line, argument 2: error: policy.clock is simulated, but policy.steps_per_day is 0"},
      {"clock-steps", "steps of a day without the clock that has days", nothing, run + " policy.steps_per_day=5", 2,
       "command line, argument 2: error: policy.steps_per_day belongs to policy.clock simulated; policy.clock is auto"},
      {"clock-negative", "days of -5 steps", nothing, run + " policy.clock=simulated policy.steps_per_day=-5", 2,
       "command line, argument 2: error: policy.clock is simulated, but policy.steps_per_day is 0"},
      {"clock-wall", "the date of today, given by hand", nothing, run + " policy.clock=wall", 2,
       "command line, argument 2: error: policy.clock wall starts on the day of the start, not on policy.date"},
      {"watch-word", "a switch that is a number", nothing, run + " policy.watch=2", 2,
       "command line, argument 2: error: 'policy.watch': expected true or false, found '2'"},
      {"watch-no-policy", "a watch on no policy", nothing,
       run + " '~policy.file' train.routing=false policy.watch=true", 2,
       "command line, argument 4: error: policy.watch is given, but policy.file is not"},
  };
}

std::vector<BadInput> of_revocations() {
  return {
      {"revocations-missing", "a list that is not there", revoked(""), "govtrain validate config.yaml", 2,
       "config.yaml:9:23: error: cannot read revoked.txt: No such file or directory"},
      {"revocations-missing-run", "a list that is not there, met by a run", revoked(""), run, 2,
       "config.yaml:9:23: error: cannot read revoked.txt: No such file or directory"},
      {"revocations-folder", "a folder", [](const Damage& d) { revoked("")(d), d.write("revoked.txt/a", ""); }, run, 2,
       "config.yaml:9:23: error: cannot read revoked.txt: it is a folder"},
      {"revocations-utf8", "bytes that are not UTF-8", revoked("d1\nd\xff\n"), "govtrain validate config.yaml", 2,
       "revoked.txt:2:1: error: the line is not text"},
      {"revocations-digest", "a digest of 10 digits", revoked("# revoked\nsha256:0123456789\n"), run, 2,
       "revoked.txt:2:1: error: 'sha256:0123456789' is not a SHA-256 digest"},
      {"revocations-day", "a day that does not exist", revoked("2026-02-30 d1\n"), run, 2,
       "revoked.txt:1:1: error: '2026-02-30' is no day"},
      {"revocations-day-form", "a day without zeros", revoked("2026-2-3 source:web:*\n"), run, 2,
       "revoked.txt:1:1: error: '2026-2-3' is no day"},
      {"revocations-source", "a source without a pattern", revoked("source:\n"), run, 2,
       "revoked.txt:1:1: error: 'source:' without a pattern"},
      {"revocations-end", "a last line without its end", revoked("d1\nd2"), run, 2,
       "revoked.txt:2:1: error: the last line has no line end: the list may be half written"},
      {"revocations-weights", "weights in its place",
       [](const Damage& d) { revoked("")(d), d.copy("run/ckpt/step-000003/model.safetensors", "revoked.txt"); }, run, 2,
       "revoked.txt:1:1: error: the line is not text"},
      {"revocations-name", "an exclusion list that takes its name",
       [](const Damage& d) {
         revoked("d1\n")(d);
         d.append("policy.yaml", "exclusions:\n  - {name: revocations, id: d3}\n");
       },
       run, 2, "policy.yaml:18:5: error: the name 'revocations' is that of the list in policy.revocations"},
      {"revocations-no-policy", "a list without a policy", revoked("d1\n"), run + " '~policy.file' train.routing=false",
       2, "config.yaml:9:23: error: policy.revocations is given, but policy.file is not"},
  };
}

std::vector<BadInput> of_references() {
  const auto nothing = [](const Damage&) {};
  return {
      {"reference-unused", "a reference model that no band uses", nothing,
       run + " policy.reference=run/ckpt/step-000003", 2,
       "command line, argument 2: error: policy.reference is given, but policy tiny has no use for it"},
      {"reference-none", "bands of a frozen model that is not named",
       bands("reference: frozen\n  profiles: [shallow, full]"), run, 2,
       "policy.yaml:18:3: error: 'reference: frozen' of 'entropy' needs a model, but policy.reference is empty"},
      {"reference-missing", "a folder that is not there", frozen([](const Damage& d) { d.remove("model"); }), run, 2,
       "config.yaml:9:21: error: policy.reference: there is no model in model"},
      {"reference-weights", "a folder without weights",
       frozen([](const Damage& d) { d.remove("model/DONE"), d.remove("model/model.safetensors"); }), run, 2,
       "config.yaml:9:21: error: policy.reference: there is no model in model"},
      {"reference-flip", "one bit of its weights flipped",
       frozen([](const Damage& d) { d.flip("model/model.safetensors", 20000); }), run, 3,
       "govtrain: error: model/model.safetensors: expected sha256 <digest>, got <digest>; the file was changed or "
       "damaged"},
      {"reference-cut", "weights that are cut off, in a folder without DONE",
       frozen([](const Damage& d) { d.remove("model/DONE"), d.cut("model/model.safetensors", 50000); }), run, 3,
       "govtrain: error: model/model.safetensors: not a valid safetensors file: the tensors take 115584 bytes, the "
       "file has 47968 (truncated)"},
      {"reference-context", "a model of a shorter context", frozen(nothing), run + " data.context=64", 3,
       "govtrain: error: policy.reference model: a vocabulary of 258 and a context of 32; expected 258, and at least "
       "64"},
      {"reference-tokenizer", "a model whose tokenizer is none",
       frozen([](const Damage& d) { d.remove("model/DONE"), d.append("model/tokenizer.bytes", "x"); }), run, 3,
       "govtrain: error: model/tokenizer.bytes: not a byte tokenizer of version 1"},
  };
}

}  // namespace

BadInputs bad_changes() {
  BadInputs out{
      "Bands, schedules, days, revocations and reference models",
      "`entropy` and `schedule` of the policy, and the keys `policy.*` by which decisions change while a run trains.",
      {}};
  for (const auto& rows : {of_bands(), of_schedules(), of_the_day(), of_revocations(), of_references()})
    out.rows.insert(out.rows.end(), rows.begin(), rows.end());
  return out;
}

}  // namespace govtrain_test
