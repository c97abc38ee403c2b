#include "routing/granularity.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "routing/block_file.h"
#include "routing/learned_blocks.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

// Two layers of four heads that share two key heads, and six channels.
std::vector<ParameterInfo> small() {
  using Axis = Division::Axis;
  std::vector<ParameterInfo> out{{"model.embed_tokens.weight", "embedding", -1, 10, 8}};
  for (int l = 0; l < 2; ++l) {
    const std::string at = "model.layers." + std::to_string(l) + ".";
    out.push_back({at + "input_layernorm.weight", "norm", l, 1, 8});
    out.push_back({at + "self_attn.q_proj.weight", "attention", l, 8, 8, {Axis::rows, 4}});
    out.push_back({at + "self_attn.q_proj.bias", "attention", l, 1, 8, {Axis::cols, 4}});
    out.push_back({at + "self_attn.k_proj.weight", "attention", l, 4, 8, {Axis::rows, 2}});
    out.push_back({at + "self_attn.o_proj.weight", "attention", l, 8, 8, {Axis::cols, 4}});
    out.push_back({at + "self_attn.o_proj.bias", "attention", l, 1, 8});
    out.push_back({at + "mlp.up_proj.weight", "mlp", l, 6, 8, {Axis::rows, 6}});
    out.push_back({at + "mlp.down_proj.weight", "mlp", l, 8, 6, {Axis::cols, 6}});
  }
  out.push_back({"model.norm.weight", "norm", 2, 1, 8});
  out.push_back({"lm_head.weight", "head", 2, 10, 8});
  return out;
}

BlockMap by(Granularity g, int64_t n = 2) {
  BlockSpec spec;
  spec.by = g;
  spec.group_layers = spec.ranges = n;
  Diagnostics d;
  BlockMap map = make_blocks(spec, small(), d);
  INFO(d.render());
  REQUIRE_FALSE(d.has_errors());
  return map;
}

std::string select(const std::string& list, BlockMap* out = nullptr) {
  Diagnostics d;
  const auto file = parse_block_file("b.yaml", "blocks: t\nversion: 1\nlist:\n" + list, d);
  BlockSpec spec;
  spec.by = Granularity::selectors;
  if (file) spec.file = std::make_shared<BlockFile>(*file);
  BlockMap map;
  if (file) map = make_blocks(spec, small(), d);
  if (out != nullptr) *out = map;
  return d.render();
}

std::vector<float> weights(const std::string& flow, const BlockMap& map, std::string* errors = nullptr) {
  Diagnostics d;
  const auto node = parse_yaml("f", flow, d);
  const auto profile = read_profile("p", *node, d);
  std::vector<float> out;
  if (profile) out = bind_profile(*profile, map, DepthOrigin::input, d);
  INFO(flow << "\n" << d.render());
  if (errors == nullptr) REQUIRE_FALSE(d.has_errors());
  if (errors != nullptr) *errors = d.render();
  return out;
}

using Names = std::vector<std::string>;
using Weights = std::vector<float>;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("names of blocks, in the order of their first element") {
  CHECK(by(Granularity::layer).names == Names{"embedding", "layer.0", "layer.1", "head"});
  CHECK(by(Granularity::group, 2).names == Names{"embedding", "layer.0-1", "head"});
  CHECK(by(Granularity::group, 1).names == Names{"embedding", "layer.0", "layer.1", "head"});
  CHECK(by(Granularity::role).names == Names{"embedding", "layer.0.norm", "layer.0.attention", "layer.0.mlp",
                                             "layer.1.norm", "layer.1.attention", "layer.1.mlp", "head.norm",
                                             "head.output"});
  const Names heads = by(Granularity::head).names;
  REQUIRE(heads.size() == 2 + 2 * (4 + 2 + 1 + 1 + 1));
  CHECK(heads[1] == "layer.0.norm");
  CHECK(heads[2] == "layer.0.attention.head.0");
  CHECK(heads[6] == "layer.0.attention.kv.0");
  CHECK(heads[8] == "layer.0.attention.rest");
  CHECK(heads[9] == "layer.0.mlp");
  CHECK(by(Granularity::channels, 3).names[3] == "layer.0.mlp.channels.0");
  CHECK(by(Granularity::tensor).names[1] == "layer.0.input_layernorm.weight");
  CHECK(by(Granularity::tensor).names.back() == "head.lm_head.weight");
}

TEST_CASE("a head owns its rows of q and its columns of o") {
  const BlockMap map = by(Granularity::head);
  for (int64_t head = 0; head < 4; ++head) {
    const int block = head_owner(map, small(), 1, head);
    REQUIRE(block >= 0);
    CHECK(map.names[static_cast<size_t>(block)] == "layer.1.attention.head." + std::to_string(head));
    CHECK(map.info[static_cast<size_t>(block)].elements == 2 * 8 + 2 + 8 * 2);
    CHECK(map.info[static_cast<size_t>(block)].role() == "attention");
    CHECK(map.info[static_cast<size_t>(block)].layer_first == 1);
  }
  CHECK_FALSE(contiguous_in_depth(map));
  CHECK(contiguous_in_depth(by(Granularity::group)));
}

TEST_CASE("shares of depth must cover the layers") {
  std::string problem;
  CHECK(parse_depth_share("shallow 33.3%", problem)->share == 33'300);
  CHECK_FALSE(parse_depth_share("shallow", problem));
  CHECK_FALSE(parse_depth_share("all 50%", problem));
  const auto report = [](std::vector<DepthShare> shares) {
    BlockSpec spec;
    spec.by = Granularity::position;
    spec.shares = std::move(shares);
    Diagnostics d;
    const BlockMap map = make_blocks(spec, small(), d);
    return d.has_errors() ? d.render() : join(map.names);
  };
  CHECK(report({{"a", 50'000}, {"b", 50'000}}) == "embedding, a, b, head");
  CHECK(has(report({{"a", 50'000}, {"b", 40'000}}), "add up to 90%"));
  CHECK(has(report({{"a", 20'000}, {"b", 80'000}}), "'a' has no layer of 2"));
}

TEST_CASE("selectors of a file divide a model, and rest takes what is left") {
  BlockMap map;
  CHECK(select("  - {name: early, owns: {layers: 0, heads: 0-1}}\n"
               "  - {name: keys, owns: [{kv_heads: 0-}]}\n"
               "  - {name: inner, owns: {layers: first 50%, channels: 0%-50%}}\n"
               "  - {name: words, owns: {role: embedding, rows: 5-}}\n"
               "  - {name: others, owns: rest}\n",
               &map)
            .empty());
  CHECK(map.names == Names{"others", "words", "early", "keys", "inner"});
  CHECK(map.info[2].elements == 4 * 8 + 4 + 8 * 4);
  CHECK(map.info[3].places == std::vector<int>{0, 1});
  CHECK(map.info[4].elements == 3 * 8 + 8 * 3);
  CHECK(map.info[1].elements == 5 * 8);
  CHECK_NOTHROW(check_partition(map, small()));
}

TEST_CASE("every gap and overlap is reported at once, in the author's terms, at the selector") {
  const std::string report = select(
      "  - {name: left, owns: {heads: 0-2}}\n  - {name: right, owns: [{heads: 2-3}, {role: mlp}]}\n"
      "  - {name: words, owns: {tensor: \"*embed*\", rows: 0-7}}\n  - {name: top, owns: {role: head}}\n");
  INFO(report);
  CHECK(has(report,
            "b.yaml:5:26: error: block 'right' takes what block 'left' owns already (b.yaml:4:24): "
            "model.layers.0.self_attn.q_proj.weight: rows 4-5, all columns"));
  CHECK(has(report, "model.layers.1.self_attn.o_proj.weight: all rows, columns 4-5"));
  CHECK(has(report, "no block owns model.embed_tokens.weight: rows 8-9, all columns"));
  CHECK(has(report, "model.layers.0.self_attn.k_proj.weight: all of it"));
}

TEST_CASE("selectors that cannot be meant are refused") {
  const auto one = [](const std::string& owns) { return select("  - {name: a, owns: " + owns + "}\n"); };
  CHECK(has(one("{heads: 4}"), "has heads 0 to 3"));
  CHECK(has(one("{layers: 2}"), "the model has layers 0 to 1"));
  CHECK(has(one("{layers: first 3}"), "the model has layers 0 to 1"));
  CHECK(has(one("{role: mpl}"), "did you mean 'mlp'?"));
  CHECK(has(one("{tensor: \"*nothing*\"}"), "this selects nothing"));
  CHECK(has(one("{heads: 3-1}"), "heads: '3-1' is no range"));
  CHECK(has(one("{heads: 0, channels: 0}"), "only one of heads, kv_heads, channels"));
  CHECK(has(one("{rows: 0-99}"), "has rows 0 to 9"));
  CHECK(has(one("{role: embedding, rows: 0%-5%}"), "this share of the 10 rows"));
  CHECK(has(one("{}"), "an empty selector"));
  CHECK(has(one("{head: 0}"), "unknown key"));
  CHECK(has(select("  - {name: embedding, owns: {role: mlp}}\n  - {name: b, owns: rest}\n"), "is kept for a block"));
  CHECK(has(select("  - {name: layer.0, owns: rest}\n"), "is not a name for a block"));
  CHECK(has(select("  - {name: a, owns: rest}\n  - {name: b, owns: rest}\n"), "'a' owns the rest already"));
  CHECK(has(select("  - {name: a, owns: {role: mlp}}\n  - {name: a, owns: rest}\n"), "a second block named 'a'"));
}

TEST_CASE("profiles select sub-layer blocks by place, role and name") {
  const BlockMap roles = by(Granularity::role);  // embedding, 0.norm, 0.attention, 0.mlp, 1.., head.norm, head.output
  CHECK(weights("{embedding: 1, first 50% of layers: 2, rest: 0}", roles) == Weights{1, 2, 2, 2, 0, 0, 0, 0, 0});
  CHECK(weights("{layer.1: 1, head: 2, rest: 0}", roles) == Weights{0, 0, 0, 0, 1, 1, 1, 2, 2});
  CHECK(weights("{role mlp: 1, rest: 0}", roles) == Weights{0, 0, 0, 1, 0, 0, 1, 0, 0});
  CHECK(weights("{role attention of last 1 layer: 3, layer.0-0: 1, rest: 0}", roles) ==
        Weights{0, 1, 1, 1, 0, 3, 0, 0, 0});
  const BlockMap heads = by(Granularity::head);
  const Weights w = weights("{layer.0.attention: 1, rest: 0}", heads);
  CHECK(std::count(w.begin(), w.end(), 1.0f) == 7);
  const BlockMap group = by(Granularity::group);
  CHECK(weights("{layer.0-1: 1, rest: 0}", group) == Weights{0, 1, 0});
}

TEST_CASE("a selector that means only a part of a block is an error, never a guess") {
  std::string errors;
  weights("{layer.0: 0, rest: 1}", by(Granularity::group), &errors);
  CHECK(has(errors, "this takes only a part of block layer.0-1, which owns layer.0, layer.1"));
  weights("{first 1 layer: 0, rest: 1}", by(Granularity::group), &errors);
  CHECK(has(errors, "only a part of block layer.0-1"));
  weights("{role mlp: 0, rest: 1}", by(Granularity::layer), &errors);
  CHECK(has(errors, "only a part of block layer.0, which owns attention, mlp, norm"));
  weights("{role router: 0, rest: 1}", by(Granularity::role), &errors);
  CHECK(has(errors, "no block has the role 'router'"));
  weights("{role mlp in layer.0: 0, rest: 1}", by(Granularity::role), &errors);
  CHECK(has(errors, "expected 'role mlp' or 'role mlp of layer.0-3'"));
}

TEST_CASE("clusters join what the same classes pull at, whatever its size, and the file reads back") {
  LearnedBlocks l;
  l.unit = Granularity::role;
  l.key = "license";
  l.classes = {"a", "b"};
  l.examples = {3, 4};
  l.data_sha256 = l.config_sha256 = "0";
  l.model = "initial";
  for (const NamedSlices& u : learnable_units(l.unit, 0, small())) l.units.push_back(u.name);
  REQUIRE(l.units.size() == 6);
  l.matrix = {{1, 2}, {10, 5}, {3, 6.1}, {100, 200}, {2, 1}, {7, 3.4}};
  cluster(l, 2);
  CHECK(l.blocks[0].units == Names{l.units[0], l.units[2], l.units[3]});
  CHECK(l.blocks[1].units == Names{l.units[1], l.units[4], l.units[5]});
  Diagnostics d;
  const auto back = parse_learned("l.json", to_text(l), d);
  INFO(d.render());
  REQUIRE(back);
  CHECK(to_text(*back) == to_text(l));
  BlockSpec spec;
  spec.by = Granularity::learned;
  spec.learned = std::make_shared<LearnedBlocks>(*back);
  const BlockMap map = make_blocks(spec, small(), d);
  REQUIRE_FALSE(d.has_errors());
  CHECK(map.names == Names{"embedding", "learned.0", "learned.1", "head"});

  LearnedBlocks changed = l;
  std::swap(changed.blocks[0].units, changed.blocks[1].units);
  CHECK_FALSE(parse_learned("l.json", to_text(changed), d));
  CHECK(has(d.render(), "does not follow from the matrix"));
  Diagnostics other;
  spec.learned = std::make_shared<LearnedBlocks>(l);
  make_blocks(spec, parameters(3), other);
  CHECK(has(other.render(), "no learned block owns layer.2.attention"));
  CHECK_THROWS_AS(cluster(l, 7), Error);
}
