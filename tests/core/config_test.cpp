// Reading good configurations: precedence, lists, paths, provenance, scalars, and the texts made from a schema.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/config/loader.h"
#include "core/config/render.h"
#include "core/error.h"

using namespace govtrain;
namespace fs = std::filesystem;

namespace {

struct Options {
  double lr = 1e-3;
  std::vector<double> betas{0.9, 0.999};
  int64_t vocab = 256, every = 600, bytes = 1024;
  bool shuffle = true;
  std::string name = "run", kind = "adamw", cache = "cache";
  std::vector<std::string> inputs;
};

struct Fixture {
  fs::path dir = fs::temp_directory_path() / ("govtrain_config_" + std::to_string(::getpid()));
  Options o;
  Schema schema;

  Fixture() {
    fs::create_directories(dir / "sub");
    schema.section("optim", "The update rule.");
    schema.number("optim.lr", o.lr, {.doc = "Learning rate.", .min = 0, .exclusive_min = true});
    schema.numbers("optim.betas", o.betas, {.doc = "Decay rates.", .min = 0, .max = 1});
    schema.text("optim.kind", o.kind, {.doc = "Rule.", .choices = {"sgd", "adamw"}});
    schema.texts("data.inputs", o.inputs, {.doc = "Files | folders.", .required = true, .path = true});
    schema.text("data.cache", o.cache, {.doc = "Cache.", .path = true});
    schema.integer("data.tokenizer.vocab", o.vocab, {.doc = "Size.", .unit = "tokens", .min = 1});
    schema.boolean("data.shuffle", o.shuffle, {.doc = "Shuffle."});
    schema.text("run.name", o.name, {.doc = "Name."});
    schema.integer("save.every", o.every, {.doc = "Interval.", .unit = "seconds", .min = 1});
    schema.integer("save.bytes", o.bytes, {.doc = "Size.", .unit = "bytes"});
  }
  ~Fixture() { fs::remove_all(dir); }
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(dir / name, std::ios::binary) << text;
    return (dir / name).string();
  }
  LoadedConfig load(const std::string& path, const std::vector<std::string>& args = {}) {
    Diagnostics d;
    LoadedConfig out = load_config(schema, path, args, d);
    INFO(d.render());
    CHECK(!d.has_errors());
    return out;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "defaults give way to the base, the base to the file, the file to the command line") {
  file("base.yaml", "optim: {lr: 0.5, kind: sgd}\nsave: {every: 10m}\nrun: {name: base}\n");
  const std::string path = file("c.yaml", "extends: base.yaml\noptim:\n  lr: 2.5e-1\ndata: {inputs: [a]}\n");
  const LoadedConfig got = load(path, {"run.name=cli=x", "optim.betas=[0.5, 0.25]"});
  CHECK(o.lr == 0.25);
  CHECK(o.kind == "sgd");
  CHECK(o.every == 600);
  CHECK(o.name == "cli=x");
  CHECK(o.betas == std::vector<double>{0.5, 0.25});
  CHECK(o.vocab == 256);
  CHECK(got.origin("optim.lr") == path + ":3");
  CHECK(got.origin("optim.kind") == (dir / "base.yaml").string() + ":1");
  CHECK(got.origin("run.name") == "command line, argument 1");
  CHECK(got.origin("data.shuffle") == "default");
  CHECK(got.where("optim.lr").column == 7);
  CHECK(got.files == std::vector<std::string>{(dir / "base.yaml").string(), path});
}

TEST_CASE_METHOD(Fixture, "a removal gives back the default, for a key and for a section, in order") {
  const std::string path = file("c.yaml", "optim: {lr: 0.5, kind: sgd}\ndata: {inputs: [a]}\n");
  LoadedConfig got = load(path, {"~optim.lr"});
  CHECK(o.lr == 1e-3);
  CHECK(got.origin("optim.lr") == "default");
  CHECK(o.kind == "sgd");
  load(path, {"~optim"});
  CHECK(o.kind == "adamw");
  load(path, {"~optim.lr", "optim.lr=7"});
  CHECK(o.lr == 7);
  load(path);  // nothing of the loads before is left
  CHECK(o.lr == 0.5);
}

TEST_CASE_METHOD(Fixture, "a relative path belongs to the file that gives it") {
  file("sub/base.yaml", "data: {cache: store, inputs: [x.txt, /abs, ../y]}\n");
  load(file("c.yaml", "extends: sub/base.yaml\n"));
  CHECK(o.cache == (dir / "sub/store").string());
  CHECK(o.inputs == std::vector<std::string>{(dir / "sub/x.txt").string(), "/abs", (dir / "y").string()});
  load(file("c.yaml", "extends: sub/base.yaml\n"), {"data.cache=here"});
  CHECK(o.cache == "here");
}

TEST_CASE("integers are exact and know their suffixes") {
  const auto read = [](const std::string& text, const std::string& unit = "") {
    int64_t value = -1;
    const auto problem = parse_integer({text, false}, unit, value);
    INFO(text << (problem ? ": " + problem->message : ""));
    REQUIRE(!problem);
    return value;
  };
  CHECK(read("0") == 0);
  CHECK(read("-12") == -12);
  CHECK(read("+7") == 7);
  CHECK(read("1_000_000") == 1'000'000);
  CHECK(read("8k") == 8000);
  CHECK(read("8Ki") == 8192);
  CHECK(read("1.5M") == 1'500'000);
  CHECK(read("1e6") == 1'000'000);
  CHECK(read("12.50e1") == 125);
  CHECK(read("9223372036854775807") == std::numeric_limits<int64_t>::max());
  CHECK(read("10m", "seconds") == 600);
  CHECK(read("1.5h", "seconds") == 5400);
  CHECK(read("2GiB", "bytes") == 2'147'483'648);
  CHECK(read("4kB", "bytes") == 4000);
  int64_t value = 42;
  for (const char* bad : {"",     "-",        "1.5",   "1e-1", "9223372036854775808",
                          "1e19", "1e400000", "010",   "00",   "0x10",
                          "1__0", "_1",       "1_",    "8K",   "10m",
                          "nan",  ".inf",     "1 000", "1e",   "--1",
                          "1,5",  "\xd9\xa1"}) {
    INFO(bad);
    CHECK(parse_integer({bad, false}, "", value));
  }
  CHECK(parse_integer({"12", true}, "", value));
  CHECK(value == 42);
}

TEST_CASE("numbers are finite and read as written") {
  double value = 0;
  const auto ok = [&](const char* text) { return !parse_number({text, false}, "", value); };
  CHECK((ok("3e-4") && value == 3e-4));
  CHECK((ok(".5") && value == 0.5));
  CHECK((ok("-1.") && value == -1));
  CHECK((ok("0.1") && value == 0.1));
  CHECK((ok("5e-324") && value == 5e-324));
  CHECK((ok("2k") && value == 2000));
  value = 42;
  for (const char* bad : {"1e999", "-1e999", "nan", "NaN", ".nan", "inf", "-.inf", "infinity", "1e", "e5", ".", "0x1p3",
                          "01.5", "1.7e308k", "1:30", "1e-999"}) {
    INFO(bad);
    CHECK(!ok(bad));
  }
  CHECK(value == 42);
}

TEST_CASE_METHOD(Fixture, "written YAML and canonical JSON read back to the same values") {
  const std::string path =
      file("c.yaml", "optim: {lr: 1e-7, betas: []}\ndata: {inputs: ['a\\b\"c', \"no\", 'é']}\nrun: {name: '10'}\n");
  const LoadedConfig got = load(path);
  const std::string json = canonical_json(schema);
  CHECK(json == R"({"data":{"cache":"cache","inputs":[")" + (dir / "a\\\\b\\\"c").string() + R"(",")" +
                    (dir / "no").string() + R"(",")" + (dir / "é").string() +
                    R"("],"shuffle":true,"tokenizer":{"vocab":256}},"optim":{"betas":[],"kind":"adamw","lr":1e-7},)" +
                    R"("run":{"name":"10"},"save":{"bytes":1024,"every":600}})");
  CHECK(nlohmann::json::accept(json));
  for (const bool docs : {false, true}) {
    load(file("again.yaml", to_yaml(schema, docs, docs ? nullptr : &got)));
    CHECK(o.lr == 1e-7);
    CHECK(o.betas.empty());
    CHECK(o.name == "10");
    // Relative defaults become relative to the new file; absolute paths stay.
    CHECK(o.inputs ==
          std::vector<std::string>{(dir / "a\\b\"c").string(), (dir / "no").string(), (dir / "é").string()});
  }
}

TEST_CASE_METHOD(Fixture, "the JSON Schema and the reference describe every key") {
  const nlohmann::json j = nlohmann::json::parse(json_schema(schema));
  CHECK(j["$schema"] == "https://json-schema.org/draft/2020-12/schema");
  CHECK(j["additionalProperties"] == false);
  CHECK(j["properties"]["optim"]["additionalProperties"] == false);
  CHECK(j["properties"]["optim"]["properties"]["kind"]["enum"] == nlohmann::json({"sgd", "adamw"}));
  CHECK(j["properties"]["optim"]["properties"]["lr"]["exclusiveMinimum"] == 0);
  CHECK(j["properties"]["optim"]["properties"]["betas"]["items"]["maximum"] == 1);
  CHECK(j["properties"]["data"]["properties"]["tokenizer"]["properties"]["vocab"]["default"] == 256);
  CHECK(j["properties"].contains("extends"));
  const std::string reference = markdown_reference(schema);
  for (const Schema::Field& field : schema.fields())
    CHECK(reference.find("| `" + field.key + "` |") != std::string::npos);
  CHECK(reference.find("Files \\| folders.") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "a key cannot be declared twice, nor be a value and a section") {
  CHECK_THROWS_AS(schema.text("run.name", o.name, {}), Error);
  CHECK_THROWS_AS(schema.text("run", o.name, {}), Error);
  CHECK_THROWS_AS(schema.text("run.name.first", o.name, {}), Error);
}

TEST_CASE("suggestions are near or absent") {
  CHECK(nearest("learning_rat", {"lr", "learning_rate"}) == "learning_rate");
  CHECK(nearest("Weight-Decay", {"weight_decay"}) == "weight_decay");
  CHECK(nearest("sehd", {"seed", "steps"}) == "seed");
  CHECK(nearest("esed", {"seed"}) == "seed");
  CHECK(nearest("banana", {"seed", "steps"}).empty());
  CHECK(nearest("x", {"y"}).empty());
  CHECK(nearest("", {"a"}).empty());
  CHECK(nearest(std::string(1'000'000, 'a'), {"a"}).empty());
}

TEST_CASE("messages show the line, cut long ones around the place and hide control characters") {
  Diagnostics d;
  d.add_source("f", "short\n" + std::string(500, 'x') + "BAD" + std::string(500, 'y') + "\n\xc3\xa9\xc3\xa9 z\n");
  d.error({"f", 3, 4, 1}, "third", "hint");
  d.warning({"f", 2, 501, 3}, "second \x1b[31m");
  d.error({"g"}, "elsewhere");
  CHECK(d.errors() == 2);
  CHECK(d.warnings() == 1);
  const std::string text = d.render();
  CHECK(text.find("    3 | \xc3\xa9\xc3\xa9 z\n      |    ^ hint\n") != std::string::npos);
  CHECK(text.find("BAD") != std::string::npos);
  CHECK(text.find(std::string(200, 'x')) == std::string::npos);
  CHECK(text.find("f:2:501") < text.find("f:3:4"));
  CHECK(text.find("g: error: elsewhere\n") != std::string::npos);
  Diagnostics many;
  for (int i = 1; i <= 1000; ++i) many.error({"f", i, 1}, "x");
  CHECK(many.render().find("... and 900 more messages") != std::string::npos);
}
