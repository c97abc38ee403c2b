// Leaves of a small, valid log.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "core/hash.h"
#include "lineage/record.h"

namespace govtrain {

inline const std::string test_policy = "basic@0a1b2c3d";
inline const std::string test_provenance = "44136fa355b3678a";  // of the object "{}"

inline std::string control_leaf(const std::string& kind, const nlohmann::json& payload) {
  std::string leaf;
  if (const Status s = write_leaf(leaf, ControlRecord{kind, payload}); !s.ok()) throw std::runtime_error(s.message());
  return leaf;
}

// `run`, a policy of two rules, a profile: entries 0 to 2.
inline std::vector<std::string> opening() {
  return {control_leaf("run", {{"seed", 1}}), control_leaf("policy", {{"id", test_policy}, {"rules", {"a", "b"}}}),
          control_leaf("profile", {{"id", "deep"}, {"w", {1, 0}}})};
}

inline std::string example_leaf(int64_t step, int64_t i, const std::string& policy = test_policy, int rule = 0,
                                const std::string& provenance = test_provenance, const std::string& text = "a") {
  ExampleRecord r;
  r.place = ExampleRecord::Place{step, 0, i};
  r.ex = "sha256:" + hex(sha256(text));
  r.span_end = r.tok = 64;
  r.w = {1, 0};
  r.g = {0.25F, 0};
  r.r = {rule, 1};
  r.pol = policy;
  r.prof = "deep";
  r.cls = "open";
  r.prov = provenance;
  std::string leaf;
  if (const Status s = write_leaf(leaf, r); !s.ok()) throw std::runtime_error(s.message());
  return leaf;
}

inline std::string excluded_leaf() {
  ExampleRecord r = parse_example(example_leaf(0, 0)).value();
  r.place.reset();
  r.w = r.g = {0, 0};
  std::string leaf;
  if (const Status s = write_leaf(leaf, r); !s.ok()) throw std::runtime_error(s.message());
  return leaf;
}

}  // namespace govtrain
