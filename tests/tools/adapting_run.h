// A policy whose profiles adapt or are controlled, whole runs of it, and what their logs must say. For tests.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/tiny_run.h"

namespace govtrain::testing {

inline constexpr const char* head = R"(policy: tiny
version: 1
default: none
profiles:
  full: {all: 1}
  shallow: {embedding: 1, layer.0: 0.5, rest: 0}
  floor: {embedding: 0.125, layer.0: 0.125, rest: 0}
rules:
  - {name: free, when: {license: MIT}, profile: full}
  - {name: copyleft, when: {license: GPL-3.0-only}, profile: shallow}
  - {name: unclear, when: {class: uncertain}, profile: none}
)";
inline constexpr const char* adaptation =
    "adaptation: {begin: 0.001, full: 0.05, rate: 0.4, dead_band: 0.01, profiles: {shallow: full}}\n";
inline constexpr const char* controller =
    "controller: {protect: [MIT], tolerance: 0, window: 3, correlation: 0.1, rate: 0.2, profiles: {shallow: {floor: "
    "floor, ceiling: full}}}\n";

inline const std::vector<std::string> probing = {"probe.examples=8", "probe.every=3", "data.validation_fraction=0.3"};
inline const std::vector<std::string> controlling = {"eval.every=1", "data.validation_fraction=0.3", "optim.lr=0.02"};

inline void write_policy(const TinyRun& tiny, const std::string& section) {
  std::ofstream(tiny.path("policy.yaml")) << head << section;
}

inline std::vector<nlohmann::json> records(const TinyRun::Log& log, const std::string& kind) {
  std::vector<nlohmann::json> out;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() == kind) out.push_back(nlohmann::json::parse(leaf));
  }
  return out;
}

// Of a record as records() gives it.
inline nlohmann::json payload_of(nlohmann::json record) {
  for (const char* key : {"k", "v"}) record.erase(key);
  return record;
}

inline void check_same(const TinyRun& tiny, const std::string& a, const std::string& b) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    CHECK(tiny.final_sha256(a, file) == tiny.final_sha256(b, file));
    CHECK(tiny.final_sha256(a, file).size() == 64);
  }
}

inline void run(const TinyRun& tiny, const std::string& out, std::vector<std::string> settings,
                const std::string& extra = "", const std::string& corpus = "corpus") {
  if (!extra.empty()) settings.push_back(extra);
  const int status = tiny.run(corpus, out, settings);
  INFO(tiny.read(out + ".log"));
  REQUIRE(status == 0);
}

// Every weight that an example of a profile had was put in force by an earlier record.
inline void check_weights_are_logged(const TinyRun::Log& log) {
  std::map<std::string, std::vector<float>> in_force;
  for (const std::string& leaf : log.leaves) {
    const std::string kind = leaf_kind(leaf).value();
    if (kind == "profile") {
      const nlohmann::json p = nlohmann::json::parse(leaf);
      in_force[p.at("id")] = p.at("w").get<std::vector<float>>();
    }
    if (kind != "ex") continue;
    const ExampleRecord record = parse_example(leaf).value();
    REQUIRE(record.w == in_force.at(record.prof));
  }
}

}  // namespace govtrain::testing
