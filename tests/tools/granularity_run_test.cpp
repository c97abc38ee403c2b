// Whole runs at every granularity: the block map in the log, and a resume that refuses another one. That they have the
// same bits for any number of threads and after a resume: run_combinations_test.cpp.
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/tools/tiny_run.h"

using namespace govtrain;
using govtrain::testing::TinyRun;

namespace {

void write(const TinyRun& tiny, const std::string& name, const std::string& text) {
  std::ofstream(tiny.path(name)) << text;
}

std::string blocks_file(const std::string& heads) {
  return "blocks: b\nversion: 1\nlist:\n  - {name: one, owns: [{heads: " + heads +
         "}, {channels: 0%-50%}]}\n  - {name: two, owns: rest}\n";
}

// MIT teaches all, GPL only a part, at half weight, that every form has.
std::string policy(const std::string& part) {
  return "policy: tiny\nversion: 1\ndefault: none\nprofiles:\n  full: {all: 1}\n  part: {" + part +
         ": 0.5, rest: 0}\nrules:\n"
         "  - {name: free, when: {license: MIT}, profile: full}\n"
         "  - {name: copyleft, when: {license: GPL-3.0-only}, profile: part}\n";
}

}  // namespace

TEST_CASE("a run at every granularity has its blocks in the log", "[slow]") {
  const TinyRun tiny;
  write(tiny, "blocks.yaml", blocks_file("0"));
  REQUIRE(tiny.program(
              {"blocks", "learn", tiny.path("config.yaml"), "run.out=" + tiny.path("none"),
               "data.inputs=[" + tiny.path("corpus.jsonl") + "]", "--out", tiny.path("learned.json"), "--blocks", "2"},
              "learn.log") == 0);
  const std::string file = "blocks.file=" + tiny.path("blocks.yaml"),
                    learned = "blocks.file=" + tiny.path("learned.json");
  for (const auto& [name, part, overrides] :
       std::vector<std::tuple<std::string, std::string, std::vector<std::string>>>{
           {"layer", "layer.0", {}},
           {"group", "layer.0-1", {"blocks.by=group"}},
           {"position", "shallow", {"blocks.by=position", "blocks.shares=[shallow 50%, deep 50%]"}},
           {"role", "role mlp", {"blocks.by=role"}},
           {"head", "\"*.head.0\"", {"blocks.by=head"}},
           {"channels", "\"*.channels.1\"", {"blocks.by=channels", "blocks.ranges=3"}},
           {"tensor", "\"*.v_proj.weight\"", {"blocks.by=tensor"}},
           {"selectors", "one", {"blocks.by=selectors", file}},
           {"learned", "learned.0", {"blocks.by=learned", learned}}}) {
    INFO(name);
    write(tiny, "policy.yaml", policy(part));
    const int status = tiny.run("corpus", name, overrides);
    INFO(tiny.read(name + ".log"));
    REQUIRE(status == 0);
    const TinyRun::Log log = tiny.log(name);
    const auto head = nlohmann::json::parse(log.leaves.front());
    CHECK(head.at("block_map").at("by") == name);
    CHECK(head.at("block_map").at("count") == head.at("blocks").size());
    CHECK(head.at("block_map").at("sha256").get<std::string>().size() == 64);
    CHECK(head.at("block_map").contains("file_sha256") == (name == "selectors" || name == "learned"));
    int64_t elements = 0;
    for (const auto& block : head.at("blocks")) elements += block.at("elements").get<int64_t>();
    CHECK(elements == head.at("parameters"));
    CHECK(log.examples.front().w.size() == head.at("blocks").size());
    CHECK(tiny.program({"lineage", "verify", tiny.path(name)}, "verify.log") == 0);
  }
}

TEST_CASE("a resume refuses another division into blocks") {
  const TinyRun tiny;
  write(tiny, "policy.yaml", policy("one"));
  write(tiny, "blocks.yaml", blocks_file("0"));
  const std::vector<std::string> form = {"blocks.by=selectors", "blocks.file=" + tiny.path("blocks.yaml"),
                                         "train.max_minutes=0.000001", "run.resume=auto"};
  REQUIRE(tiny.run("corpus", "out", form) == 0);
  write(tiny, "blocks.yaml", blocks_file("1"));
  CHECK(tiny.run("corpus", "out", form) == 2);
  CHECK(tiny.read("out.log").find("was made with another division into blocks") != std::string::npos);
  write(tiny, "blocks.yaml", blocks_file("0"));
  CHECK(tiny.run("corpus", "out", form) == 0);
}

TEST_CASE("more than 2000 blocks are logged in sparse records, and too many are refused at the start", "[slow]") {
  const TinyRun tiny;
  write(tiny, "policy.yaml", policy("\"*.channels.1\""));
  const std::vector<std::string> form = {"blocks.by=channels", "blocks.ranges=1100", "model.mlp_width=1200",
                                         "train.steps=3"};
  CHECK(tiny.run("corpus", "all", form) == 2);
  CHECK(tiny.read("all.log").find("form fewer blocks") != std::string::npos);

  std::string narrow = policy("\"*.channels.1\"");
  narrow.replace(narrow.find("{all: 1}"), 8, "{embedding: 1, \"*.channels.7??\": 2, rest: 0}");
  write(tiny, "policy.yaml", narrow);
  INFO(tiny.read("sparse.log"));
  REQUIRE(tiny.run("corpus", "sparse", form) == 0);
  const TinyRun::Log log = tiny.log("sparse");
  CHECK(log.examples.front().w.size() == 2206);
  CHECK(log.controls.at("blocks") == 6);
  CHECK(log.controls.at("step") == 3);
  CHECK(tiny.program({"lineage", "verify", tiny.path("sparse")}, "verify.log") == 0);
}

TEST_CASE("the log shows the bound of a profile with negative weights") {
  const TinyRun tiny;
  write(tiny, "policy.yaml", policy("allow_negative: {bound: 0.25}, layer.0: -0.25, layer.1"));
  const int status = tiny.run("corpus", "out", {"train.steps=3"});
  INFO(tiny.read("out.log"));
  REQUIRE(status == 0);
  int seen = 0;
  for (const std::string& leaf : tiny.log("out").leaves) {
    const auto record = nlohmann::json::parse(leaf);
    if (record.at("k") != "profile") continue;
    CHECK(record.contains("allow_negative") == (record.at("id") == "part"));
    if (record.at("id") != "part") continue;
    CHECK(record.at("allow_negative").at("bound") == 0.25);
    CHECK(record.at("w") == nlohmann::json::parse("[0,-0.25,0.5,0]"));
    ++seen;
  }
  CHECK(seen == 1);
}
