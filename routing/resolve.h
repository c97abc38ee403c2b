// A policy bound to the blocks of a model, and its answer for one document. A pure function of the policy, the block
// names, the document's facts and the date: no order of rules, documents or threads enters the weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "routing/blocks.h"
#include "routing/date.h"
#include "routing/document.h"
#include "routing/policy.h"

namespace govtrain {

// One table entry that had a say, and why: "matches", "expired on 2026-01-01", "no rule matches license MIT".
struct Match {
  int32_t rule = 0;  // index into Policy::table()
  bool in_window = true;
  std::string reason;
};

struct Decision {
  std::vector<float> weights;  // [B]; finite; never -0
  std::vector<int32_t> rule;   // [B]; the table entry that decided
  // The profile that decided every block, or several joined by '+' in block order, which combined give the weights:
  // where two of opposite signs give 0, both.
  std::string profile;
  bool excluded = false;       // every weight is zero
  std::vector<Match> matched;  // everything that had a say, most binding kind first
};

// Adds one more say to a weight: any zero -> 0; opposite signs -> 0; otherwise the smaller magnitude. `rule` becomes
// `other_rule` when the other decided. Zero is never -0.
void restrict_weight(float& weight, int32_t& rule, float other, int32_t other_rule);

// How the entries combine. All that match count, per block:
//   any zero -> 0;  opposite signs -> 0;  otherwise the weight of smallest magnitude.
// An entry that alone gives all of these weights is the one that decided; otherwise the first that gives the weight of
// the block: exclusions before privacy, privacy before rules, rules before the default; then table order.
//
// What counts. Each provenance is looked at by itself, and each term of its licence expression by itself: for AND all
// terms, for OR those alternatives that some rule matches (all of them when none is). Where no rule matches, the
// default counts. A rule outside its window counts with weight zero. Privacy classes and exclusions only ever restrict.
class BoundPolicy {
 public:
  // Reports profiles that do not fit the blocks. The slices of `map` are not used.
  static std::optional<BoundPolicy> bind(Policy policy, const BlockMap& map, Diagnostics& diagnostics);
  // As above, but throws ConfigError.
  static BoundPolicy bind(Policy policy, const BlockMap& map);

  Decision resolve(const DocumentFacts& facts, const Date& today) const;

  // With each scheduled profile as wide as the schedule can ever make it (magnitudes): what this one excludes stays
  // excluded whatever the schedule does. Without a schedule, the policy as it is.
  BoundPolicy widest() const;

  const Policy& policy() const { return policy_; }
  const std::vector<std::string>& blocks() const { return map_.names; }
  // The blocks that it is bound to, without their slices: enough to bind another policy to them.
  const BlockMap& block_map() const { return map_; }
  // Weights [B] of a profile.
  const std::vector<float>& weights(int profile) const { return weights_[static_cast<size_t>(profile)]; }
  // The same as the policy's text states them, whatever set_weights() has put in their place.
  const std::vector<float>& stated_weights(int profile) const { return stated_[static_cast<size_t>(profile)]; }
  // Replaces the weights of a profile from now on; `none` cannot be changed. Throws Error unless they are B and finite.
  void set_weights(int profile, std::vector<float> weights);
  // The rules that match a view, as table indices, ascending.
  std::vector<int32_t> matching_rules(const MetaView& view) const;

 private:
  BoundPolicy() = default;
  Policy policy_;
  BlockMap map_;                             // without slices
  std::vector<std::vector<float>> weights_;  // [profile][B], in force
  std::vector<std::vector<float>> stated_;   // [profile][B]
  std::vector<int> profile_of_;              // [table entry]
};

// The views of a document: one for each provenance and licence term, in order.
std::vector<MetaView> views_of(const DocumentFacts& facts);

}  // namespace govtrain
