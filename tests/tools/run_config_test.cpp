// The run configuration: its schema binds every member, defaults make sense, and each impossible combination is found.
#include "tools/govtrain/config/run_config.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/tools/run_binary.h"

using namespace govtrain;  // NOLINT
using Catch::Contains;

namespace {

const std::vector<std::string> base = {"run.out=out/a",  "data.inputs=[a]", "data.cache=cache",   "model.layers=2",
                                       "model.width=64", "model.heads=4",   "policy.file=p.yaml", "train.steps=10"};

std::string errors(std::vector<std::string> more) {
  more.insert(more.begin(), base.begin(), base.end());
  const auto file = read_run_config("", more);
  CHECK((file->diagnostics.errors() > 0) == !file->diagnostics.render().empty());
  return file->diagnostics.render();
}

}  // namespace

TEST_CASE("the least configuration is accepted", "[config]") { CHECK(errors({}).empty()); }

TEST_CASE("every combination that cannot work is found", "[config]") {
  const auto check = [](const std::vector<std::string>& given, const std::string& message) {
    const std::string found = errors(given);
    INFO(found);
    CHECK_THAT(found, Contains("error: " + message));
    CHECK(std::count(found.begin(), found.end(), '\n') == 3);  // and nothing else is reported
  };
  check({"probe.file=a.txt"}, "probe.file belongs to a probe set, but probe.examples is 0");
  check({"probe.alpha=2"}, "probe.alpha belongs to a probe set");
  check({"probe.reference_step=2"}, "probe.reference_step belongs to a probe set");
  check({"model.heads=5"}, "model.width 64 is not a multiple of model.heads 5");
  check({"model.kv_heads=3"}, "model.heads 4 is not a multiple of model.kv_heads 3");
  check({"model.width=60", "model.heads=4"}, "positions 'rope' turns pairs, but a head has 15 channels");
  check({"train.tokens_per_step=255"}, "train.tokens_per_step 255 is less than data.context 256");
  check({"data.context=8193"}, "train.tokens_per_step 8192 is less than data.context 8193");
  check({"train.micro_batch_tokens=1"}, "train.micro_batch_tokens 1 is less than data.context 256");
  check({"data.tokenizer.vocab_size=299"}, "data.tokenizer.vocab_size 299 is out of range for sentencepiece");
  check({"optim.min_lr=2e-3"}, "optim.min_lr 0.002 is greater than optim.lr 0.001");
  check({"optim.warmup_steps=10"}, "optim.warmup_steps 10 leaves nothing of train.steps 10");
  check({"optim.betas=[0.9]"}, "optim.betas needs two numbers, found 1");
  check({"optim.betas=[0.9, 1]"}, "optim.betas must be less than 1");
  check({"optim.nesterov=true"}, "optim.nesterov needs optim.kind sgd");
  check({"optim.momentum=0.9"}, "optim.momentum belongs to sgd; optim.kind is adamw");
  check({"eval.every=5", "data.validation_fraction=0"}, "eval.every needs a validation split");
  check({"sample.every=5"}, "sample.every is set, but sample.prompts is empty");
  check({"run.out=cache/x"}, "run.out cache/x lies inside data.cache cache");
  check({"run.out=./cache/"}, "run.out ./cache/ lies inside data.cache cache");
  check({"lineage.key=out/a/k"}, "lineage.key out/a/k lies inside run.out out/a");
  check({"run.name=a b"}, "run.name must be a file name");
  check({"run.name="}, "run.name must be a file name");
  check({"lineage.origin=a+b"}, "lineage.origin must not have spaces or '+'");
  check({"policy.date=2025-02-29"}, "policy.date '2025-02-29' is no day");
  check({"policy.date=2025-2-9"}, "policy.date '2025-2-9' is no day");
  check({"policy.file="}, "policy.file is required");
  check({"run.resume="}, "run.resume is empty");
}

TEST_CASE("a GPU is no misspelt CPU", "[config]") {
  CHECK_THAT(errors({"run.device=gpu"}), Contains("did you mean 'cuda'?"));
  CHECK_THAT(errors({"run.device=GPU"}), Contains("did you mean 'cuda'?"));
  CHECK_THAT(errors({"run.device=cpus"}), Contains("did you mean 'cpu'?"));
}

TEST_CASE("near misses are accepted", "[config]") {
  for (const std::vector<std::string>& given :
       std::vector<std::vector<std::string>>{{"model.kv_heads=2"},
                                             {"model.width=60", "model.positions=learned"},
                                             {"train.tokens_per_step=256", "train.micro_batch_tokens=256"},
                                             {"data.tokenizer.kind=bytes", "data.tokenizer.vocab_size=1"},
                                             {"optim.schedule=constant", "optim.min_lr=1"},
                                             {"optim.kind=sgd", "optim.momentum=0.9", "optim.nesterov=true"},
                                             {"optim.warmup_steps=9"},
                                             {"run.out=cache2"},
                                             {"run.out=a", "data.cache=a/cache"},
                                             {"policy.date=2024-02-29"},
                                             {"policy.file=", "train.routing=false"}})
    CHECK(errors(given).empty());
}

TEST_CASE("all problems come at once, each at the line that the user wrote", "[config]") {
  const std::string folder = govtrain_test::fresh_folder("run_config");
  govtrain_test::write_text(folder + "/c.yaml",
                            "run: {out: o}\ndata: {inputs: [a], cache: c}\npolicy: {file: p}\n"
                            "model: {layers: 1, width: 10, heads: 3}\ntrain:\n  steps: 5\n  tokens_per_step: 9\n"
                            "optim: {warmup_steps: 5, lr: -1}\n");
  const auto file = read_run_config(folder + "/c.yaml", {});
  const std::string found = file->diagnostics.render();
  CHECK(file->diagnostics.errors() == 4);
  for (const char* place : {"c.yaml:4:38: error: model.width 10", "c.yaml:7:20: error: train.tokens_per_step 9",
                            "c.yaml:8:23: error: optim.warmup_steps 5", "c.yaml:8:30: error: 'optim.lr'"})
    CHECK_THAT(found, Contains(place));
}

TEST_CASE("paths start at the file that gives them", "[config]") {
  const std::string folder = govtrain_test::fresh_folder("run_config_paths");
  govtrain_test::write_text(folder + "/sub/c.yaml",
                            "run: {name: n, out: ../o, resume: ckpt/step-1}\ndata: {inputs: [a, /b], cache: c}\n"
                            "policy: {file: p}\nmodel: {layers: 1, width: 8, heads: 2}\ntrain: {steps: 5}\n");
  const RunConfig config = read_run_config(folder + "/sub/c.yaml", {})->config;
  CHECK(config.run.out == folder + "/o");
  CHECK(config.run.resume == folder + "/sub/ckpt/step-1");
  CHECK(config.data.inputs == std::vector<std::string>{folder + "/sub/a", "/b"});
  CHECK(config.key_path() == folder + "/n.key");
  CHECK(read_run_config(folder + "/sub/c.yaml", {"run.out=a/."})->config.key_path() == "n.key");
  CHECK(read_run_config(folder + "/sub/c.yaml", {"run.out=a/b/"})->config.key_path() == "a/n.key");
  CHECK(read_run_config(folder + "/sub/c.yaml", {"run.out=."})->config.key_path() == "../n.key");
  CHECK(config.log_origin() == "govtrain.local/n");
  CHECK(read_run_config(folder + "/sub/c.yaml", {"run.resume=auto"})->config.run.resume == "auto");
  CHECK(read_run_config(folder + "/sub/c.yaml", {"run.resume=x"})->config.run.resume == "x");
}

TEST_CASE("the resolved configuration, written to the run folder, reads back to the same places", "[config]") {
  const std::string folder = govtrain_test::fresh_folder("run_config_resolved");
  const std::string out = folder + "/out/a";
  const auto file = read_run_config(
      "", {"run.out=" + out, "data.inputs=[" + folder + "/x.jsonl, /etc/y]", "data.cache=" + folder + "/cache",
           "model.layers=2", "model.width=64", "model.heads=4", "policy.file=" + folder + "/p.yaml", "train.steps=10",
           "run.resume=" + out + "/ckpt/step-1", "optim.lr=3e-4"});
  REQUIRE(file->diagnostics.render().empty());
  const std::string yaml = resolved_yaml(file->config, out);
  CHECK_THAT(yaml, Contains("cache: \"../../cache\"") && Contains("resume: \"ckpt/step-1\"") && Contains("out: \".\""));
  govtrain_test::write_text(out + "/config.yaml", yaml);
  const auto again = read_run_config(out + "/config.yaml", {});
  CHECK(again->diagnostics.render().empty());
  RunConfig same = again->config;
  CHECK(same.run.out == out + "/");  // the folder itself
  same.run.out = out;
  CHECK(resolved_json(same) == resolved_json(file->config));
  CHECK(nlohmann::json::parse(resolved_json(file->config))["model"]["width"] == 64);
}

TEST_CASE("every key has a sentence that explains it", "[config]") {
  const RunConfigFile file;
  for (const auto& field : file.schema.fields()) {
    INFO(field.key);
    CHECK(field.options.doc.size() > 8);
    CHECK(field.options.doc.back() == '.');
  }
}
