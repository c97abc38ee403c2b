// The program as a user meets it: the real binary, its exit statuses and its exact messages.
#include <catch2/catch.hpp>
#include <set>

#include "tests/tools/run_binary.h"
#include "tools/govtrain/cli/verb.h"

using namespace govtrain_test;
using Catch::Contains;

namespace {

const std::string good_config =
    "run: {out: out/a}\n"
    "data: {inputs: [a.jsonl], cache: cache}\n"
    "model: {layers: 2, width: 64, heads: 4}\n"
    "policy: {file: policy.yaml}\n"
    "train: {steps: 10}\n";

}  // namespace

TEST_CASE("version, help and env", "[cli]") {
  const std::string folder = fresh_folder("cli_help");
  CHECK(run_govtrain("version", folder).out == run_govtrain("--version", folder).out);
  CHECK_THAT(run_govtrain("version", folder).out, Catch::StartsWith("govtrain "));
  const Output help = run_govtrain("help", folder);
  CHECK(help.status == 0);
  CHECK(help.out == run_govtrain("--help", folder).out);
  for (const auto& verb : govtrain::verbs()) {
    CHECK_THAT(help.out, Contains("  " + verb.name + " "));
    const Output own = run_govtrain("help " + verb.name, folder);
    CHECK(own.status == 0);
    CHECK_THAT(own.out, Contains(verb.summary) && Contains("Usage: govtrain " + verb.name));
    CHECK(own.out == run_govtrain(verb.name + " --help", folder).out);
  }
  CHECK_THAT(run_govtrain("help config", folder).out, Contains("config show") && !Contains("lineage"));
  CHECK(run_govtrain("config --help", folder).out == run_govtrain("help config", folder).out);
  const Output none = run_govtrain("", folder);
  CHECK(none.status == 2);
  CHECK(none.err == help.out);
  const Output env = run_govtrain("env", folder);
  CHECK(env.status == 0);
  CHECK_THAT(env.out, Contains("instruction set") && Contains("threads") && Contains("openssl"));
  char host[256] = {};
  REQUIRE(gethostname(host, sizeof(host) - 1) == 0);
  if (std::string(host).size() > 3) CHECK_THAT(env.out, !Contains(host));
}

TEST_CASE("mistyped verbs, options and arguments", "[cli]") {
  const std::string folder = fresh_folder("cli_typos");
  const auto error = [&](const std::string& arguments) {
    const Output o = run_govtrain(arguments, folder);
    CHECK(o.status == 2);
    CHECK(o.out.empty());
    return o.err;
  };
  CHECK(error("inspekt") ==
        "govtrain: error: 'inspekt' is no verb of govtrain\n  did you mean 'inspect'?\n  see 'govtrain help'\n");
  CHECK(error("zzz") == "govtrain: error: 'zzz' is no verb of govtrain\n  see 'govtrain help'\n");
  CHECK(error("config") ==
        "govtrain: error: 'config' needs one of: show, schema, docs, diff\n  see 'govtrain help config'\n");
  CHECK(error("config shwo") ==
        "govtrain: error: 'config shwo' is no verb; 'config' has: show, schema, docs, diff\n  did you mean 'show'?\n");
  CHECK(error("inspect x --stat") ==
        "govtrain: error: '--stat' is no option of 'inspect'\n  did you mean '--stats'?\n  see 'govtrain help "
        "inspect'\n");
  CHECK(error("version now") == "govtrain: error: unexpected argument 'now'\n  see 'govtrain help version'\n");
  CHECK(error("help nothing") == "govtrain: error: there is no help on 'nothing'\n  see 'govtrain help'\n");
  CHECK_THAT(error("inspect"), Contains("PATH is required") && Contains("see 'govtrain help inspect'"));
  CHECK_THAT(error("completion tcsh"), Contains("tcsh"));
}

TEST_CASE("a wrong configuration gets all its errors at once, with status 2", "[cli]") {
  const std::string folder = fresh_folder("cli_config");
  write_text(folder + "/bad.yaml", good_config +
                                       "optim:\n"
                                       "  learing_rate: 3e-4\n"
                                       "  eps: small\n"
                                       "  eps: 1e-8\n");
  const Output o = run_govtrain("config show bad.yaml train.stepps=3 model.heads=5", folder);
  CHECK(o.status == 2);
  CHECK(o.out.empty());
  CHECK(o.err ==
        "bad.yaml:7:3: error: unknown key 'optim.learing_rate'\n"
        "    7 |   learing_rate: 3e-4\n"
        "      |   ^^^^^^^^^^^^ did you mean 'optim.lr'?\n"
        "bad.yaml:8:8: error: 'optim.eps': expected a number, found 'small'\n"
        "    8 |   eps: small\n"
        "      |        ^^^^^\n"
        "bad.yaml:9:3: error: duplicate key 'eps', first at bad.yaml:8:3\n"
        "    9 |   eps: 1e-8\n"
        "      |   ^^^ remove one of the two\n"
        "command line, argument 1: error: unknown key 'train.stepps'\n"
        "      | train.stepps=3\n"
        "      | ^^^^^^^^^^^^^^ did you mean 'train.steps'?\n"
        "command line, argument 2: error: model.width 64 is not a multiple of model.heads 5\n"
        "      | model.heads=5\n"
        "      | ^^^^^^^^^^^^^ a width of 60 or 65 fits\n"
        "5 errors. Nothing was started.\n");
  CHECK_THAT(run_govtrain("config show missing.yaml", folder).err, Contains("missing.yaml"));
  CHECK(run_govtrain("config show missing.yaml", folder).status == 2);
}

TEST_CASE("config show says where values come from and reads back", "[cli]") {
  const std::string folder = fresh_folder("cli_show");
  write_text(folder + "/a.yaml", good_config);
  const Output o = run_govtrain("config show a.yaml optim.lr=2e-3 '~train.steps' train.steps=20", folder);
  REQUIRE(o.status == 0);
  CHECK_THAT(o.out, Contains("# command line, argument 1") && Contains("# a.yaml:3") && Contains("# default"));
  write_text(folder + "/b.yaml", o.out);
  CHECK(run_govtrain("config diff b.yaml b.yaml", folder).out == "no differences\n");
  const Output diff = run_govtrain("config diff a.yaml b.yaml", folder);
  CHECK(diff.status == 0);
  CHECK_THAT(diff.out, Contains("optim.lr") && Contains("train.steps") && !Contains("model"));
  const Output defaults = run_govtrain("config show", folder);
  CHECK(defaults.status == 0);
  CHECK_THAT(defaults.out, Contains("# Learning rate after the warm-up. (number > 0, default 0.001)"));
}

TEST_CASE("docs/config.md is what `config docs` prints", "[cli]") {
  const Output o = run_govtrain("config docs", fresh_folder("cli_docs"));
  CHECK(o.status == 0);
  // To bring it up to date: govtrain config docs > docs/config.md
  CHECK(read_text(std::string(GOVTRAIN_SOURCE_DIR) + "/docs/config.md") == o.out);
}

TEST_CASE("completion scripts know every verb, option and key, and bash runs its own", "[cli]") {
  const std::string folder = fresh_folder("cli_completion");
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const Output o = run_govtrain("completion " + shell, folder);
    CHECK(o.status == 0);
    for (const char* word : {"inspect", "verify", "stats", "optim.schedule=cosine", "effective"})
      CHECK_THAT(o.out, Contains(word));
  }
  write_text(folder + "/try.sh",
             "source ./completion.bash\n"
             "try() { COMP_LINE=\"$1\"; COMP_POINT=${#1}; COMP_WORDBREAKS=$' \\t\\n'; COMPREPLY=(); _govtrain; "
             "echo \"${COMPREPLY[*]}\"; }\n"
             "compopt() { :; }\n"
             "try 'govtrain insp'\ntry 'govtrain config '\ntry 'govtrain inspect --st'\n"
             "try 'govtrain config show a.yaml optim.sche'\n");
  write_text(folder + "/completion.bash", run_govtrain("completion bash", folder).out);
  REQUIRE(std::system(("cd '" + folder + "' && bash try.sh > answers").c_str()) == 0);
  CHECK(read_text(folder + "/answers") ==
        "inspect\nshow schema docs diff\n--stats\n"
        "optim.schedule=constant optim.schedule=linear optim.schedule=cosine\n");
}

TEST_CASE("a closed or full output is an error, not a success", "[cli]") {
  const std::string folder = fresh_folder("cli_full");
  const int raw = std::system((std::string(GOVTRAIN_BINARY) + " config docs > /dev/full 2> " + folder + "/e").c_str());
  REQUIRE(WIFEXITED(raw));
  CHECK(WEXITSTATUS(raw) == 1);
  CHECK_THAT(read_text(folder + "/e"), Catch::StartsWith("govtrain: error: cannot write"));
}

TEST_CASE("inspect refuses what it does not know", "[cli]") {
  const std::string folder = fresh_folder("cli_inspect");
  CHECK(run_govtrain("inspect nothing", folder).err == "govtrain: error: nothing does not exist\n");
  CHECK(run_govtrain("inspect nothing", folder).status == 3);
  write_text(folder + "/x.safetensors", "12345");
  const Output broken = run_govtrain("inspect x.safetensors", folder);
  CHECK(broken.status == 3);
  CHECK(broken.err == "govtrain: error: x.safetensors: not a valid safetensors file: 5 bytes, expected at least 8\n");
  std::filesystem::create_directories(folder + "/empty");
  CHECK(run_govtrain("inspect empty", folder).status == 3);
}
