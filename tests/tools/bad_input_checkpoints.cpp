// Rows: checkpoints, for inference and for resuming.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

const std::string last = "run/ckpt/step-000003/";
const std::string middle = "run/ckpt/step-000002/";
const std::string sample = "govtrain sample run --tokens 3";
const std::string resume = "govtrain run config.yaml --resume run/ckpt/step-000002";

// Damage to a file of the last checkpoint, which `sample` reads.
std::function<void(const Damage&)> weights(const std::function<void(const Damage&, const std::string&)>& change) {
  return [=](const Damage& d) { change(d, last + "model.safetensors"); };
}

std::function<void(const Damage&)> header(const std::function<void(nlohmann::json&)>& change) {
  return [=](const Damage& d) { d.safetensors_header(last + "model.safetensors", change); };
}

std::function<void(const Damage&)> config(const std::function<void(nlohmann::json&)>& change) {
  return [=](const Damage& d) { d.json(last + "config.json", change); };
}

// Damage to the checkpoint before the last, which `resume` reads; DONE is made to agree with it.
std::function<void(const Damage&)> sealed(const std::function<void(const Damage&)>& change) {
  return [=](const Damage& d) {
    change(d);
    d.seal_checkpoint(middle);
  };
}

std::function<void(const Damage&)> state(const std::function<void(nlohmann::json&)>& change) {
  return sealed([=](const Damage& d) { d.json(middle + "trainer_state.json", change); });
}

std::vector<BadInput> for_inference() {
  const std::string name = "model.norm.weight";
  return {
      {"ckpt-none", "no checkpoint in the run",
       [](const Damage& d) { d.remove("run/ckpt"), d.write("run/ckpt/.keep", ""); }, sample, 3,
       "govtrain: error: there is no checkpoint in run; expected a checkpoint folder, or a run folder with one in "
       "ckpt/"},
      {"ckpt-no-weights", "no weights", weights([](const Damage& d, const std::string& f) { d.remove(f); }), sample, 3,
       "govtrain: error: open run/ckpt/step-000003/model.safetensors: No such file or directory"},
      {"ckpt-cut", "weights that are cut off", weights([](const Damage& d, const std::string& f) { d.cut(f, 50000); }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: the tensors take 115584 "
       "bytes, the file has 47968 (truncated)"},
      {"ckpt-empty", "weights of no bytes", weights([](const Damage& d, const std::string& f) { d.cut(f, 0); }), sample,
       3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: 0 bytes, expected at "
       "least 8"},
      {"ckpt-header-size", "a header of 2^63 bytes",
       weights([](const Damage& d, const std::string& f) { d.poke(f, 0, std::string("\0\0\0\0\0\0\0\x80", 8)); }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: the header claims "
       "9223372036854775808 bytes, expected at most 100000000"},
      {"ckpt-header", "a header that is not JSON",
       weights([](const Damage& d, const std::string& f) { d.poke(f, 8, "xx"); }), sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: the header does not "
       "start with '{'"},
      {"ckpt-offset", "a tensor that lies beyond the file", header([=](nlohmann::json& h) {
         h[name]["data_offsets"] = {uint64_t{1} << 40, (uint64_t{1} << 40) + 128};
       }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: tensor "
       "'model.norm.weight' starts at byte 1099511627776, expected 115456 (hole)"},
      {"ckpt-shape-size", "a shape that does not fit its bytes",
       header([=](nlohmann::json& h) { h[name]["shape"] = {33}; }), sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: tensor "
       "'model.norm.weight': its shape needs 132 bytes; data_offsets give [115456, 115584)"},
      {"ckpt-shape-overflow", "a shape whose product overflows", header([=](nlohmann::json& h) {
         h[name]["shape"] = {int64_t{1} << 32, int64_t{1} << 32, 32};
       }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: tensor "
       "'model.norm.weight': its shape is too large"},
      {"ckpt-shape-negative", "a negative shape", header([=](nlohmann::json& h) { h[name]["shape"] = {-32}; }), sample,
       3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: tensor "
       "'model.norm.weight': shape holds something that is not a size"},
      {"ckpt-shape-type", "a shape of words", header([=](nlohmann::json& h) { h[name]["shape"] = {"32"}; }), sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: tensor "
       "'model.norm.weight': shape holds something that is not a size"},
      {"ckpt-dtype", "a type of numbers that is none", header([=](nlohmann::json& h) { h[name]["dtype"] = "F31"; }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: not a valid safetensors file: tensor "
       "'model.norm.weight': unknown dtype \"F31\""},
      {"ckpt-dtype-int", "whole numbers as weights", header([=](nlohmann::json& h) { h[name]["dtype"] = "I32"; }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003/model.safetensors: tensor 'model.norm.weight' is stored as I32, expected "
       "F32"},
      {"ckpt-tensor-missing", "a tensor of another name",
       header([=](nlohmann::json& h) { h["model.norm.wait"] = h[name], h.erase(name); }), sample, 3,
       "govtrain: error: run/ckpt/step-000003: [import] these tensors are not of this model:\n  'model.norm.weight' "
       "[32] is missing"},
      {"ckpt-no-config", "no config.json", [](const Damage& d) { d.remove(last + "config.json"); }, sample, 3,
       "govtrain: error: open run/ckpt/step-000003/config.json: No such file or directory"},
      {"ckpt-config", "a config.json that is not JSON", [](const Damage& d) { d.cut(last + "config.json", 40); },
       sample, 3, "govtrain: error: run/ckpt/step-000003: [config.json] expected a JSON object, got something else"},
      {"ckpt-config-type", "a width that is a word", config([](nlohmann::json& c) { c["hidden_size"] = "wide"; }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003: [config.json] 'hidden_size'; expected an integer, got \"wide\""},
      {"ckpt-config-arch", "a model of another architecture",
       config([](nlohmann::json& c) { c["model_type"] = "mamba", c["architectures"] = {"MambaForCausalLM"}; }), sample,
       3,
       "govtrain: error: run/ckpt/step-000003: [config.json] 'model_type'; expected gpt2, llama or govtrain, got "
       "\"mamba\""},
      {"ckpt-config-other", "the config.json of a wider model",
       config([](nlohmann::json& c) { c["hidden_size"] = 64, c["head_dim"] = 32; }), sample, 3,
       "govtrain: error: run/ckpt/step-000003: [config.json] a model of 74176 parameters, but model.safetensors holds "
       "28896"},
      {"ckpt-config-layers", "the config.json of a deeper model",
       config([](nlohmann::json& c) { c["num_hidden_layers"] = 3; }), sample, 3,
       "govtrain: error: run/ckpt/step-000003: [config.json] a model of 39200 parameters, but model.safetensors holds "
       "28896"},
      {"ckpt-config-huge", "the config.json of a model that no memory holds", config([](nlohmann::json& c) {
         c["hidden_size"] = 131072, c["num_hidden_layers"] = 1024, c["num_attention_heads"] = 1024;
         c["num_key_value_heads"] = 1024, c["head_dim"] = 128;
       }),
       sample, 3,
       "govtrain: error: run/ckpt/step-000003: [config.json] a model of 70394816364544 parameters, but "
       "model.safetensors holds 28896"},
      {"ckpt-no-tokenizer", "no tokenizer", [](const Damage& d) { d.remove(last + "tokenizer.bytes"); }, sample, 3,
       "govtrain: error: run/ckpt/step-000003: no tokenizer; expected tokenizer.model (sentencepiece) or "
       "tokenizer.bytes"},
      {"ckpt-tokenizer", "a tokenizer that is none",
       [](const Damage& d) { d.write(last + "tokenizer.bytes", "nothing"); }, sample, 3,
       "govtrain: error: run/ckpt/step-000003/tokenizer.bytes: not a byte tokenizer of version 1"},
      {"ckpt-eval-width", "a checkpoint of another vocabulary",
       config([](nlohmann::json& c) { c["vocab_size"] = 300; }), "govtrain eval config.yaml", 3,
       "govtrain: error: run/ckpt/step-000003: [config.json] a model of 30240 parameters, but model.safetensors holds "
       "28896"},
  };
}

std::vector<BadInput> for_resuming() {
  return {
      {"resume-missing", "a checkpoint that is not there", [](const Damage&) {},
       "govtrain run config.yaml --resume run/ckpt/step-000009", 3,
       "govtrain: error: run/ckpt/step-000009 is not a complete checkpoint: open run/ckpt/step-000009/DONE: No such "
       "file or directory"},
      {"resume-no-done", "a checkpoint that was never finished", [](const Damage& d) { d.remove(middle + "DONE"); },
       resume, 3,
       "govtrain: error: run/ckpt/step-000002 is not a complete checkpoint: open run/ckpt/step-000002/DONE: No such "
       "file or directory"},
      {"resume-done", "a DONE file that is none", [](const Damage& d) { d.write(middle + "DONE", "yes\n"); }, resume, 3,
       "govtrain: error: run/ckpt/step-000002/DONE: expected '<sha256>  <name>', got 'yes'"},
      {"resume-done-path", "a DONE file that leads out of the folder",
       [](const Damage& d) {
         d.append(middle + "DONE",
                  "0000000000000000000000000000000000000000000000000000000000000000  ../../../tiny.key\n");
       },
       resume, 3,
       "govtrain: error: run/ckpt/step-000002/DONE: expected '<sha256>  <name>', got '<digest>  ../../../tiny.key'"},
      {"resume-flip", "one bit of the weights flipped",
       [](const Damage& d) { d.flip(middle + "model.safetensors", 50000); }, resume, 3,
       "govtrain: error: run/ckpt/step-000002/model.safetensors: expected sha256 <digest>, got <digest>; the file was "
       "changed or damaged"},
      {"resume-no-optimizer", "no optimizer state", [](const Damage& d) { d.remove(middle + "optimizer.safetensors"); },
       resume, 3,
       "govtrain: error: open run/ckpt/step-000002/optimizer.safetensors: No such file or directory (named by DONE)"},
      {"resume-no-optimizer-sealed", "no optimizer state, and DONE does not ask for it",
       sealed([](const Damage& d) { d.remove(middle + "optimizer.safetensors"); }), resume, 3,
       "govtrain: error: run/ckpt/step-000002: DONE does not name optimizer.safetensors"},
      {"resume-optimizer-tensor", "an optimizer state without one of its tensors", sealed([](const Damage& d) {
         d.safetensors_header(middle + "optimizer.safetensors", [](nlohmann::json& h) {
           nlohmann::json renamed = nlohmann::json::object();
           bool first = true;
           for (const auto& [key, value] : h.items()) {
             renamed[first && key != "__metadata__" ? "other" : key] = value;
             if (key != "__metadata__") first = false;
           }
           h = renamed;
         });
       }),
       resume, 3,
       "govtrain: error: run/ckpt/step-000002 does not fit this configuration: [optimizer] this state is not of this "
       "model and optimizer:\n  'model.embed_tokens.weight.exp_avg' is missing"},
      {"resume-state", "a trainer state that is not JSON",
       sealed([](const Damage& d) { d.cut(middle + "trainer_state.json", 100); }), resume, 3,
       "govtrain: error: run/ckpt/step-000002/trainer_state.json: expected JSON"},
      {"resume-state-version", "a trainer state of a later version",
       state([](nlohmann::json& s) { s["format"] = "govtrain trainer state 9"; }), resume, 3,
       "govtrain: error: run/ckpt/step-000002/trainer_state.json: expected format 'govtrain trainer state 1', got "
       "\"govtrain trainer state 9\"; use the version that wrote it"},
      {"resume-state-missing", "a trainer state without its step", state([](nlohmann::json& s) { s.erase("step"); }),
       resume, 3, "govtrain: error: run/ckpt/step-000002/trainer_state.json: key 'step' not found"},
      {"resume-state-type", "a trainer state with a word as step", state([](nlohmann::json& s) { s["step"] = "two"; }),
       resume, 3,
       "govtrain: error: run/ckpt/step-000002/trainer_state.json: [state] 'step' is \"two\"; expected a whole number "
       "from 0 on"},
      {"resume-state-negative", "a trainer state of step -1", state([](nlohmann::json& s) { s["step"] = -1; }), resume,
       3,
       "govtrain: error: run/ckpt/step-000002/trainer_state.json: [state] 'step' is -1; expected a whole number from 0 "
       "on"},
      {"resume-state-cursor", "a trainer state far behind the end of the data",
       state([](nlohmann::json& s) { s["cursor"] = 1000000; }), resume, 3,
       "govtrain: error: run/ckpt/step-000002: [data] the sampler cannot continue at place 1000000 of epoch 0; "
       "expected less than the 10 examples of an epoch. The checkpoint belongs to other data, another context or "
       "another policy"},
      {"resume-state-date", "a trainer state of no day", state([](nlohmann::json& s) { s["policy_date"] = "soon"; }),
       resume, 3, "govtrain: error: run/ckpt/step-000002: policy_date is not a date"},
      {"resume-state-clocks", "a trainer state with a word as count of optimizer steps",
       state([](nlohmann::json& s) { s["optimizer_steps"]["model.norm.weight"] = "often"; }), resume, 3,
       "govtrain: error: run/ckpt/step-000002/trainer_state.json: type must be array, but is string"},
      {"resume-state-log", "a trainer state that says another length of the log",
       state([](nlohmann::json& s) { s["log_size"] = 5; }), resume, 4,
       "govtrain: error: run/ckpt/step-000002: its note covers 18 records, its state says 5"},
      {"resume-shape", "weights of another shape", sealed([](const Damage& d) {
         d.safetensors_header(middle + "model.safetensors", [](nlohmann::json& h) {
           h["model.embed_tokens.weight"]["shape"] = {32, 258};
         });
       }),
       resume, 3,
       "govtrain: error: run/ckpt/step-000002 does not fit this configuration: [import] these tensors are not of this "
       "model:\n  'model.embed_tokens.weight': expected [258, 32], got [32, 258]"},
      {"resume-config", "another learning rate", [](const Damage&) {}, resume + " optim.lr=2e-3", 2,
       "govtrain: error: run/ckpt/step-000002 was made with another configuration; resuming would not continue that "
       "run"},
      {"resume-policy", "another policy",
       [](const Damage& d) { d.edit("policy.yaml", "first 1 layers: 1", "first 1 layers: 0.5"); }, resume, 2,
       "govtrain: error: run/ckpt/step-000002 was made under policy tiny@a5ce91bf, found tiny@fd6246e4; resume with "
       "the same policy or start another run"},
      {"resume-data", "other documents", [](const Damage& d) { d.edit("corpus.jsonl", "owls", "cats"); }, resume, 2,
       "govtrain: error: run/ckpt/step-000002 was made with prepared data <digest>, found <digest>; the inputs have "
       "changed",
       true},
      {"resume-date", "another day", [](const Damage&) {}, resume + " policy.date=2026-02-02", 2,
       "govtrain: error: policy.date is 2026-02-02, but run/ckpt/step-000002 was made on 2026-01-01; a run keeps its "
       "date"},
  };
}

}  // namespace

BadInputs bad_checkpoints() {
  BadInputs out{
      "Checkpoints",
      "`sample` and `eval` read the weights; `run --resume` reads everything, and first checks each file against the\n"
      "digests in DONE. For the rows about `trainer_state.json`, shapes and tensors DONE was made to agree.",
      {}};
  for (const auto& rows : {for_inference(), for_resuming()}) out.rows.insert(out.rows.end(), rows.begin(), rows.end());
  return out;
}

}  // namespace govtrain_test
