// Rows: what becomes of withheld gradients, its review, what a checkpoint keeps beside weights and moments, and the
// verbs that read changes of profiles from a log.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

const std::string run = "govtrain run config.yaml run.out=new";
const std::string pending = "shadow/pending/steps-000002-000002.safetensors";
const std::string reason = " --reason checked";

// A finished run in shadow/ with pending updates of single steps.
std::function<void(const Damage&)> shadow(const std::function<void(const Damage&)>& change) {
  return [=](const Damage& d) {
    d.run("config.yaml run.out=shadow routing.withheld=shadow routing.shadow.every=1 train.steps=6");
    change(d);
  };
}

// A finished run in kept/ with these settings and sections of the policy, and damage to a file of its second
// checkpoint.
struct Kept {
  std::string settings, sections, file;
  std::function<void(const Damage&)> with(const std::function<void(const Damage&, const std::string& file)>& change,
                                          bool seal) const {
    return [=, *this](const Damage& d) {
      d.append("policy.yaml", sections);
      d.run("config.yaml run.out=kept " + settings);
      const std::string folder = "kept/ckpt/step-000002/";
      change(d, folder + file);
      if (seal) d.seal_checkpoint(folder);
    };
  }
};

// `found`: status and message of each row.
std::vector<BadInput> of_kept(const Kept& kept, const std::string& id, const std::string& what,
                              const std::vector<std::pair<int, std::string>>& found) {
  const std::string resume = "govtrain run kept --resume kept/ckpt/step-000002";
  const auto remove = [](const Damage& d, const std::string& f) { d.remove(f); };
  const auto other = [](const Damage& d, const std::string& f) {
    d.safetensors_header(f, [](nlohmann::json& h) {
      for (auto& [name, tensor] : h.items()) {
        if (name == "__metadata__") continue;
        const nlohmann::json value = tensor;
        h["other"] = value;
        h.erase(name);
        return;
      }
    });
  };
  return {
      {id + "-missing", what + ": removed", kept.with(remove, false), resume, found.at(0).first, found.at(0).second},
      {id + "-missing-sealed", what + ": removed, and DONE does not ask for it", kept.with(remove, true), resume,
       found.at(1).first, found.at(1).second},
      {id + "-flip", what + ": one bit flipped",
       kept.with([](const Damage& d, const std::string& f) { d.flip(f, 1500); }, false), resume, found.at(2).first,
       found.at(2).second},
      {id + "-cut", what + ": cut off", kept.with([](const Damage& d, const std::string& f) { d.cut(f, 900); }, true),
       resume, found.at(3).first, found.at(3).second},
      {id + "-name", what + ": a tensor of another name", kept.with(other, true), resume, found.at(4).first,
       found.at(4).second},
  };
}

std::vector<BadInput> of_settings() {
  const auto nothing = [](const Damage&) {};
  return {
      {"withheld-mode", "a mode that does not exist", nothing, run + " routing.withheld=keep", 2,
       "command line, argument 2: error: 'routing.withheld': expected one of discard, quarantine, shadow, found "
       "'keep'"},
      {"withheld-no-log", "pending updates without a log", nothing,
       run + " routing.withheld=shadow lineage.enabled=false", 2,
       "command line, argument 2: error: routing.withheld: shadow needs the log, but lineage.enabled is false"},
      {"withheld-no-routing", "nothing is routed", nothing, run + " routing.withheld=quarantine train.routing=false", 2,
       "command line, argument 2: error: routing.withheld is quarantine, but nothing is withheld with train.routing: "
       "false"},
      {"withheld-technique", "a technique that does not tell what is withheld", nothing,
       run + " routing.withheld=quarantine 'routing.technique=[boundary]'", 2,
       "command line, argument 2: error: routing.withheld is quarantine, but only the technique scale tells what is "
       "withheld"},
      {"withheld-every", "windows of no steps", nothing, run + " routing.withheld=shadow routing.shadow.every=0", 2,
       "command line, argument 3: error: 'routing.shadow.every': must be >= 1 and <= 16777216, found 0"},
      {"withheld-every-unused", "windows of nothing", nothing, run + " routing.shadow.every=5", 2,
       "command line, argument 2: error: routing.shadow.every belongs to routing.withheld shadow; routing.withheld is "
       "discard"},
      {"technique-word", "a technique that does not exist", nothing, run + " 'routing.technique=[gate]'", 2,
       "command line, argument 2: error: 'routing.technique': expected one of scale, boundary, residual_gate, "
       "attention_gate, found 'gate'"},
      {"technique-twice", "a technique twice", nothing, run + " 'routing.technique=[boundary, boundary]'", 2,
       "command line, argument 2: error: routing.technique: 'boundary' is there twice"},
      {"technique-none", "no technique", nothing, run + " 'routing.technique=[]'", 2,
       "command line, argument 2: error: routing.technique: expected at least one technique, got none"},
      {"skip-word", "a switch that is a word", nothing, run + " routing.skip=sometimes", 2,
       "command line, argument 2: error: 'routing.skip': expected true or false, found 'sometimes'"},
      {"forward-excluded-number", "a switch that is a number", nothing, run + " routing.forward_excluded=2", 2,
       "command line, argument 2: error: 'routing.forward_excluded': expected true or false, found '2'"},
  };
}

std::vector<BadInput> of_reviews() {
  const auto nothing = [](const Damage&) {};
  const std::string first = " steps-000002-000002";
  return {
      {"review-none", "a folder that is no run", nothing, "govtrain review list cache", 3,
       "govtrain: error: there is no checkpoint in cache; expected a run folder"},
      {"review-missing", "a folder that is not there", nothing, "govtrain review show absent", 3,
       "govtrain: error: there is no checkpoint in absent; expected a run folder"},
      {"review-mode", "a run that keeps no updates", nothing, "govtrain review list run", 2,
       "govtrain: error: run/ckpt/step-000003 keeps no pending updates: its run was not made with routing.withheld: "
       "shadow"},
      {"review-which", "two updates, and none is named", shadow(nothing), "govtrain review show shadow", 2,
       "govtrain: error: name one of the pending updates: steps-000002-000002, steps-000005-000005"},
      {"review-name", "an update that does not exist", shadow(nothing),
       "govtrain review approve shadow steps-9" + reason, 2,
       "govtrain: error: 'steps-9' is no pending update of shadow; there are: steps-000002-000002, "
       "steps-000005-000005"},
      {"review-reason", "no reason", shadow(nothing), "govtrain review approve shadow" + first, 2,
       "govtrain: error: --reason is required"},
      {"review-reason-empty", "an empty reason", shadow(nothing),
       "govtrain review reject shadow" + first + " --reason ''", 2, "govtrain: error: --reason: is empty; say why"},
      {"review-lr", "a learning rate of 0", shadow(nothing),
       "govtrain review approve shadow" + first + reason + " --lr 0", 2,
       "govtrain: error: --lr: expected a number above 0, got '0'"},
      {"review-probe", "a probe file that is not there", shadow(nothing),
       "govtrain review show shadow" + first + " --probe absent.txt", 3,
       "govtrain: error: open absent.txt: No such file or directory"},
      {"review-probe-empty", "a probe file without text", shadow([](const Damage& d) { d.write("probe.txt", "\n"); }),
       "govtrain review show shadow" + first + " --probe probe.txt", 3,
       "govtrain: error: the probe set (probe.txt) is empty; name another by --probe"},
      {"pending-missing", "its file was removed", shadow([](const Damage& d) { d.remove(pending); }),
       "govtrain review show shadow" + first, 3,
       "govtrain: error: shadow/pending/steps-000002-000002.safetensors is named by shadow/ckpt/step-000006, but is "
       "not there: it was removed by hand, or reviewed under a later checkpoint"},
      {"pending-flip", "one bit of its file flipped", shadow([](const Damage& d) { d.flip(pending, 5000); }),
       "govtrain review approve shadow" + first + reason, 3,
       "govtrain: error: shadow/pending/steps-000002-000002.safetensors: expected sha256 <digest>, got <digest>; the "
       "file was changed or damaged"},
      {"pending-cut", "its file cut off", shadow([](const Damage& d) { d.cut(pending, 5000); }),
       "govtrain review reject shadow" + first + reason, 3,
       "govtrain: error: shadow/pending/steps-000002-000002.safetensors: expected sha256 <digest>, got <digest>; the "
       "file was changed or damaged"},
      {"pending-empty", "its file emptied", shadow([](const Damage& d) { d.cut(pending, 0); }),
       "govtrain review list shadow", 3,
       "govtrain: error: shadow/pending/steps-000002-000002.safetensors: expected sha256 <digest>, got <digest>; the "
       "file was changed or damaged"},
      {"pending-other", "the file of another window in its place",
       shadow([](const Damage& d) { d.copy("shadow/pending/steps-000005-000005.safetensors", pending); }),
       "govtrain review show shadow" + first, 3,
       "govtrain: error: shadow/pending/steps-000002-000002.safetensors: expected sha256 <digest>, got <digest>; the "
       "file was changed or damaged"},
      {"review-no-key", "no signing key", shadow([](const Damage& d) { d.remove("tiny.key"); }),
       "govtrain review approve shadow" + first + reason, 3,
       "govtrain: error: open tiny.key: No such file or directory"},
      {"review-locked", "a run in progress", shadow(nothing),
       "flock shadow/lineage/.state/lock govtrain review approve shadow" + first + reason, 1,
       "govtrain: error: shadow is in progress, and its updates are reviewed when it has stopped: "
       "shadow/lineage/.state/lock is held by process <pid>"},
      {"review-log", "one bit of the log flipped", shadow([](const Damage& d) {
         const std::string note = d.read("shadow/lineage/checkpoint");
         const size_t at = note.find('\n') + 1;
         d.flip("shadow/lineage/tile/entries/000.p/" + note.substr(at, note.find('\n', at) - at), 900);
       }),
       "govtrain review approve shadow" + first + reason, 4,
       "govtrain: error: shadow/lineage/tile/entries/000.p/42: entry 0 does not match its hash in the tree"},
      {"review-state", "a trainer state whose list of updates is a word", shadow([](const Damage& d) {
         d.json("shadow/ckpt/step-000006/trainer_state.json",
                [](nlohmann::json& s) { s["parts"]["withheld"]["pending"] = "two"; });
         d.seal_checkpoint("shadow/ckpt/step-000006");
       }),
       "govtrain review list shadow", 3,
       "govtrain: error: shadow/ckpt/step-000006: the trainer state's part 'withheld' is malformed: "
       "[json.exception.type_error.304] cannot use at() with string"},
  };
}

std::vector<BadInput> of_recorded() {
  const auto nothing = [](const Damage&) {};
  const auto adapts = [](const Damage& d) { d.append("policy.yaml", "adaptation: {profiles: {shallow: full}}\n"); };
  const std::string proposals = "govtrain proposals ";
  return {
      {"replay-nothing", "a log in which nothing adapts", nothing, "govtrain policy replay run", 2,
       "govtrain: error: the policy of this log has no section 'entropy', 'adaptation' or 'controller': there is "
       "nothing to replay"},
      {"replay-none", "a folder without a log", nothing, "govtrain policy replay cache", 3,
       "govtrain: error: there is no log in cache; expected a run folder or the folder of a log"},
      {"replay-key", "the verifier key is none", nothing, "govtrain policy replay run --key nonsense", 2,
       "govtrain: error: --key: nonsense is neither a file nor a verifier key (a key must read name+<8 hex "
       "digits>+<base64 of 33 bytes>, algorithm Ed25519)"},
      {"proposals-none", "a folder without a log", nothing, proposals + "list cache", 3,
       "govtrain: error: there is no log in cache; expected a run folder or the folder of a log"},
      {"proposals-id", "a proposal that does not exist", nothing, proposals + "show run 1", 2,
       "govtrain: error: there is no proposal 1; 'govtrain proposals list run' shows all 0"},
      {"proposals-word", "a word as number of a proposal", nothing, proposals + "show run first", 2,
       "govtrain: error: ID: expected the number of a proposal, got 'first'"},
      {"proposals-reason", "no reason", nothing, proposals + "approve run 1", 2,
       "govtrain: error: --reason is required"},
      {"proposals-reason-empty", "an empty reason", nothing, proposals + "reject run 1 --reason ''", 2,
       "govtrain: error: --reason: is empty; say why"},
      {"needs-probe", "an adaptation without a probe set",
       [](const Damage& d) { d.append("policy.yaml", "adaptation: {profiles: {shallow: full}}\n"); }, run, 2,
       "policy.yaml:17:25: error: 'adaptation' needs a probe set, but probe.examples is 0"},
      {"needs-eval", "a controller without validations",
       [](const Damage& d) {
         d.append("policy.yaml", "controller: {protect: ['*'], profiles: {shallow: {floor: none}}}\n");
       },
       run, 2, "policy.yaml:17:41: error: 'controller' needs validations while training, but eval.every is 0"},
      {"probe-one", "a probe set of one text", nothing, run + " probe.examples=1", 2,
       "command line, argument 2: error: probe.examples 1 has no entropy"},
      {"probe-file", "a probe file that is not there", nothing, run + " probe.examples=4 probe.file=absent.txt", 2,
       "command line, argument 3: error: probe.file: 'absent.txt' is not a file"},
      {"probe-file-short", "a probe file with one text", [](const Damage& d) { d.write("probe.txt", "One text.\n"); },
       run + " probe.examples=4 probe.file=probe.txt", 3,
       "govtrain: error: [probe] found 1 texts in probe.txt; expected at least 2. Write one text per line"},
      {"adaptation-replay-off", "a log to replay under a policy whose profiles never change", nothing,
       run + " adaptation.replay=run", 2,
       "command line, argument 2: error: adaptation.replay is given, but policy tiny lets no profile change: it has no "
       "'adaptation' and no 'controller', or they are off"},
      {"adaptation-replay-policy", "a log to replay of a run under another policy", adapts,
       run + " adaptation.replay=run", 2,
       "govtrain: error: adaptation.replay run: its run began under the policy tiny@a5ce91bf, this one under "
       "tiny@88117cdf; expected the same policy, word for word"},
      {"adaptation-replay", "a log to replay that is not there", adapts, run + " adaptation.replay=absent", 3,
       "govtrain: error: there is no log in absent; expected a run folder or the folder of a log"},
      {"validate-replay", "the same, asked of `validate`", nothing,
       "govtrain validate config.yaml run.out=new adaptation.replay=absent", 2,
       "command line, argument 2: error: adaptation.replay: there is no log in absent; expected a run folder or the "
       "folder of a log"},
  };
}

}  // namespace

BadInputs bad_withheld() {
  BadInputs out{"Withheld gradients, reviews and what adapts",
                "`routing.*`, `govtrain review`, `govtrain proposals` and `govtrain policy replay`; `shadow` and "
                "`kept` are finished\n"
                "runs that keep pending updates, a quarantine, average weights or the reference of a probe set.",
                {}};
  const Kept quarantine{"routing.withheld=quarantine", "", "withheld.safetensors"};
  const Kept average{"", "entropy: {reference: {ema: 0.9}, profiles: [shallow, full]}\n",
                     "entropy_reference.safetensors"};
  const Kept probe{"probe.examples=4 probe.file=corpus.jsonl", "adaptation: {profiles: {shallow: full}}\n",
                   "probe.safetensors"};
  for (const auto& rows :
       {of_settings(), of_reviews(),
        of_kept(quarantine, "quarantine", "the quarantine",
                {{3,
                  "govtrain: error: open kept/ckpt/step-000002/withheld.safetensors: No such file or directory (named "
                  "by DONE)"},
                 {3,
                  "govtrain: error: kept/ckpt/step-000002 has no withheld.safetensors, which its trainer state speaks "
                  "of; resume from another checkpoint"},
                 {3,
                  "govtrain: error: kept/ckpt/step-000002/withheld.safetensors: expected sha256 <digest>, got "
                  "<digest>; the file was changed or damaged"},
                 {3,
                  "govtrain: error: kept/ckpt/step-000002/withheld.safetensors: not a valid safetensors file: the "
                  "header claims 6728 bytes, the file has 892"},
                 {3,
                  "govtrain: error: kept/ckpt/step-000002 does not fit this configuration: [optimizer] this state is "
                  "not of this model and optimizer:\n  'model.embed_tokens.weight.displacement' is missing"}}),
        of_kept(
            average, "average", "average weights",
            {{3,
              "govtrain: error: open kept/ckpt/step-000002/entropy_reference.safetensors: No such file or directory "
              "(named by DONE)"},
             {3,
              "govtrain: error: open kept/ckpt/step-000002/entropy_reference.safetensors: No such file or directory"},
             {3,
              "govtrain: error: kept/ckpt/step-000002/entropy_reference.safetensors: expected sha256 <digest>, got "
              "<digest>; the file was changed or damaged"},
             {3,
              "govtrain: error: kept/ckpt/step-000002/entropy_reference.safetensors: not a valid safetensors file: the "
              "header claims 1992 bytes, the file has 892"},
             {3,
              "govtrain: error: kept/ckpt/step-000002: [import] these tensors are not of this model:\n  "
              "'model.embed_tokens.weight' [258, 32] is missing"}}),
        of_kept(probe, "probe", "the reference of the probe set",
                {{3,
                  "govtrain: error: open kept/ckpt/step-000002/probe.safetensors: No such file or directory (named by "
                  "DONE)"},
                 {4,
                  "govtrain: error: entry 19 of the log does not name the weights in kept/ckpt/step-000002: they were "
                  "changed after they were logged"},
                 {3,
                  "govtrain: error: kept/ckpt/step-000002/probe.safetensors: expected sha256 <digest>, got <digest>; "
                  "the file was changed or damaged"},
                 {3,
                  "govtrain: error: kept/ckpt/step-000002/probe.safetensors: not a valid safetensors file: the tensors "
                  "take 2048 bytes, the file has 620 (truncated)"},
                 {3,
                  "govtrain: error: kept/ckpt/step-000002: [probe] the reference 'other' of 4 examples is of another "
                  "probe set; expected 4 examples"}}),
        of_recorded()})
    out.rows.insert(out.rows.end(), rows.begin(), rows.end());
  return out;
}

}  // namespace govtrain_test
