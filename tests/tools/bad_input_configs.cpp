// Rows: the configuration and the command line.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

using Change = std::function<void(const Damage&)>;

Change edit(const std::string& from, const std::string& to) {
  return [=](const Damage& d) { d.edit("config.yaml", from, to); };
}

Change whole(const std::string& text) {
  return [=](const Damage& d) { d.write("config.yaml", text); };
}

void nothing(const Damage&) {}

std::string repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// Nine levels of ten aliases each: a billion values, if they were all made.
std::string alias_bomb() {
  std::string out = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string last = "*a" + std::to_string(i - 1), name = "a" + std::to_string(i);
    out += name + ": &" + name + " [" + last + repeat(", " + last, 9) + "]\n";
  }
  return out;
}

const std::string run = "govtrain run config.yaml run.out=new";

std::vector<BadInput> files() {
  return {
      {"config-missing", "no such file", nothing, "govtrain run absent.yaml", 2,
       "absent.yaml: error: cannot read absent.yaml: No such file or directory"},
      {"config-folder", "a folder", nothing, "govtrain run cache", 2,
       "cache: error: cannot read cache: it is a folder"},
      {"config-empty", "an empty file", whole(""), run, 2, "config.yaml:1:1: error: the file is empty"},
      {"config-list", "a list instead of sections", whole("- run\n- data\n"), run, 2,
       "config.yaml:1:1: error: a config must be a map ('section:' lines), found a list"},
      {"config-two-documents", "two YAML documents in one file",
       [](const Damage& d) { d.append("config.yaml", "---\n{}\n"); }, run, 2,
       "config.yaml:14:1: error: a second document starts here"},
      {"config-tab", "a tab as indentation", edit("  context: 32", "\tcontext: 32"), run, 2,
       "config.yaml:6:1: error: a tab in the indentation"},
      {"config-quote", "a quote that is never closed", edit("[corpus.jsonl]", "[\"corpus.jsonl]"), run, 2,
       "config.yaml:14:1: error: not valid YAML: end of sequence flow not found"},
      {"config-utf8", "bytes that are not UTF-8", edit("tiny", "\"tin\xff\""), run, 2,
       "config.yaml:1:17: error: the byte 0xff is not valid UTF-8"},
      {"config-nul", "a NUL byte", edit("tiny", std::string("ti\0ny", 5)), run, 2,
       "config.yaml:1:15: error: the control character 0x00 is not allowed"},
      {"config-binary", "a checkpoint's weights in its place",
       [](const Damage& d) { d.copy("run/ckpt/step-000003/model.safetensors", "config.yaml"); }, run, 2,
       "config.yaml:1:1: error: the byte 0xe8 is not valid UTF-8"},
      {"config-nested", "10000 brackets deep", whole(repeat("[", 10000) + repeat("]", 10000)), run, 2,
       "config.yaml:1:33: error: nested more than 32 levels deep"},
      {"config-aliases", "aliases that stand for a billion values", whole(alias_bomb()), run, 2,
       "config.yaml: error: the key 'data.inputs' is required (list of strings)"},
      {"config-huge", "a file of 20 MB", whole(repeat("# " + std::string(78, 'x') + "\n", 250000)), run, 2,
       "config.yaml: error: config.yaml is larger than 8 MiB"},
      {"config-merge", "the merge key `<<`", edit("optim: {lr: 1.0e-3}", "optim:\n  <<: {lr: 1.0e-3}"), run, 2,
       "config.yaml:11:3: error: merge keys ('<<') are not supported"},
      {"config-extends-missing", "`extends` names a file that is not there",
       [](const Damage& d) { d.append("config.yaml", "extends: base.yaml\n"); }, run, 2,
       "config.yaml:14:10: error: cannot read base.yaml: No such file or directory"},
      {"config-extends-itself", "`extends` leads back to the file itself",
       [](const Damage& d) { d.append("config.yaml", "extends: config.yaml\n"); }, run, 2,
       "config.yaml:14:10: error: 'extends' goes in a circle: config.yaml is already being read"},
  };
}

std::vector<BadInput> values() {
  return {
      {"config-unknown-key", "an unknown key", edit("lr:", "learing_rate:"), run, 2,
       "config.yaml:10:9: error: unknown key 'optim.learing_rate'"},
      {"config-duplicate", "a key given twice", edit("{lr: 1.0e-3}", "{lr: 1.0e-3, lr: 2.0e-3}"), run, 2,
       "config.yaml:10:21: error: duplicate key 'lr', first at config.yaml:10:9"},
      {"config-required", "a required key left out", edit("steps: 3, ", ""), run, 2,
       "config.yaml: error: the key 'train.steps' is required (integer >= 1, in steps)"},
      {"config-word", "a word for a number", edit("steps: 3", "steps: three"), run, 2,
       "config.yaml:11:16: error: 'train.steps': expected an integer, found 'three'"},
      {"config-list-value", "a list for a number", edit("steps: 3", "steps: [3]"), run, 2,
       "config.yaml:11:16: error: 'train.steps': expected integer >= 1, in steps, found a list"},
      {"config-section-value", "a number for a section", edit("{lr: 1.0e-3}", "3"), run, 2,
       "config.yaml:10:8: error: 'optim' is a section and must be a map, found '3'"},
      {"config-fraction", "a fraction for a whole number", edit("steps: 3", "steps: 2.5"), run, 2,
       "config.yaml:11:16: error: 'train.steps': expected an integer, found '2.5'"},
      {"config-overflow", "a number of 30 digits", edit("steps: 3", "steps: " + repeat("9", 30)), run, 2,
       "config.yaml:11:16: error: 'train.steps': '999999999999999999999999999999' is too large for a 64-bit integer"},
      {"config-nan", "NaN", edit("1.0e-3", ".nan"), run, 2,
       "config.yaml:10:13: error: 'optim.lr': expected a finite number, found '.nan'"},
      {"config-inf", "infinity", edit("1.0e-3", ".inf"), run, 2,
       "config.yaml:10:13: error: 'optim.lr': expected a finite number, found '.inf'"},
      {"config-1e999", "a number beyond the range of doubles", edit("1.0e-3", "1e999"), run, 2,
       "config.yaml:10:13: error: 'optim.lr': '1e999' is outside the range of a double"},
      {"config-boolean", "yes for a boolean", edit("tensorboard: false", "tensorboard: yes"), run, 2,
       "config.yaml:13:20: error: 'log.tensorboard': expected true or false, found 'yes'"},
      {"config-skip", "a number for a boolean of routing", edit("train: {", "routing: {skip: 1}\ntrain: {"), run, 2,
       "config.yaml:11:17: error: 'routing.skip': expected true or false, found '1'"},
      {"config-technique", "a technique that there is not",
       edit("train: {", "routing: {technique: [boundry]}\ntrain: {"), run, 2,
       "config.yaml:11:23: error: 'routing.technique': expected one of scale, boundary, residual_gate, attention_gate, "
       "found 'boundry'"},
      {"config-technique-twice", "a technique named twice",
       edit("train: {", "routing: {technique: [scale, scale]}\ntrain: {"), run, 2,
       "config.yaml:11:22: error: routing.technique: 'scale' is there twice"},
      {"config-technique-withheld", "withheld gradients with gates",
       edit("train: {", "routing: {technique: [boundary], withheld: quarantine}\ntrain: {"), run, 2,
       "config.yaml:11:44: error: routing.withheld is quarantine, but only the technique scale tells what is withheld"},
      {"config-enforcement", "an enforcement point that there is not",
       edit("train: {", "routing: {enforcement: step}\ntrain: {"), run, 2,
       "config.yaml:11:24: error: 'routing.enforcement': expected one of backward, optimizer, loss, found 'step'"},
      {"config-enforcement-technique", "an enforcement point with gates",
       edit("train: {", "routing: {technique: [boundary], enforcement: optimizer}\ntrain: {"), run, 2,
       "config.yaml:11:47: error: routing.enforcement is optimizer, but gates act in the backward pass only"},
      {"config-enforcement-plain", "an enforcement point without routing",
       edit("train: {", "routing: {enforcement: loss}\ntrain: {routing: false, "), run, 2,
       "config.yaml:11:24: error: routing.enforcement is loss, but there is nothing to enforce with train.routing: "
       "false"},
      {"config-enforcement-withheld", "withheld gradients with enforcement in the loss",
       edit("train: {", "routing: {enforcement: loss, withheld: quarantine}\ntrain: {"), run, 2,
       "config.yaml:11:24: error: routing.enforcement is loss, but what is withheld is no part of the loss "
       "(routing.withheld is quarantine)"},
      {"config-technique-blocks", "a technique that the blocks do not allow",
       edit("train: {", "blocks: {by: role}\nrouting: {technique: [residual_gate, boundary]}\ntrain: {"), run, 2,
       "config.yaml:12:22: error: routing.technique: boundary: attention of layer 0 is divided among blocks; a "
       "boundary "
       "needs all of it in one"},
      {"config-range", "a value out of range", edit("layers: 2", "layers: 0"), run, 2,
       "config.yaml:8:17: error: 'model.layers': must be >= 1 and <= 1024, found 0"},
      {"config-choice", "a word that is no choice", edit("mlp_width: 64", "mlp: relu"), run, 2,
       "config.yaml:8:46: error: 'model.mlp': expected one of gelu, silu, swiglu, geglu, found 'relu'"},
      {"config-null", "no value", edit("layers: 2", "layers: "), run, 2,
       "config.yaml:8:17: error: 'model.layers': expected integer >= 1 and <= 1024, found nothing"},
      {"config-input-missing", "an input that is not there", edit("corpus.jsonl", "corpse.jsonl"), run, 2,
       "config.yaml:3:11: error: data.inputs: 'corpse.jsonl' does not exist"},
      {"config-policy-missing", "a policy that is not there", edit("policy.yaml", "polity.yaml"), run, 2,
       "config.yaml:9:16: error: policy.file: 'polity.yaml' does not exist"},
      {"config-date", "a day that does not exist", edit("2026-01-01", "2026-02-30"), run, 2,
       "config.yaml:9:35: error: policy.date '2026-02-30' is no day"},
      {"config-name", "a run's name with a slash", edit("name: tiny", "name: ../tiny"), run, 2,
       "config.yaml:1:13: error: run.name must be a file name without spaces, '/' and '+'"},
  };
}

std::vector<BadInput> combinations() {
  return {
      {"config-heads", "heads that do not divide the width", edit("heads: 2", "heads: 5"), run, 2,
       "config.yaml:8:38: error: model.width 32 is not a multiple of model.heads 5"},
      {"config-rope", "rotary positions with an odd head", edit("width: 32", "width: 34"), run, 2,
       "config.yaml:8:38: error: positions 'rope' turns pairs, but a head has 17 channels (model.width 34 / "
       "model.heads 2)"},
      {"config-context", "examples longer than a step", edit("context: 32", "context: 256"), run, 2,
       "config.yaml:11:36: error: train.tokens_per_step 128 is less than data.context 256"},
      {"config-warmup", "a warm-up as long as the run", edit("lr: 1.0e-3", "lr: 1.0e-3, warmup_steps: 3"), run, 2,
       "config.yaml:10:35: error: optim.warmup_steps 3 leaves nothing of train.steps 3"},
      {"config-momentum", "momentum for adamw", edit("lr: 1.0e-3", "lr: 1.0e-3, momentum: 0.9"), run, 2,
       "config.yaml:10:31: error: optim.momentum belongs to sgd; optim.kind is adamw"},
      {"config-key-inside", "the signing key inside the run folder", nothing,
       "govtrain run config.yaml run.out=new lineage.key=new/tiny.key", 2,
       "command line, argument 2: error: lineage.key new/tiny.key lies inside run.out new"},
      {"config-out-in-cache", "the run folder inside the cache", nothing, "govtrain run config.yaml run.out=cache/new",
       2, "command line, argument 1: error: run.out cache/new lies inside data.cache cache"},
      {"config-model-huge", "a model of 10^16 parameters", nothing, run + " model.width=1048576 model.heads=1024", 2,
       "govtrain: error: model.width: expected 1 to 131072, got 1048576"},
      {"config-model-memory", "a model that no memory holds", nothing,
       run + " model.layers=1024 model.width=131072 model.heads=1024", 5,
       "govtrain: error: the model's 7.04e+13 parameters need at least 1024.4 TiB of memory, this machine has "
       "<memory>; lower model.width or model.layers"},
      {"config-out-again", "a run folder that holds a run", nothing, "govtrain run config.yaml", 2,
       "govtrain: error: run holds a run already; nothing was started"},
      {"config-device-gpu", "a device by another name", nothing, "govtrain run config.yaml run.out=new run.device=gpu",
       2, "command line, argument 2: error: 'run.device': expected one of auto, cpu, cuda, found 'gpu'"},
      {"config-policy", "a policy in its place", nothing, "govtrain validate policy.yaml", 2,
       "policy.yaml:1:1: error: this is a policy; expected a configuration"},
      {"config-as-policy", "a configuration in the place of its policy", nothing,
       "govtrain policy check config.yaml policy.file=config.yaml", 2,
       "config.yaml:1:1: error: this is a configuration; expected a policy"},
      {"config-probe-none", "a key of a probe set that is not there", nothing,
       "govtrain run config.yaml run.out=new probe.every=5", 2,
       "command line, argument 2: error: probe.every belongs to a probe set, but probe.examples is 0"},
      {"config-probe-one", "a probe set of one text", nothing, "govtrain run config.yaml run.out=new probe.examples=1",
       2, "command line, argument 2: error: probe.examples 1 has no entropy"},
      {"config-out-file", "a file as run folder", nothing, "govtrain run config.yaml run.out=corpus.jsonl", 1,
       "govtrain: error: mkdir corpus.jsonl/ckpt: Not a directory"},
      {"config-out-below-file", "a run folder below a file", nothing,
       "govtrain run config.yaml run.out=corpus.jsonl/new", 1,
       "govtrain: error: corpus.jsonl/tiny.key cannot be made: open corpus.jsonl/.tiny.key.lock: Not a directory"},
      {"config-cache-file", "a file as data cache", nothing, run + " data.cache=corpus.jsonl", 1,
       "govtrain: error: open corpus.jsonl/.lock: Not a directory"},
      {"config-name-long", "a run folder with a name of 300 characters", nothing,
       "govtrain run config.yaml run.out=" + std::string(300, 'x'), 1,
       "govtrain: error: mkdir "
       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: File name too long"},
  };
}

std::vector<BadInput> overrides() {
  return {
      {"override-unknown", "an override of an unknown key", nothing, run + " train.stepps=3", 2,
       "command line, argument 2: error: unknown key 'train.stepps'"},
      {"override-value", "an override of the wrong type", nothing, run + " train.steps=many", 2,
       "command line, argument 2: error: 'train.steps': expected an integer, found 'many'"},
      {"override-no-value", "an override without `=`", nothing, run + " train.steps", 2,
       "command line, argument 2: error: expected key=value or ~key, found 'train.steps'"},
      {"override-nan", "NaN by override", nothing, run + " optim.lr=nan", 2,
       "command line, argument 2: error: 'optim.lr': expected a finite number, found 'nan'"},
      {"override-section", "an override of a whole section", nothing, run + " optim=adamw", 2,
       "command line, argument 2: error: 'optim' is a section"},
      {"override-threads", "a billion threads", nothing, run + " run.threads=1000000000", 2,
       "command line, argument 2: error: 'run.threads': must be >= 0 and <= 1024, found 1000000000"},
      {"override-threads-negative", "minus one threads", nothing, run + " run.threads=-1", 2,
       "command line, argument 2: error: 'run.threads': must be >= 0 and <= 1024, found -1"},
      {"override-device", "a device that is not there", nothing, run + " run.device=abacus", 2,
       "command line, argument 2: error: 'run.device': expected one of auto, cpu, cuda, found 'abacus'"},
      {"override-precision", "a precision that the CPU does not have", nothing,
       run + " run.device=cpu run.precision=bf16", 2,
       "command line, argument 3: error: 'run.precision': expected fp32 on the CPU, found 'bf16'"},
      {"override-determinism", "a determinism that the CPU does not have", nothing,
       run + " run.device=cpu run.determinism=fast", 2,
       "command line, argument 3: error: 'run.determinism': expected strict on the CPU, found 'fast'"},
      {"override-precision-name", "a precision that nothing has", nothing, run + " run.precision=fp8", 2,
       "command line, argument 2: error: 'run.precision': expected one of fp32, tf32, bf16, found 'fp8'"},
      {"override-no-device", "CUDA without a device", nothing, "CUDA_VISIBLE_DEVICES= " + run + " run.device=cuda", 2,
       "command line, argument 2: error: there is no CUDA device: no CUDA-capable device is detected"},
      {"sample-no-device", "a sample on CUDA without a device", nothing,
       "CUDA_VISIBLE_DEVICES= govtrain sample run --device cuda", 2,
       "--device: error: there is no CUDA device: no CUDA-capable device is detected"},
      {"option-unknown", "an option that does not exist", nothing, run + " --resum=auto", 2,
       "govtrain: error: '--resum=auto' is no option of 'run'"},
      {"option-value", "an option's value out of range", nothing, "govtrain sample run --tokens=-5", 2,
       "govtrain: error: --tokens: Value -5 not in range 1 to 1048576"},
      {"option-missing", "an argument left out", nothing, "govtrain run", 2, "govtrain: error: CONFIG is required"},
      {"verb-unknown", "a verb that does not exist", nothing, "govtrain trian config.yaml", 2,
       "govtrain: error: 'trian' is no verb of govtrain"},
  };
}

}  // namespace

BadInputs bad_configs() {
  BadInputs out{"Configurations and command lines",
                "`config.yaml` is read, judged as a whole, and only then anything is begun.",
                {}};
  for (const auto& rows : {files(), values(), combinations(), overrides()})
    out.rows.insert(out.rows.end(), rows.begin(), rows.end());
  return out;
}

}  // namespace govtrain_test
