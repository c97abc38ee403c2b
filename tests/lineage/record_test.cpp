// Leaves: their bytes, the rules that records must keep, strict parsing.
#include "lineage/record.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "tests/lineage/support.h"

using namespace govtrain;

namespace {

ExampleRecord example() {
  ExampleRecord r;
  r.place = ExampleRecord::Place{17, 0, 3};
  r.ex = "sha256:" + std::string(64, 'a');
  r.span_end = r.tok = 1024;
  r.w = {1, 0.5F, 0, 0};
  r.g = {0.912087059F, 0.471128695F, 0, 0};
  r.r = {0, 0, 4, 4};
  r.pol = "licensed@0a1b2c3d";
  r.prof = "shallow-6";
  r.cls = "licensed";
  r.prov = "0123456789abcdef";
  return r;
}

std::string leaf_of(const ExampleRecord& record) {
  std::string leaf;
  const Status s = write_leaf(leaf, record);
  INFO(s.message());
  REQUIRE(s.ok());
  return leaf;
}

Status rejected(const ExampleRecord& record) {
  std::string leaf;
  const Status s = write_leaf(leaf, record);
  CHECK(s.code() == StatusCode::invalid);
  return s;
}

}  // namespace

TEST_CASE("an example's leaf has sorted keys and short numbers") {
  ExampleRecord r = example();
  CHECK(leaf_of(r) ==
        "{\"cls\":\"licensed\",\"ex\":\"sha256:" + std::string(64, 'a') +
            "\",\"g\":[0.9120871,0.4711287,0,0],\"i\":3,\"k\":\"ex\",\"mb\":0,\"pol\":\"licensed@0a1b2c3d\","
            "\"prof\":\"shallow-6\",\"prov\":\"0123456789abcdef\",\"r\":[0,0,4,4],\"span\":[0,1024],"
            "\"step\":17,\"tok\":1024,\"v\":1,\"w\":[1,0.5,0,0]}");
  r.band = 2;
  r.ent = 2.418F;
  r.slope = -0.731F;
  const std::string full = leaf_of(r);
  CHECK(full.starts_with("{\"band\":2,\"cls\":\"licensed\",\"ent\":2.418,\"ex\":"));
  CHECK(full.find("\"r\":[0,0,4,4],\"slope\":-0.731,\"span\"") != std::string::npos);
  CHECK(parse_example(full).value() == r);
  r.clv = "kinds@0a1b2c3d";
  r.score = 0.97F;
  const std::string classified = leaf_of(r);
  CHECK(classified.find("\"cls\":\"licensed\",\"clv\":\"kinds@0a1b2c3d\",\"ent\"") != std::string::npos);
  CHECK(classified.find("\"r\":[0,0,4,4],\"score\":0.97,\"slope\":-0.731") != std::string::npos);
  CHECK(parse_example(classified).value() == r);
}

TEST_CASE("an excluded example has no step") {
  ExampleRecord r = example();
  r.place.reset();
  CHECK(rejected(r).message().find("excluded") != std::string::npos);
  r.w.assign(4, 0);
  r.g.assign(4, 0);
  const std::string leaf = leaf_of(r);
  CHECK(leaf.find("\"ev\":\"exclude\"") != std::string::npos);
  CHECK(leaf.find("\"step\"") == std::string::npos);
  CHECK(parse_example(leaf).value() == r);
}

TEST_CASE("what is not finite is a string") {
  ExampleRecord r = example();
  r.g[0] = std::numeric_limits<float>::quiet_NaN();
  r.g[1] = std::numeric_limits<float>::infinity();
  r.ent = -std::numeric_limits<float>::infinity();
  const std::string leaf = leaf_of(r);
  CHECK(leaf.find("\"ent\":\"-inf\"") != std::string::npos);
  CHECK(leaf.find("\"g\":[\"nan\",\"inf\",0,0]") != std::string::npos);
  const ExampleRecord back = parse_example(leaf).value();
  CHECK(std::isnan(back.g[0]));
  CHECK(std::isinf(back.g[1]));
}

TEST_CASE("a record that breaks a rule is refused") {
  const auto with = [](const std::function<void(ExampleRecord&)>& change) {
    ExampleRecord r = example();
    change(r);
    return rejected(r).message();
  };
  CHECK(with([](auto& r) { r.g[2] = 1e-30F; }).find("block 2 has weight 0") != std::string::npos);
  CHECK(with([](auto& r) { r.g[2] = std::nanf(""); }).find("block 2 has weight 0") != std::string::npos);
  CHECK(with([](auto& r) { r.w[0] = std::nanf(""); }).find("w of block 0") != std::string::npos);
  CHECK(with([](auto& r) { r.g[0] = -1; }).find("g of block 0") != std::string::npos);
  CHECK(with([](auto& r) { r.r[3] = -1; }).find("r of block 3") != std::string::npos);
  CHECK(with([](auto& r) { r.clv = ""; }).find("clv is empty") != std::string::npos);
  CHECK(with([](auto& r) { r.clv = "c@0", r.score = 1.5F; }).find("score is 1.5") != std::string::npos);
  CHECK(with([](auto& r) { r.clv = "c@0", r.score = std::nanf(""); }).find("score is nan") != std::string::npos);
  CHECK(with([](auto& r) { r.score = 0.5F; }).find("score without clv") != std::string::npos);
  CHECK(with([](auto& r) { r.g.pop_back(); }).find("4, 3 and 4") != std::string::npos);
  CHECK(with([](auto& r) { r.w.clear(); }).find("w is empty") != std::string::npos);
  CHECK(with([](auto& r) { r.ex = "sha256:AB"; }).find("ex is") != std::string::npos);
  CHECK(with([](auto& r) { r.prov = "xyz"; }).find("prov is") != std::string::npos);
  CHECK(with([](auto& r) { r.cls = "\xFF"; }).find("UTF-8") != std::string::npos);
  CHECK(with([](auto& r) { r.pol = ""; }).find("pol") != std::string::npos);
  CHECK(with([](auto& r) { r.span_end = -1; }).find("span") != std::string::npos);
  CHECK(with([](auto& r) { r.place->step = -1; }).find("negative") != std::string::npos);
  CHECK(with([](auto& r) { r.cls = std::string(70000, 'x'); }).find("65535") != std::string::npos);
}

TEST_CASE("many blocks use the sparse form") {
  ExampleRecord r = example();
  r.w.assign(5000, 0);
  r.g.assign(5000, 0);
  r.r.assign(5000, 0);
  for (const size_t b : {0U, 2U, 10U, 4999U}) {
    r.w[b] = 0.5F;
    r.g[b] = 0.25F;
    r.r[b] = 3;
  }
  const std::string leaf = leaf_of(r);
  CHECK(leaf.starts_with("{\"b\":5000,"));
  CHECK(leaf.find("\"w\":{\"0\":0.5,\"10\":0.5,\"2\":0.5,\"4999\":0.5}}") != std::string::npos);
  CHECK(parse_example(leaf).value() == r);
  r.w.assign(5000, 1);
  CHECK(leaf_of(r).size() <= largest_example_leaf(5000, 40));
}

TEST_CASE("random records come back, within the stated size") {
  Random random(42);
  INFO("seed 42");
  for (int n = 0; n < 3000; ++n) {
    ExampleRecord r = example();
    const size_t blocks = 1 + random.below(n % 100 == 0 ? 2200 : 30);
    r.w.clear();
    r.g.clear();
    r.r.clear();
    for (size_t b = 0; b < blocks; ++b) {
      const auto bits = static_cast<uint32_t>(random.below(1ULL << 32));
      float value = 0;
      std::memcpy(&value, &bits, sizeof(value));
      const bool open = std::isfinite(value) && value != 0 && random.below(3) > 0;
      r.w.push_back(open ? value : 0.0F);
      r.g.push_back(open ? std::fabs(value * 0.3F) : 0.0F);
      r.r.push_back(static_cast<int32_t>(random.below(1000)));
    }
    r.cls = "\"\\\n\t\x01 é€😀";
    std::string leaf;
    if (const Status s = write_leaf(leaf, r); !s.ok()) {
      REQUIRE(blocks > 1000);
      continue;
    }
    REQUIRE(leaf.size() <= largest_example_leaf(blocks, r.cls.size() + r.pol.size() + r.prof.size()));
    const Result<ExampleRecord> back = parse_example(leaf);
    INFO(leaf.substr(0, 2000) << back.status().message());
    REQUIRE(back.ok());
    REQUIRE(back.value() == r);
  }
}

TEST_CASE("control records are canonical JSON") {
  std::string leaf;
  REQUIRE(write_leaf(
              leaf,
              ControlRecord{"run", {{"seed", 7}, {"a", {1.5, "x\n", nullptr, true}}, {"z", {{"b", 1e-7}, {"a", -1}}}}})
              .ok());
  CHECK(leaf == "{\"a\":[1.5,\"x\\n\",null,true],\"k\":\"run\",\"seed\":7,\"v\":1,\"z\":{\"a\":-1,\"b\":1e-7}}");
  const ControlRecord back = parse_control(leaf).value();
  CHECK(back.kind == "run");
  CHECK(back.payload["z"]["a"] == -1);
  CHECK(leaf_kind(leaf).value() == "run");
  CHECK_FALSE(write_leaf(leaf, ControlRecord{"ex", {}}).ok());
  CHECK_FALSE(write_leaf(leaf, ControlRecord{"invented", {{"a", 1}}}).ok());
  CHECK_FALSE(write_leaf(leaf, ControlRecord{"run", {{"k", 1}}}).ok());
  CHECK_FALSE(write_leaf(leaf, ControlRecord{"run", nlohmann::json::array()}).ok());
  CHECK_FALSE(write_leaf(leaf, ControlRecord{"run", {{"a", std::nan("")}}}).ok());
  CHECK_FALSE(write_leaf(leaf, ControlRecord{"run", {{"a", "\xFF"}}}).ok());
  CHECK_FALSE(write_leaf(leaf, ControlRecord{"run", {{"a", std::string(66000, 'x')}}}).ok());
  for (const char* bad :
       {"", "{}", "[]", "{\"k\":\"run\"}", "{\"k\":\"run\",\"v\":2}", "{\"v\":1,\"k\":\"run\"}",
        "{\"k\":\"run\", \"v\":1}", "{\"k\":\"run\",\"v\":1}\n", "{\"k\":\"run\",\"v\":1,\"v\":1}",
        "{\"k\":\"run\",\"v\":1.0}", "{\"a\":1.50,\"k\":\"run\",\"v\":1}", "{\"k\":\"no\",\"v\":1}"}) {
    INFO(bad);
    CHECK_FALSE(parse_control(bad).ok());
  }
}

TEST_CASE("deeply nested JSON is refused, not followed") {
  CHECK_FALSE(leaf_kind(std::string(60000, '[')).ok());
  std::string deep = "{\"k\":\"run\",\"a\":";
  for (int i = 0; i < 5000; ++i) deep += "{\"a\":";
  CHECK_FALSE(leaf_kind(deep).ok());
  std::string hundred = std::string(100, '[') + std::string(100, ']');
  CHECK_FALSE(leaf_kind("{\"a\":" + hundred + ",\"k\":\"run\",\"v\":1}").ok());
}
