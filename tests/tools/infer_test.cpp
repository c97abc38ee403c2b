// The policy of a run at inference, through the real program: what is refused, what is cut, what is allowed with the
// same bits as without a policy, and what of it is in the log, whatever the run does afterwards.
#include "tools/govtrain/train/infer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "lineage/log_format.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/text_samples.h"

using namespace govtrain;
using govtrain::testing::TinyRun;
using nlohmann::json;

namespace {

std::string policy_text(const std::string& version, const std::string& free_profile) {
  return "policy: tiny\nversion: " + version +
         "\ndefault: none\nprofiles:\n  full: {all: 1}\n  shallow: {embedding: 1, layer.0: 0.5, rest: 0}\nrules:\n"
         "  - {name: free, when: {license: MIT}, profile: " +
         free_profile +
         "}\n  - {name: copyleft, when: {license: GPL-3.0-only}, profile: shallow}\n"
         "  - {name: wire, when: {license: LicenseRef-Wire}, profile: full, until: 2026-07-01}\n"
         "  - {name: shout, when: {class: shout}, profile: none}\n"
         "exclusions:\n  - {source: \"forum:*\"}\n";
}

struct Sampled {
  int status;
  std::string output;
};

Sampled sample(const TinyRun& tiny, const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> arguments = {"sample", tiny.path(model), "--tokens", "20", "--seed", "3"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::filesystem::remove(tiny.path("sample.log"));
  const int status = tiny.program(arguments, "sample.log");
  return {status, tiny.read("sample.log")};
}

bool says(const Sampled& sampled, const std::string& text) { return sampled.output.find(text) != std::string::npos; }

std::vector<json> infers(const TinyRun& tiny, const std::string& run) {
  std::vector<json> out;
  for (const std::string& leaf : tiny.log(run).leaves) {
    if (leaf_kind(leaf).value() == "infer") out.push_back(json::parse(leaf));
  }
  return out;
}

const std::vector<std::string> short_run = {"train.steps=4", "save.every=2"};

}  // namespace

TEST_CASE("a prompt is judged like a document of the corpus: allowed, refused by rule, by list and by day", "[infer]") {
  const TinyRun tiny;
  std::ofstream(tiny.path("policy.yaml")) << policy_text("1", "full");
  REQUIRE(tiny.run("corpus", "run", short_run) == 0);
  INFO(tiny.read("run.log"));
  std::filesystem::copy(tiny.path("run/ckpt/step-000004"), tiny.path("bare"), std::filesystem::copy_options::recursive);
  const std::string prompt = "the block of";

  const Sampled bare = sample(tiny, "bare", {"--prompt", prompt});
  CHECK(bare.status == exit_ok);
  CHECK(says(bare, "no policy was asked, and nothing is logged"));
  const size_t at = bare.output.find(prompt);
  REQUIRE(at != std::string::npos);
  const std::string text = bare.output.substr(at, bare.output.find('\n', at) - at);
  CHECK(text.size() > prompt.size());
  CHECK(sample(tiny, "bare", {"--meta", "license=MIT"}).status == exit_usage);
  CHECK(infers(tiny, "run").empty());

  const Sampled unknown = sample(tiny, "run", {"--prompt", prompt});
  CHECK(unknown.status == exit_ok);
  CHECK(says(unknown, text));
  CHECK(says(unknown, "nothing is known of the prompt"));
  const Sampled allowed = sample(tiny, "run/ckpt/step-000004", {"--prompt", prompt, "--meta", "license=MIT"});
  CHECK(allowed.status == exit_ok);
  CHECK(allowed.output.substr(0, text.size()) == text);
  CHECK_FALSE(says(allowed, "note:"));

  const Sampled odd = sample(tiny, "run", {"--prompt", prompt, "--meta", "license=LicenseRef-Odd"});
  CHECK(odd.status == exit_refused);
  CHECK(says(odd, "does not admit the prompt: default: no rule matches license 'LicenseRef-Odd'"));
  CHECK_FALSE(says(odd, prompt));
  const Sampled forum = sample(tiny, "run", {"--prompt", prompt, "--meta", "license=MIT", "--meta", "source=forum:7"});
  CHECK(forum.status == exit_refused);
  CHECK(says(forum, "exclusion"));
  const std::vector<std::string> wire = {"--prompt", prompt, "--meta", "license=LicenseRef-Wire", "--date"};
  const auto on = [&](const std::string& day) {
    std::vector<std::string> all = wire;
    all.push_back(day);
    return sample(tiny, "run", all);
  };
  CHECK(on("2026-06-30").status == exit_ok);
  const Sampled expired = on("2026-07-01");
  CHECK(expired.status == exit_refused);
  CHECK(says(expired, "on 2026-07-01 does not admit the prompt: rule wire: matches, but expired on 2026-07-01"));
  CHECK(on("yesterday").status == exit_usage);

  const std::vector<json> records = infers(tiny, "run");
  std::vector<std::string> decisions;
  for (const json& r : records) decisions.push_back(r.at("decision"));
  CHECK(decisions == std::vector<std::string>{"unjudged", "allowed", "refused", "refused", "allowed", "refused"});
  REQUIRE(records.size() == 6);
  CHECK(records[0].at("prompt") == records[5].at("prompt"));
  CHECK(records[0].at("text") == records[1].at("text"));
  CHECK(records[1].at("text").at("tokens") == 20);
  CHECK(records[5].at("text").at("tokens") == 0);
  CHECK(records[5].at("rule") == "rule wire");
  CHECK(records[5].at("day") == "2026-07-01");
  CHECK(records[1].at("meta") == json{{"license", "MIT"}});
  for (const json& r : records) {
    CHECK(r.dump().find(prompt) == std::string::npos);
    CHECK(r.at("model") == "sha256:" + tiny.final_sha256("run", "model.safetensors"));
  }
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "verify.log") == 0);
  CHECK(tiny.program({"lineage", "show", tiny.path("run"), "--story"}, "story.log") == 0);
  CHECK(tiny.read("story.log").find("0 tokens after a prompt of 12, refused by rule wire") != std::string::npos);
}

TEST_CASE("a newer version of the policy answers, another one does not; what one prompt says leaves others alone",
          "[infer]") {
  const TinyRun tiny;
  std::ofstream(tiny.path("policy.yaml")) << policy_text("1", "full");
  REQUIRE(tiny.run("corpus", "run", short_run) == 0);
  std::ofstream(tiny.path("newer.yaml")) << policy_text("2", "none");
  std::ofstream(tiny.path("same.yaml")) << policy_text("1", "full");
  std::ofstream(tiny.path("changed.yaml")) << policy_text("1", "none");
  std::ofstream(tiny.path("other.yaml")) << "policy: other\nversion: 2\ndefault: full\nprofiles: {full: {all: 1}}\n";
  const auto by = [&](const std::string& policy) {
    return sample(tiny, "run", {"--prompt", "the", "--meta", "license=MIT", "--policy", tiny.path(policy)});
  };
  CHECK(by("same.yaml").status == exit_ok);
  const Sampled newer = by("newer.yaml");
  CHECK(newer.status == exit_refused);
  CHECK(says(newer, "does not admit the prompt: rule free"));
  CHECK(says(by("changed.yaml"), "has version '1', which is not newer than the run's '1'"));
  CHECK(says(by("other.yaml"), "is the policy 'other'; expected one named 'tiny'"));
  CHECK(infers(tiny, "run").size() == 2);
  CHECK(infers(tiny, "run")[0].at("policy") != infers(tiny, "run")[1].at("policy"));

  // The digest of a text is known whatever else is not.
  std::ofstream(tiny.path("listed.yaml"))
      << policy_text("2", "full") + "  - {digest: " + hex(sha256("model weight")) + "}\n";
  const Sampled two =
      sample(tiny, "run", {"--prompt", "model weight", "--prompt", "the", "--policy", tiny.path("listed.yaml")});
  CHECK(two.status == exit_refused);
  CHECK(says(two, "does not admit prompt 1: exclusion"));
  CHECK(says(two, "nothing is known of prompt 2"));
  const Sampled alone = sample(tiny, "run", {"--prompt", "model", "--prompt", "the"});
  const size_t at = alone.output.find("\n\nthe");
  REQUIRE(at != std::string::npos);
  const std::string second = alone.output.substr(at + 2, alone.output.find('\n', at + 2) - at - 2);
  CHECK(says(two, second));  // its draws are keyed by its own place
}

TEST_CASE("with a classification a text ends before what is not admitted, with the bits of a text without a policy",
          "[infer]") {
  const TinyRun tiny;
  FileSystem& fs = real_file_system();
  std::ofstream(tiny.path("policy.yaml")) << policy_text("1", "full");
  std::ofstream(tiny.path("classes.yaml"))
      << "classification: loud\nversion: 1\nclasses: [manual, uncertain, shout]\nsources:\n  - metadata: class\n"
         "  - rules:\n      - {name: z, line: \"*Z*\", class: shout}\n";
  std::vector<std::string> settings = short_run;
  settings.push_back("policy.classification=" + tiny.path("classes.yaml"));
  REQUIRE(tiny.run("corpus", "run", settings) == 0);
  INFO(tiny.read("run.log"));
  const std::string folder = tiny.path("run/ckpt/step-000004");
  Backend& backend = cpu_backend();
  const auto model = load_model(fs, folder).value();
  const auto tokenizer = load_tokenizer_from(fs, folder).value();
  GenerateOptions options;
  options.temperature = 20;  // nearly uniform
  options.max_new_tokens = 200;
  std::vector<TextSample> free;
  do {  // a text with a Z, but not at once
    REQUIRE(++options.seed < 100);
    free = write_text(*model, backend, *tokenizer, {"the", "of"}, options);
  } while (free[0].text.find('Z') == std::string::npos || free[0].text.find('Z') < 100);

  Inference policy(fs, tiny.path("run"), folder, *model, {"", "", {{"license", "MIT"}}});
  CHECK(policy.classifies());
  std::vector<TextVerdict> verdicts(2);
  const auto judge = [&](size_t j, const std::string& text) {
    verdicts[j] = policy.judge(text);
    return verdicts[j].admitted;
  };
  const auto held = write_text(*model, backend, *tokenizer, {"the", "of Z"}, options, judge, true);
  CHECK(held[0].stopped);
  CHECK_FALSE(held[0].refused);
  CHECK(held[0].tokens % static_cast<int64_t>(judged_every) == 0);
  CHECK(held[0].tokens < free[0].tokens);
  CHECK(held[0].text.find('Z') == std::string::npos);
  CHECK(verdicts[0].rule == "rule shout");
  CHECK(held[1].refused);
  CHECK(held[1].text.empty());
  policy.log(held, verdicts);
  options.max_new_tokens = held[0].tokens;
  CHECK(write_text(*model, backend, *tokenizer, {"the"}, options)[0].text == held[0].text);
  options.max_new_tokens = held[0].tokens + static_cast<int64_t>(judged_every);
  CHECK(write_text(*model, backend, *tokenizer, {"the"}, options)[0].text.find('Z') != std::string::npos);
  options.max_new_tokens = held[0].tokens;  // what is allowed to its end
  const auto whole = write_text(*model, backend, *tokenizer, {"the"}, options, judge, true);
  CHECK_FALSE(whole[0].stopped);
  CHECK(whole[0].text == held[0].text);
  const std::vector<json> records = infers(tiny, "run");
  REQUIRE(records.size() == 2);
  CHECK(records[0].at("decision") == "restricted");
  CHECK(records[0].at("classes") == std::vector<std::string>{"shout"});
  CHECK(records[1].at("decision") == "refused");
}

TEST_CASE("a run goes on after texts were written as if none had been, and their records stay", "[infer]") {
  const TinyRun tiny;
  std::ofstream(tiny.path("policy.yaml")) << policy_text("1", "full");
  const std::vector<std::string> settings = {"train.steps=6", "save.every=2", "save.keep_last=9"};
  REQUIRE(tiny.run("corpus", "whole", settings) == 0);
  std::vector<std::string> first = settings;
  first.push_back("train.max_minutes=0.000001");
  REQUIRE(tiny.run("corpus", "run", first) == 0);
  REQUIRE(sample(tiny, "run", {"--meta", "license=MIT", "--date", "2027-01-01"}).status == exit_ok);
  REQUIRE(tiny.program({"run", tiny.path("run"), "--resume", "auto", "train.max_minutes=0"}, "again.log") == 0);
  INFO(tiny.read("again.log"));
  CHECK(tiny.final_sha256("run", "model.safetensors") == tiny.final_sha256("whole", "model.safetensors"));
  CHECK(tiny.log("run").controls.count("rewind") == 0);
  CHECK(infers(tiny, "run").size() == 1);

  REQUIRE(sample(tiny, "run", {"--meta", "license=GPL-2.0-only", "--date", "2027-01-01"}).status == exit_refused);
  REQUIRE(tiny.program({"run", tiny.path("run"), "--resume", tiny.path("run/ckpt/step-000004"), "train.max_minutes=0"},
                       "older.log") == 0);
  INFO(tiny.read("older.log"));
  CHECK(tiny.final_sha256("run", "model.safetensors") == tiny.final_sha256("whole", "model.safetensors"));
  CHECK(tiny.log("run").controls.at("rewind") == 1);
  CHECK(tiny.log("run").controls.count("expire") == 0);
  CHECK(infers(tiny, "run").size() == 2);  // superseded entries are of training only
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "verify.log") == 0);
}

TEST_CASE("while a run is in progress its model writes no text", "[infer]") {
  const TinyRun tiny;
  REQUIRE(tiny.run("corpus", "run", short_run) == 0);
  const auto held = real_file_system().lock(tiny.path("run/lineage/.state/lock")).value();
  const Sampled refused = sample(tiny, "run", {});
  CHECK(refused.status == exit_failure);
  CHECK(says(refused, "is in progress, and its model writes text when it has stopped"));
  CHECK_FALSE(says(refused, "note:"));
}
