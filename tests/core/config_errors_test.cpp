// Every message of the configuration layer, with its position; and inputs at random, which may give errors but nothing
// worse.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "core/config/loader.h"
#include "core/config/yaml.h"
#include "core/rng.h"

using namespace govtrain;
namespace fs = std::filesystem;

namespace {

struct Options {
  double lr = 1e-3;
  std::vector<double> betas{0.9, 0.999};
  int64_t vocab = 256, every = 600;
  bool shuffle = true;
  std::string name = "run", kind = "adamw", language = "en";
  std::vector<std::string> inputs{"x"};
};

struct Bench {
  fs::path dir = fs::temp_directory_path() / ("govtrain_config_errors_" + std::to_string(::getpid()));
  Options o;
  Schema schema;

  Bench() {
    fs::create_directories(dir / "folder.yaml");
    schema.number("optim.lr", o.lr, {.min = 0, .max = 10, .exclusive_min = true, .also_called = {"learning_rate"}});
    schema.numbers("optim.betas", o.betas, {.min = 0, .max = 1});
    schema.text("optim.kind", o.kind, {.choices = {"sgd", "adamw"}});
    schema.texts("data.inputs", o.inputs, {.path = true});
    schema.integer("data.tokenizer.vocab", o.vocab, {.min = 1});
    schema.boolean("data.shuffle", o.shuffle, {});
    schema.text("run.name", o.name, {});
    schema.text("run.language", o.language, {});
    schema.integer("save.every", o.every, {.unit = "seconds", .min = 1});
  }
  ~Bench() { fs::remove_all(dir); }
  void write(const std::string& name, const std::string& text) { std::ofstream(dir / name, std::ios::binary) << text; }
  // The messages, without the folder's name.
  std::string run(const std::string& name, const std::vector<std::string>& args = {}, int* errors = nullptr) {
    Diagnostics d;
    load_config(schema, name.empty() ? "" : (dir / name).string(), args, d);
    if (errors != nullptr) *errors = d.errors();
    std::string text = d.render();
    const std::string prefix = dir.string() + "/";
    for (size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix)) text.erase(at, prefix.size());
    return text;
  }
};

struct Row {
  const char* text;
  const char* message;  // with position
  const char* hint;
};

std::string nested(int depth) {
  std::string out = "run: ";
  for (int i = 0; i < depth; ++i) out += "[";
  return out;
}

}  // namespace

TEST_CASE_METHOD(Bench, "every mistake in a config file gets its message at its place") {
  const std::vector<Row> rows{
      {"optim:\n  lrr: 1\n", "c.yaml:2:3: error: unknown key 'optim.lrr'", "did you mean 'optim.lr'?"},
      {"optim:\n  learing_rate: 1\n", "c.yaml:2:3: error: unknown key 'optim.learing_rate'",
       "did you mean 'optim.lr'?"},
      {"run:\n  lr: 1\n", "c.yaml:2:3: error: unknown key 'run.lr'", "did you mean 'optim.lr'?"},
      {"optm: {lr: 1}\n", "c.yaml:1:1: error: unknown key 'optm'", "did you mean 'optim'?"},
      {"optim: {zzzzzzz: 1}\n", "c.yaml:1:9: error: unknown key 'optim.zzzzzzz'", "section optim: lr, betas, kind"},
      {"kind: sgd\n", "c.yaml:1:1: error: unknown key 'kind'", "did you mean 'optim.kind'?"},
      {"optim:\n  lr: 1\n  lr: 2\n", "c.yaml:3:3: error: duplicate key 'lr', first at c.yaml:2:3", "remove one"},
      {"run: {name: a}\noptim: {lr: 1}\nrun: {name: b}\n",
       "c.yaml:3:1: error: duplicate key 'run', first at c.yaml:1:1", ""},
      {"optim:\n  lr: fast\n", "c.yaml:2:7: error: 'optim.lr': expected a number, found 'fast'", ""},
      {"optim:\n  lr: \"0.1\"\n", "c.yaml:2:7: error: 'optim.lr': expected a number, found the string '0.1'",
       "remove the quotes"},
      {"optim: {lr: 0}\n", "c.yaml:1:13: error: 'optim.lr': must be > 0 and <= 10, found 0", ""},
      {"optim: {lr: 11}\n", "c.yaml:1:13: error: 'optim.lr': must be > 0 and <= 10, found 11", ""},
      {"optim: {lr: .nan}\n", "c.yaml:1:13: error: 'optim.lr': expected a finite number, found '.nan'", ""},
      {"optim: {lr: -.inf}\n", "c.yaml:1:13: error: 'optim.lr': expected a finite number, found '-.inf'", ""},
      {"optim: {lr: 1e999}\n", "c.yaml:1:13: error: 'optim.lr': '1e999' is outside the range of a double", ""},
      {"optim: {lr: 3x}\n", "c.yaml:1:13: error: 'optim.lr': expected a number, found '3x'", "unknown suffix 'x'"},
      {"optim: {lr: [1]}\n", "c.yaml:1:13: error: 'optim.lr': expected number > 0 and <= 10, found a list", ""},
      {"optim: {lr: }\n", "c.yaml:1:", "found nothing"},
      {"optim: {betas: [0.9, 2]}\n", "c.yaml:1:22: error: 'optim.betas': must be >= 0 and <= 1, found 2", ""},
      {"optim: {betas: 0.9}\n", "c.yaml:1:16: error: 'optim.betas': expected a list of numbers, found '0.9'",
       "write [0.9]"},
      {"optim: {betas: [[0.9]]}\n", "c.yaml:1:17: error: 'optim.betas': expected a list of numbers, found a list in it",
       ""},
      {"optim: {kind: adamv}\n", "c.yaml:1:15: error: 'optim.kind': expected one of sgd, adamw, found 'adamv'",
       "did you mean 'adamw'?"},
      {"data: {tokenizer: {vocab: 010}}\n", "c.yaml:1:27: error: 'data.tokenizer.vocab': '010' is ambiguous",
       "write 10"},
      {"data: {tokenizer: {vocab: 1.5}}\n",
       "c.yaml:1:27: error: 'data.tokenizer.vocab': expected an integer, found '1.5'", "not a whole number"},
      {"data: {tokenizer: {vocab: 1e30}}\n",
       "c.yaml:1:27: error: 'data.tokenizer.vocab': '1e30' is too large for a 64-bit integer", ""},
      {"data: {tokenizer: 5}\n", "c.yaml:1:19: error: 'data.tokenizer' is a section and must be a map, found '5'",
       "section data.tokenizer: vocab"},
      {"data: [1]\n", "c.yaml:1:7: error: 'data' is a section and must be a map, found a list", ""},
      {"data: {shuffle: yes}\n", "c.yaml:1:17: error: 'data.shuffle': expected true or false, found 'yes'",
       "write true"},
      {"data: {shuffle: off}\n", "c.yaml:1:17: error: 'data.shuffle': expected true or false, found 'off'",
       "write false"},
      {"data: {shuffle: 'true'}\n",
       "c.yaml:1:17: error: 'data.shuffle': expected true or false, found the string 'true'", "remove the quotes"},
      {"save: {every: 5y}\n", "c.yaml:1:15: error: 'save.every': expected an integer, found '5y'",
       "examples: 90, 10m, 2h"},
      {"run: {language: no}\n", "c.yaml:1:17: warning: 'run.language': 'no' is taken as text", "write it in quotes"},
      {"run: {name: 007}\n", "c.yaml:1:13: warning: 'run.name': '007' is taken as text", "write it in quotes"},
      {"run:\n", "c.yaml:1:1: warning: the section 'run' is empty", "remove it"},
      {"a: &x 1\n", "c.yaml:1:", "anchors ('&name') are not supported"},
      {"a: &x [1]\nb: *x\n", "c.yaml:2:4: error: aliases ('*name') are not supported", "write the value again"},
      {"<<: {a: 1}\n", "c.yaml:1:1: error: merge keys ('<<') are not supported", "'extends: other.yaml'"},
      {"run: {name: !!str 5}\n", "c.yaml:1:", "the tag 'tag:yaml.org,2002:str' is not supported"},
      {"? [a, b]\n: c\n", "c.yaml:1:3: error: a key must be a name, found a list", ""},
      {"run: {name: a}\n---\nrun: {name: b}\n", "c.yaml:2:1: error: a second document starts here", "remove '---'"},
      {"run:\n\tname: a\n", "c.yaml:2:1: error: a tab in the indentation", "use spaces"},
      {"run: {name: a\n", "c.yaml:", "not valid YAML"},
      {"run: {name: \"a}\n", "c.yaml:", "not valid YAML"},
      {"run: [a: b: c]]\n", "c.yaml:1:", "not valid YAML"},
      {"", "c.yaml:1:1: error: the file is empty", "expected 'key: value' lines"},
      {"# nothing\n", "c.yaml:1:1: error: the file is empty", ""},
      {"~\n", "c.yaml:1:1: error: the file is empty", ""},
      {"- a\n- b\n", "c.yaml:1:1: error: a config must be a map ('section:' lines), found a list", ""},
      {"just text\n", "c.yaml:1:1: error: a config must be a map ('section:' lines), found 'just text'", ""},
      {"run: {name: \xff}\n", "c.yaml:1:13: error: the byte 0xff is not valid UTF-8", "save the file as UTF-8"},
      {"run: {name: a\x01}\n", "c.yaml:1:14: error: the control character 0x01 is not allowed", "is this a text file?"},
      {"run: {name: \"a\\e[31m\"}\n", "c.yaml:1:13: error: the text has an escape for a control character", ""},
      {"extends: missing.yaml\n", "c.yaml:1:10: error: cannot read missing.yaml: No such file or directory", ""},
      {"extends: folder.yaml\n", "c.yaml:1:10: error: cannot read folder.yaml: it is a folder", ""},
      {"extends: [a]\n", "c.yaml:1:10: error: 'extends' must name one file, found a list", ""},
      {"extends: c.yaml\n", "c.yaml:1:10: error: 'extends' goes in a circle: c.yaml is already being read", ""},
  };
  for (const Row& row : rows) {
    write("c.yaml", row.text);
    const std::string got = run("c.yaml");
    INFO("config:\n" << row.text << "\nmessages:\n" << got);
    CHECK(got.find(row.message) != std::string::npos);
    CHECK(got.find(row.hint) != std::string::npos);
  }
}

TEST_CASE_METHOD(Bench, "every mistake on the command line names its argument") {
  struct ArgumentRow {
    const char *argument, *message, *hint;
  };
  const std::vector<ArgumentRow> rows{
      {"optim.l=1", "command line, argument 2: error: unknown key 'optim.l'", ""},
      {"save.evry=1", "command line, argument 2: error: unknown key 'save.evry'", "did you mean 'save.every'?"},
      {"~save.evry", "command line, argument 2: error: unknown key 'save.evry'", "did you mean 'save.every'?"},
      {"optim=1", "command line, argument 2: error: 'optim' is a section", "section optim: lr, betas, kind"},
      {"optim.lr", "command line, argument 2: error: expected key=value or ~key, found 'optim.lr'", ""},
      {"=1", "command line, argument 2: error: expected key=value or ~key, found '=1'", ""},
      {"", "command line, argument 2: error: expected key=value or ~key, found ''", ""},
      {"~", "command line, argument 2: error: unknown key ''", ""},
      {"optim.lr=x", "command line, argument 2: error: 'optim.lr': expected a number, found 'x'", ""},
      {"optim.lr=", "command line, argument 2: error: 'optim.lr': expected a number, found ''", ""},
      {"optim.betas=[0.1", "command line, argument 2: error: 'optim.betas': expected a list such as [a, b]", ""},
      {"optim.betas=[[1]]", "command line, argument 2: error: 'optim.betas': expected a list such as [a, b]", ""},
      {"run.name=\xff", "command line, argument 2: error: the argument is not valid UTF-8", ""},
  };
  for (const ArgumentRow& row : rows) {
    const std::string got = run("", {"optim.lr=1", row.argument});
    INFO(row.argument << "\n" << got);
    CHECK(got.find(row.message) != std::string::npos);
    CHECK(got.find(row.hint) != std::string::npos);
  }
}

TEST_CASE_METHOD(Bench, "all errors of all files and arguments come at once, and good values are still read") {
  write("base.yaml", "optim: {lr: fast}\n");
  write("c.yaml", "extends: base.yaml\nrun: {nam: x, name: kept}\nsave: {every: 0}\n");
  int errors = 0;
  const std::string got = run("c.yaml", {"x=1", "optim.kind=sgd"}, &errors);
  INFO(got);
  CHECK(errors == 4);
  CHECK(got.find("base.yaml:1:13") < got.find("c.yaml:2:7"));
  CHECK(o.name == "kept");
  CHECK(o.kind == "sgd");
  CHECK(o.every == 600);
  CHECK(o.lr == 1e-3);
}

TEST_CASE_METHOD(Bench, "a chain of files is followed, a circle and an endless chain are not") {
  write("a.yaml", "extends: b.yaml\n");
  write("b.yaml", "extends: ./sub/../a.yaml\n");
  CHECK(run("a.yaml").find("b.yaml:1:10: error: 'extends' goes in a circle") != std::string::npos);
  for (int i = 0; i < 30; ++i)
    write("n" + std::to_string(i) + ".yaml", "extends: n" + std::to_string(i + 1) + ".yaml\n");
  CHECK(run("n0.yaml").find("n15.yaml:1:10: error: 'extends' goes more than 16 files deep") != std::string::npos);
}

TEST_CASE_METHOD(Bench, "a required key must be given by something") {
  std::string must;
  schema.text("run.must", must, {.doc = "Needed.", .required = true, .path = true});
  write("c.yaml", "run: {name: a}\n");
  CHECK(run("c.yaml").find("c.yaml: error: the key 'run.must' is required (string)") != std::string::npos);
  CHECK(run("").find("command line: error: the key 'run.must' is required") != std::string::npos);
  CHECK(run("c.yaml", {"run.must=x"}).empty());
  write("c.yaml", "run: {must: ''}\n");
  CHECK(run("c.yaml").find("c.yaml:1:13: error: 'run.must': expected a path, found an empty text") == 0);
}

TEST_CASE_METHOD(Bench, "hostile sizes and depths are refused early") {
  write("c.yaml", nested(100));
  CHECK(run("c.yaml").find("nested more than 32 levels deep") != std::string::npos);
  write("c.yaml", nested(1'000'000));
  CHECK(run("c.yaml").find("nested more than 32 levels deep") != std::string::npos);
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  write("c.yaml", deep);
  CHECK(run("c.yaml").find("nested more than 32 levels deep") != std::string::npos);
  write("c.yaml", std::string(max_yaml_bytes + 1, '#'));
  CHECK(run("c.yaml").find("is larger than 8 MiB") != std::string::npos);
  CHECK(run("../../../../../../../../dev/zero").find("is larger than 8 MiB") != std::string::npos);
  std::string many = "data: {inputs: [";
  for (size_t i = 0; i < max_yaml_values; ++i) many += "a,";
  write("c.yaml", many + "]}");
  CHECK(run("c.yaml").find("more than 20000 values in one file") != std::string::npos);
  std::string bomb = "a: &a [x, x]\n";
  for (char c = 'b'; c < 'z'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [*" + static_cast<char>(c - 1) + ", *" + static_cast<char>(c - 1) + "]\n";
  }
  write("c.yaml", bomb);
  CHECK(run("c.yaml").find("aliases ('*name') are not supported") != std::string::npos);
}

TEST_CASE_METHOD(Bench, "an unreadable file is one error") {
  CHECK(run("none.yaml").find("none.yaml: error: cannot read none.yaml: No such file or directory") == 0);
  CHECK(run("folder.yaml").find("folder.yaml: error: cannot read folder.yaml: it is a folder") == 0);
}

TEST_CASE("positions are the same for keys, values and broken YAML, in bytes of any language") {
  Diagnostics d;
  const auto tree =
      parse_yaml("f", "\xef\xbb\xbf# \xc3\xa9\r\n\xc3\xa9\xc3\xa9: {b: 'x', c: [1, \"\xe2\x82\xac\", z]}\r\n", d);
  REQUIRE(tree);
  CHECK(!d.has_errors());
  const YamlNode& map = tree->entries[0].value;
  CHECK(to_string(tree->entries[0].key.at) == "f:2:1");
  CHECK(to_string(map.find("b")->at) == "f:2:9");
  CHECK(map.find("b")->quoted);
  CHECK(to_string(map.find("c")->items[2].at) == "f:2:26");
  CHECK(!map.find("c")->items[2].quoted);
}

TEST_CASE_METHOD(Bench, "random changes to a good config give a value or an error, never a crash") {
  const std::string good =
      "extends: base.yaml\noptim:\n  lr: 3.0e-4\n  betas: [0.9, 0.95]\n  kind: 'sgd'\ndata:\n  inputs: [\"a\", b]\n"
      "  tokenizer: {vocab: 8k}\n  shuffle: false\nrun: {name: x}\nsave:\n  every: 10m # c\n";
  write("base.yaml", "run: {name: base}\n");
  write("c.yaml", good);
  REQUIRE(run("c.yaml").empty());
  const std::string alphabet = "{}[]:,-?!&*#|>'\"%@`~<\n\t .0123456789aeinf\\\xc3\xff";
  const Rng rng(2024, Stream::test);
  INFO("seed 2024");
  uint64_t n = 0;
  const auto pick = [&](size_t size) { return static_cast<size_t>(rng.bits(n++)) % size; };
  int with_errors = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string text = good;
    for (size_t change = 0; change <= pick(4); ++change) {
      const size_t at = pick(text.size());
      switch (pick(4)) {
        case 0:
          text.erase(at, 1 + pick(5));
          break;
        case 1:
          text.insert(at, 1, alphabet[pick(alphabet.size())]);
          break;
        case 2:
          text[at] = alphabet[pick(alphabet.size())];
          break;
        default:
          text.insert(at, text.substr(pick(text.size()), pick(40)));
          break;
      }
      if (text.empty()) text = "x";
    }
    write("c.yaml", text);
    int errors = 0;
    const std::string got = run("c.yaml", {}, &errors);
    with_errors += errors > 0 ? 1 : 0;
    INFO(text << "\n" << got);
    REQUIRE((errors > 0) == (got.find("error: ") != std::string::npos));
    REQUIRE((o.lr > 0 && o.lr <= 10));
  }
  CHECK(with_errors > 300);
  CHECK(with_errors < 1500);
}
