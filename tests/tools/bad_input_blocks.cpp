// Rows: the division into blocks, its files, and the verbs that show and learn them.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

const std::string run = "govtrain run config.yaml run.out=new policy.file=all.yaml";
const std::string selectors = run + " blocks.by=selectors blocks.file=blocks.yaml";

// A policy that fits any blocks, and blocks.yaml with this list.
std::function<void(const Damage&)> list(const std::string& blocks) {
  return [=](const Damage& d) {
    d.write("all.yaml", "policy: all\nversion: 1\ndefault: full\nprofiles: {full: {all: 1}}\n");
    d.write("blocks.yaml", "blocks: b\nversion: 1\nlist:\n" + blocks);
  };
}

std::function<void(const Damage&)> learned(const std::string& text) {
  return [=](const Damage& d) {
    list("")(d);
    d.write("learned.json", text);
  };
}

const std::string two = "  - {name: a, owns: {heads: 0}}\n  - {name: b, owns: ";

}  // namespace

BadInputs bad_blocks() {
  const std::string at = "govtrain blocks learn config.yaml --out learned.json";
  return {
      "Blocks",
      "`blocks:` in `config.yaml`, the list `blocks.yaml`, and the learned file `learned.json`.",
      {
          {"blocks-by", "a granularity that does not exist", list(""), run + " blocks.by=heads", 2,
           "command line, argument 3: error: 'blocks.by': expected one of layer, group, position, role, head, "
           "channels, tensor, selectors, learned, found 'heads'"},
          {"blocks-no-file", "selectors without a file", list(""), run + " blocks.by=selectors", 2,
           "command line, argument 3: error: blocks.by selectors needs blocks.file"},
          {"blocks-file-missing", "a file that is not there", list(""),
           run + " blocks.by=selectors blocks.file=absent.yaml", 2,
           "command line, argument 4: error: cannot read absent.yaml: No such file or directory"},
          {"blocks-unused", "a key that the granularity does not use", list(""), run + " blocks.ranges=3", 2,
           "command line, argument 3: error: blocks.ranges belongs to blocks.by channels; blocks.by is layer"},
          {"blocks-group-layers", "groups of no layers", list(""), run + " blocks.by=group blocks.group_layers=0", 2,
           "command line, argument 4: error: 'blocks.group_layers': must be >= 1 and <= 1024, found 0"},
          {"blocks-ranges", "more ranges than channels", list(""), run + " blocks.by=channels blocks.ranges=65", 2,
           "command line, argument 4: error: blocks.ranges: 65 ranges of 64 channels would be empty"},
          {"blocks-shares", "shares that do not add up", list(""),
           run + " blocks.by=position 'blocks.shares=[a 50%, b 60%]'", 2,
           "command line, argument 4: error: blocks.shares: the shares add up to 110%; expected 100%"},
          {"blocks-list-empty", "an empty list", list("  []\n"), selectors, 2,
           "blocks.yaml:4:3: error: 'list' must be a list of blocks, found an empty one"},
          {"blocks-gap", "parameters that no block owns", list("  - {name: a, owns: {role: embedding}}\n"), selectors,
           2,
           "blocks.yaml:4:3: error: no block owns model.layers.0.input_layernorm.weight: all of it; "
           "model.layers.0.self_attn.q_proj.weight: all of it; model.layers.0.self_attn.k_proj.weight: all of it; "
           "model.layers.0.self_attn.v_proj.weight: all of it; model.layers.0.self_attn.o_proj.weight: all of it; "
           "model.layers.0.post_attention_layernorm.weight: all of it; model.layers.0.mlp.gate_proj.weight: all of it; "
           "model.layers.0.mlp.up_proj.weight: all of it; model.layers.0.mlp.down_proj.weight: all of it; "
           "model.layers.1.input_layernorm.weight: all of it; model.layers.1.self_attn.q_proj.weight: all of it; "
           "model.layers.1.self_attn.k_proj.weight: all of it; and 7 more"},
          {"blocks-overlap", "rows that two blocks own",
           list("  - {name: a, owns: rest}\n  - {name: b, owns: {role: embedding, rows: 0-9}}\n"
                "  - {name: c, owns: {role: embedding, rows: 8-20}}\n"),
           selectors, 2,
           "blocks.yaml:6:21: error: block 'c' takes what block 'b' owns already (blocks.yaml:5:21): "
           "model.embed_tokens.weight: rows 8-9, all columns"},
          {"blocks-heads", "a head that the model does not have", list(two + "{heads: 2}}\n"), selectors, 2,
           "blocks.yaml:5:29: error: model.layers.0.self_attn.q_proj.weight has heads 0 to 1"},
          {"blocks-range", "a range that runs backwards", list(two + "{rows: 9-3}}\n"), selectors, 2,
           "blocks.yaml:5:28: error: rows: '9-3' is no range"},
          {"blocks-role", "a role that does not exist", list(two + "{role: router}}\n"), selectors, 2,
           "blocks.yaml:5:21: error: no parameter has the role 'router'"},
          {"blocks-part", "a policy that means a part of a block", list(""),
           "govtrain run config.yaml run.out=new blocks.by=group", 2,
           "policy.yaml:8:5: error: profile 'shallow': this takes only a part of block layer.0-1, which owns layer.0, "
           "layer.1"},
          {"blocks-learned-format", "a learned file of another version",
           learned("{\"format\": \"govtrain-learned-blocks\", \"version\": 9}\n"),
           run + " blocks.by=learned blocks.file=learned.json", 2,
           "learned.json:1:1: error: expected govtrain-learned-blocks version 1, found 'govtrain-learned-blocks' "
           "version 9"},
          {"blocks-learned-list", "a list of blocks in place of a learned file",
           learned("blocks: b\nversion: 1\nlist: [{name: all, owns: rest}]\n"),
           run + " blocks.by=learned blocks.file=learned.json", 2,
           "learned.json:1:1: error: this is a block file; expected a file of learned blocks"},
          {"blocks-list-learned", "a learned file in place of a list of blocks",
           learned("{\"format\": \"govtrain-learned-blocks\", \"version\": 1}\n"),
           run + " blocks.by=selectors blocks.file=learned.json", 2,
           "learned.json:1:1: error: this is a file of learned blocks; expected a block file"},
          {"blocks-learned-binary", "weights in place of a learned file",
           [](const Damage& d) {
             list("")(d);
             d.copy("run/ckpt/step-000003/model.safetensors", "learned.json");
           },
           run + " blocks.by=learned blocks.file=learned.json", 2,
           "learned.json:1:1: error: the byte 0xe8 is not valid UTF-8"},
          {"blocks-learn-exists", "a file that would be overwritten", learned("{}\n"), at, 2,
           "govtrain: error: learned.json exists; name another file"},
          {"blocks-learn-key", "a key that no document has", list(""), at + " --key colour", 3,
           "govtrain: error: 0 of 512 examples have a value of 'colour', of 0 classes; expected two classes or more; "
           "choose another --key ('govtrain data stats' lists them)",
           true},
          {"blocks-learn-unit", "a unit that cannot be measured", list(""), at + " --unit layer", 2,
           "govtrain: error: --unit: layer not in {role,head,channels,tensor}"},
          {"blocks-learn-many", "more blocks than units", list(""), at + " --blocks 99", 2,
           "govtrain: error: --blocks: expected at most 8, the number of units, got 99", true},
      }};
}

}  // namespace govtrain_test
