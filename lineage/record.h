// The entries of the log as canonical JSON: one object per entry, keys sorted, no white space, at most 65,535 bytes.
// Nothing here depends on time, host or threads, so that equal runs give equal bytes. Deliberately not a JSON mapping
// library: leaf text is written directly, because one is written per training example.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace govtrain {

// What one example was allowed to teach, and did teach, in one step ("k":"ex").
struct ExampleRecord {
  // Where it was used. All three or none: an example that was excluded when the run started has no step.
  struct Place {
    int64_t step = 0;  // optimizer step, >= 0
    int64_t mb = 0;    // micro-batch
    int64_t i = 0;     // position in the micro-batch
    auto operator<=>(const Place&) const = default;
  };
  std::optional<Place> place;
  std::string ex;          // "sha256:" or "hmac:" and 64 hex digits: digest of the example's canonical bytes
  int64_t span_begin = 0;  // token span within the document
  int64_t span_end = 0;
  int64_t tok = 0;           // tokens
  std::vector<float> w;      // [B] weight per block; finite
  std::vector<float> g;      // [B] L2 norm of what was added to the block's gradient; >= 0, or NaN or infinite
  std::vector<int32_t> r;    // [B] index of the deciding rule in the policy's rule table
  std::string pol;           // policy id, "<name>@<8 hex digits>"
  std::string prof;          // profile name
  std::string cls;           // classification
  std::string prov;          // first 16 hex digits of the SHA-256 of a provenance object
  std::optional<float> ent;  // surprisal, nats per token
  std::optional<int32_t> band;
  std::optional<float> slope;
  std::optional<std::string> clv;  // id of the classification that gave `cls`, "<name>@<8 hex digits>"
  std::optional<float> score;      // the lowest score of what it went by, in [0, 1]
  bool operator==(const ExampleRecord&) const = default;
};

// Everything else: {"k":kind,"v":1} and the members of `payload`, which may not have "k" or "v".
struct ControlRecord {
  std::string kind;  // one of control_kinds()
  nlohmann::json payload = nlohmann::json::object();
};

const std::vector<std::string>& control_kinds();

// From this many blocks on, w, g and r are written as {"<block>":value} without their zeros, with "b" = B.
inline constexpr size_t sparse_blocks = 2001;

// An upper bound of the leaf's size for B blocks, `text_bytes` being the sum of the lengths of pol, prof, cls and clv.
size_t largest_example_leaf(size_t blocks, size_t text_bytes);

// Replaces `leaf` by the record's bytes. `invalid`, naming the field, when the record breaks a rule: sizes of w, g and
// r differ, w not finite, w == 0 with g != 0, a malformed digest, text that is not UTF-8, or a leaf over 65,535 bytes.
Status write_leaf(std::string& leaf, const ExampleRecord& record);
Status write_leaf(std::string& leaf, const ControlRecord& record);

// The value of "k" of any leaf, without checking the rest. `corrupt` when it is not an object with a string "k".
Result<std::string> leaf_kind(std::string_view leaf);

// Strict: `corrupt` unless writing the parsed record gives the same bytes again.
Result<ExampleRecord> parse_example(std::string_view leaf);
Result<ControlRecord> parse_control(std::string_view leaf);

}  // namespace govtrain
