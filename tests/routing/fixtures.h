// Small models and policies for the routing tests.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "routing/resolve.h"

namespace govtrain::routing_test {

// embedding, layer.0 .. layer.(n-1), head, with a few parameters each.
inline std::vector<ParameterInfo> parameters(int layers) {
  std::vector<ParameterInfo> out{{"model.embed_tokens.weight", "embedding", -1, 16, 4}};
  for (int i = 0; i < layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    out.push_back({prefix + "input_layernorm.weight", "norm", i, 1, 4});
    out.push_back({prefix + "self_attn.q_proj.weight", "attention", i, 4, 4});
    out.push_back({prefix + "mlp.up_proj.weight", "mlp", i, 8, 4});
  }
  out.push_back({"model.norm.weight", "norm", layers, 1, 4});
  out.push_back({"lm_head.weight", "head", layers, 16, 4});
  return out;
}

inline BlockMap blocks(int layers) { return blocks_by_layer(parameters(layers)); }

inline Policy parse_policy(const std::string& text) {
  Diagnostics d;
  auto policy = Policy::parse("p.yaml", text, d);
  INFO(text << "\n" << d.render());
  REQUIRE(policy);
  return *policy;
}

inline BoundPolicy bind_policy(const std::string& text, int layers = 4) {
  return BoundPolicy::bind(parse_policy(text), blocks(layers));
}

// A profile for each of three licences, and an adaptation that opens one of them.
inline const std::string three_rules =
    "policy: p\nversion: 1\ndefault: none\nprofiles: {full: {all: 1}, low: {embedding: 1, layer.0: 0.5, rest: 0}, "
    "later: {all: 0}, own: {embedding: 1, layer.0: 0.5, rest: 0}}\n"
    "rules: [{name: a, when: {license: MIT}, profile: low}, {name: b, when: {license: BSD}, profile: later}, "
    "{name: c, when: {license: ISC}, profile: full}]\n";
inline const std::string low_adapts = "adaptation: {begin: 0.1, full: 0.2, profiles: {low: full}}\n";

inline Date day(const std::string& text) { return Date::parse(text).value(); }

inline DocumentFacts document(const Meta& meta) { return {"doc", "", {meta}}; }

inline DocumentFacts licensed(const std::string& license) { return document({{"license", license}}); }

}  // namespace govtrain::routing_test
