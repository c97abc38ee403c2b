#include "routing/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/number.h"
#include "routing/bands.h"
#include "routing/granularity.h"
#include "routing/reach.h"

namespace govtrain {
namespace {

// 1234567 -> "1,234,567"
std::string grouped(int64_t value) {
  std::string out = std::to_string(value);
  for (int i = static_cast<int>(out.size()) - 3; i > 0; i -= 3) out.insert(static_cast<size_t>(i), ",");
  return out;
}

std::string facts_text(const DocumentFacts& facts) {
  std::string out = fmt::format("document {}\n", facts.id.empty() ? "(no id)" : facts.id);
  if (!facts.digest.empty()) out += fmt::format("  digest  {}\n", facts.digest);
  for (size_t i = 0; i < facts.provenances.size(); ++i) {
    out += fmt::format("  provenance {} of {}\n", i + 1, facts.provenances.size());
    for (const auto& [key, value] : facts.provenances[i]) out += fmt::format("    {:<10} {}\n", key, in_quotes(value));
  }
  return out;
}

std::string rules_text(const BoundPolicy& bound, const std::vector<MetaView>& views) {
  const Policy& policy = bound.policy();
  std::string out = "rules\n";
  for (const PolicyRule& rule : policy.rules) {
    std::string window;
    if (rule.from) window += " from " + rule.from->text();
    if (rule.until) window += " until " + rule.until->text();
    out += fmt::format("  {} -> {}{}\n", rule.name, policy.profiles[static_cast<size_t>(rule.profile)].name, window);
    std::vector<std::string> seen;  // provenances often agree
    for (const MetaView& view : views) {
      std::string text = explain(rule.when, view, 4);
      if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
      out += text;
      seen.push_back(std::move(text));
    }
  }
  return policy.rules.empty() ? "rules: the policy has none\n" : out;
}

std::string shares_text(const Banding& banding, const char* unit) {
  std::vector<std::string> values;
  for (const double v : banding.fixed() ? banding.edges : banding.quantiles) {
    values.emplace_back();
    append_number(values.back(), v);
  }
  if (banding.fixed()) return fmt::format("edges {} {}", join(values), unit);
  return fmt::format("quantiles {} after {} observed examples", join(values), grouped(banding.warmup));
}

// What each band would make of the document's weights.
std::string bands_text(const BoundPolicy& bound, const Decision& decision) {
  const EntropyRules& rules = *bound.policy().entropy;
  std::vector<std::vector<float>> cells;
  for (int c = 0; c < rules.cells(); ++c) cells.push_back(bound.weights(rules.profile(c)));
  std::string out = fmt::format("bands of surprisal: {}\n", shares_text(rules.banding, "nats per token"));
  if (rules.slope) {
    out +=
        fmt::format("  slopes by {}: {}\n", rules.slope->by,
                    shares_text(rules.slope->banding, rules.slope->over_epochs ? "nats per epoch" : "nats per step"));
  }
  const bool teaches = may_teach_bands(decision.weights, differing_blocks(cells));
  out += fmt::format("  this document {} edges{}\n", teaches ? "moves" : "does not move",
                     rules.slope ? " and slopes" : "");
  size_t width = 4, profile_width = 7;
  for (int c = 0; c < rules.cells(); ++c) {
    width = std::max(width, rules.cell_name(c).size());
    profile_width = std::max(profile_width, bound.policy().profiles[static_cast<size_t>(rules.profile(c))].name.size());
  }
  out += fmt::format("  {:<{}}  {:<{}}  {}\n", "band", width, "profile", profile_width, join(bound.blocks(), " "));
  for (int c = 0; c < rules.cells(); ++c) {
    std::vector<float> weights = decision.weights;
    std::vector<int32_t> rule = decision.rule;
    restrict_row(weights, rule, cells[static_cast<size_t>(c)], bound.policy().entropy_index(c));
    std::string line;
    for (size_t b = 0; b < weights.size(); ++b)
      line += fmt::format("{}{:<{}}", b == 0 ? "" : " ", number_text(weights[b]), bound.blocks()[b].size());
    line.erase(line.find_last_not_of(' ') + 1);
    out += fmt::format("  {:<{}}  {:<{}}  {}\n", rules.cell_name(c), width,
                       bound.policy().profiles[static_cast<size_t>(rules.profile(c))].name, profile_width, line);
  }
  return out;
}

// Where the weights can go, a line for each end.
std::string reach_text(const std::vector<std::string>& blocks, const DocumentReach& reach) {
  if (reach.ends.empty()) return "";
  const std::string title = "while training", start = "at the start";
  size_t width = title.size();
  for (const DocumentReach::End& end : reach.ends) width = std::max(width, end.text.size());
  std::string out = fmt::format("{:<{}}  {}\n", title, width + 2, join(blocks, " "));
  const auto line = [&](const std::string& text, const std::vector<float>& weights) {
    std::string row = fmt::format("  {:<{}} ", text, width);
    for (size_t b = 0; b < weights.size(); ++b)
      row += fmt::format(" {:<{}}", number_text(weights[b]), blocks[b].size());
    out += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
  };
  line(start, reach.start.weights);
  for (const DocumentReach::End& end : reach.ends) line(end.text, end.weights);
  return out;
}

}  // namespace

std::string explain_document(const BoundPolicy& bound, const DocumentFacts& facts, const Date& today) {
  const DocumentReach reach = reach_of(bound, facts, today);
  const Decision& decision = reach.start;
  const std::vector<TableEntry> table = bound.policy().table();
  const auto entry = [&](int32_t index) { return table[static_cast<size_t>(index)]; };
  std::string out = fmt::format("policy {} on {}\n", bound.policy().id(), today.text());
  out += facts_text(facts) + rules_text(bound, views_of(facts));
  out += "what has a say\n";
  for (const Match& m : decision.matched) {
    out += fmt::format("  [{}] {} -> {}: {}\n", m.rule, entry(m.rule).name,
                       m.in_window ? entry(m.rule).profile : none_profile, m.reason);
  }
  const bool shut = std::all_of(decision.weights.begin(), decision.weights.end(), [](float w) { return w == 0; });
  out += fmt::format("decision{}: profile {}{}\n", reach.ends.empty() ? "" : " at the start", decision.profile,
                     decision.excluded ? " (excluded: no block learns from it)"
                     : shut            ? " (no block learns from it yet)"
                                       : "");
  size_t width = 5;
  for (const std::string& block : bound.blocks()) width = std::max(width, block.size());
  out += fmt::format("  {:<{}}  {:>9}  decided by\n", "block", width, "weight");
  for (size_t b = 0; b < bound.blocks().size(); ++b) {
    out += fmt::format("  {:<{}}  {:>9}  [{}] {}\n", bound.blocks()[b], width, number_text(decision.weights[b]),
                       decision.rule[b], entry(decision.rule[b]).name);
  }
  out += reach_text(bound.blocks(), reach);
  if (bound.policy().entropy && !decision.excluded) out += bands_text(at_start(bound), decision);
  return out;
}

std::string explain_blocks(const BlockMap& map, const std::vector<ParameterInfo>& parameters) {
  std::string out;
  int64_t total = 0;
  std::vector<Slice> slices = map.slices;
  std::stable_sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& s) { return a.block < s.block; });
  size_t next = 0;
  for (int b = 0; b < map.blocks(); ++b) {
    std::string lines;
    const BlockInfo& info = map.info.at(static_cast<size_t>(b));
    for (; next < slices.size() && slices[next].block == b; ++next) {
      const Slice& s = slices[next];
      const ParameterInfo& p = parameters[static_cast<size_t>(s.parameter)];
      const int64_t count = (s.row_end - s.row_begin) * (s.col_end - s.col_begin);
      const bool whole = count == p.rows * p.cols;
      const std::string area = whole ? fmt::format("[{}, {}]", p.rows, p.cols)
                                     : fmt::format("[{}:{}, {}:{}] of [{}, {}]", s.row_begin, s.row_end, s.col_begin,
                                                   s.col_end, p.rows, p.cols);
      lines += fmt::format("    {:<52} {:<10} {:<16} {:>12}\n", p.name, p.role, area, grouped(count));
    }
    std::vector<std::string> places;
    for (const int place : info.places) places.push_back(place_name(place, map.layers));
    out += fmt::format("  {} [{}]: {} elements, {}, in {}\n{}", map.names[static_cast<size_t>(b)], b,
                       grouped(info.elements), join(info.roles, " and "), join(places), lines);
    total += info.elements;
  }
  return out + fmt::format("  {} blocks, {} elements\n", map.blocks(), grouped(total));
}

}  // namespace govtrain
