#include "tools/govtrain/train/record_size.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/number.h"
#include "lineage/record.h"
#include "lineage/tiles.h"
#include "routing/reach.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {
namespace {

constexpr size_t longest_weight = 24;  // "-1.1754943508222875e-38,": a float, written as a double
constexpr size_t frame = 500;          // of a control record: its other members

// With each profile as wide as it is now, was at first, or can come to be (magnitudes): a block to which this does not
// admit a document stays closed to it. Bands only restrict.
BoundPolicy widest_ends(const BoundPolicy& policy) {
  BoundPolicy out = policy;
  const auto open = [&](int profile, const std::vector<float>& by) {
    std::vector<float> weights = out.weights(profile);
    for (size_t b = 0; b < weights.size(); ++b) weights[b] = std::max(std::abs(weights[b]), std::abs(by[b]));
    if (profile > 0) out.set_weights(profile, std::move(weights));  // `none` has no weights
  };
  for (int p = 0; p < static_cast<int>(policy.policy().profiles.size()); ++p) open(p, policy.stated_weights(p));
  for (const ProfileEnd& end : profile_ends(policy)) open(end.profile, end.weights);
  return out;
}

// The profiles that records may come to name for a document, as they are joined: all that have a say.
size_t profile_bytes(const std::vector<TableEntry>& table, const Decision& decision) {
  std::set<std::string> names = {none_profile, decision.profile};
  for (const Match& m : decision.matched) names.insert(table[static_cast<size_t>(m.rule)].profile);
  size_t bytes = 0;
  for (const std::string& name : names) bytes += name.size() + 1;
  return bytes;
}

size_t number_bytes(float weight) {
  std::string text;
  append_number(text, static_cast<double>(weight));
  return text.size() + 1;
}

// [profile][B] bytes of the longest weight that the profile comes to have.
std::vector<std::vector<size_t>> weight_bytes(const BoundPolicy& policy) {
  const Policy& p = policy.policy();
  std::vector<std::vector<size_t>> out;
  for (size_t i = 0; i < p.profiles.size(); ++i) {
    std::vector<size_t>& bytes = out.emplace_back();
    for (const float w : policy.weights(static_cast<int>(i))) bytes.push_back(number_bytes(w));
  }
  const auto moves = [&](int from, int to, bool at_once) {
    const std::vector<float>&a = policy.weights(from), &b = policy.weights(to);
    for (size_t i = 0; i < a.size(); ++i) {
      size_t& bytes = out[static_cast<size_t>(from)][i];
      if (a[i] != b[i]) bytes = std::max(bytes, at_once ? number_bytes(b[i]) : longest_weight);
    }
  };
  if (p.adaptation && p.adaptation->mode != AdaptMode::off)
    for (const AdaptationSpec::Entry& e : p.adaptation->profiles) moves(e.profile, e.broad, false);
  if (p.controller && p.controller->mode != AdaptMode::off)
    for (const ControllerSpec::Entry& e : p.controller->profiles) moves(e.profile, 0, false);
  for (const ScheduleEntry& e : p.schedule) moves(e.profile, e.to, e.over == 1 && !e.back);
  return out;
}

std::string too_large(const std::string& what, size_t bytes) {
  return fmt::format(
      "{} can need {} bytes in a record of the log, which holds {}; form fewer blocks, or set "
      "lineage.enabled=false",
      what, bytes, max_entry_bytes);
}

std::optional<std::string> too_large_example(const BoundPolicy& policy, const Date& date,
                                             const std::vector<DocumentFacts>& facts,
                                             const std::vector<DocumentLabel>& labels) {
  const size_t blocks = policy.blocks().size();
  const std::vector<TableEntry> table = policy.policy().table();
  size_t all = 200;
  for (const TableEntry& entry : table) all += entry.profile.size() + 1;
  size_t classes = 0;
  for (const DocumentLabel& l : labels) classes = std::max(classes, l.cls.size() + l.clv.value_or("").size());
  if (largest_example_leaf(blocks, all + classes) <= max_entry_bytes) return std::nullopt;  // whatever is decided
  const BoundPolicy reachable = widest_ends(policy);
  size_t present = 0, text = 0;
  for (size_t d = 0; d < facts.size(); ++d) {
    const Decision decision = reachable.resolve(facts[d], date);
    const auto zeros = std::count(decision.weights.begin(), decision.weights.end(), 0.0f);
    present = std::max(present, blocks - static_cast<size_t>(zeros));
    text = std::max(text, profile_bytes(table, decision) + labels[d].cls.size() + labels[d].clv.value_or("").size());
  }
  // Sparse records hold rules for every block, weights and norms for the admitted ones only.
  const size_t key = blocks < sparse_blocks ? 0 : 3 + std::to_string(blocks).size();
  const size_t whole = largest_example_leaf(blocks, text + 200);
  const size_t leaf = blocks < sparse_blocks ? whole : whole - (blocks - present) * (32 + 2 * key);
  if (leaf <= max_entry_bytes) return std::nullopt;
  return too_large(fmt::format("{} blocks, of which a document may come to teach {},", blocks, present), leaf);
}

}  // namespace

std::optional<std::string> too_large_record(const BoundPolicy& policy, const Date& date,
                                            const std::vector<DocumentFacts>& facts,
                                            const std::vector<DocumentLabel>& labels) {
  if (auto problem = too_large_example(policy, date, facts, labels)) return problem;
  const size_t blocks = policy.blocks().size();
  const std::vector<std::vector<size_t>> weights = weight_bytes(policy);
  size_t names = 0;
  std::vector<size_t> longest(blocks, 0);  // profiles that several rules make together mix theirs
  for (size_t p = 0; p < weights.size(); ++p) {
    names += policy.policy().profiles[p].name.size() + 1;
    for (size_t b = 0; b < blocks; ++b) longest[b] = std::max(longest[b], weights[p][b]);
  }
  const auto sum = [](const std::vector<size_t>& bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), size_t{0});
  };
  const size_t profile = frame + 6 * names + sum(longest);
  if (profile > max_entry_bytes) return too_large(fmt::format("a profile of {} blocks", blocks), profile);
  const auto& adaptation = policy.policy().adaptation;
  if (!adaptation || adaptation->mode == AdaptMode::off) return std::nullopt;
  size_t adapt = frame + 6 * names + longest_weight * static_cast<size_t>(policy.block_map().layers + 2);
  for (const AdaptationSpec::Entry& e : adaptation->profiles) adapt += 2 * sum(weights[static_cast<size_t>(e.profile)]);
  if (adapt <= max_entry_bytes) return std::nullopt;
  return too_large(fmt::format("the adaptation of {} {} of {} blocks", adaptation->profiles.size(),
                               noun(static_cast<int64_t>(adaptation->profiles.size()), "profile"), blocks),
                   adapt);
}

void check_record_size(Session& s) {
  if (const auto problem = s.governance->too_large_record(s.governance->policy())) throw Failure(exit_usage, *problem);
  s.governance->refuse_too_large_records();
}

}  // namespace govtrain
