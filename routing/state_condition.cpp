#include "routing/state_condition.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/config/scalar.h"
#include "core/number.h"
#include "routing/glob.h"

namespace govtrain {
namespace {

using Kind = StateCondition::Kind;

const std::vector<std::pair<std::string, Kind>> words = {
    {"step", Kind::step},   {"epoch", Kind::epoch},       {"loss_progress", Kind::loss_progress},
    {"drift", Kind::drift}, {"capacity", Kind::capacity}, {"all", Kind::all},
    {"any", Kind::any},     {"not", Kind::none}};

const std::string& word_of(Kind kind) {
  return std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.second == kind; })->first;
}

class Reader {
 public:
  Reader(std::string what, Diagnostics& diagnostics) : what_(std::move(what)), diagnostics_(diagnostics) {}

  std::optional<StateCondition> map(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::map || node.entries.empty()) {
      diagnostics_.error(node.at, fmt::format("{}: expected a condition such as {{epoch: 1}}, found {}", what_,
                                              node.kind == YamlNode::Kind::map ? "an empty map" : describe(node)));
      return {};
    }
    StateCondition out;
    out.at = node.at;
    const int errors = diagnostics_.errors();
    for (const auto& [key, value] : node.entries) {
      if (auto child = entry(key, value)) out.children.push_back(std::move(*child));
    }
    if (diagnostics_.errors() > errors) return {};
    if (out.children.size() > 1) return out;
    StateCondition only = std::move(out.children.front());
    return only;
  }

 private:
  std::optional<StateCondition> entry(const YamlNode& key, const YamlNode& value) {
    const auto word = std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.first == key.text; });
    if (word == words.end()) {
      std::vector<std::string> known;
      for (const auto& w : words) known.push_back(w.first);
      const std::string near = did_you_mean(key.text, known);
      diagnostics_.error(key.at, fmt::format("{}: unknown condition {}", what_, in_quotes(key.text)),
                         near.empty() ? "conditions: " + join(known) : near);
      return {};
    }
    StateCondition out;
    out.kind = word->second;
    out.at = key.at;
    const int errors = diagnostics_.errors();
    switch (out.kind) {
      case Kind::step:
      case Kind::epoch:
        whole(key.text, value, out);
        break;
      case Kind::loss_progress:
      case Kind::drift:
      case Kind::capacity:
        bounds(key.text, value, out);
        break;
      case Kind::all:
      case Kind::any:
        list(key.text, value, out);
        break;
      case Kind::none:
        if (auto child = map(value)) out.children.push_back(std::move(*child));
        break;
    }
    if (diagnostics_.errors() > errors) return {};
    return out;
  }

  void whole(const std::string& word, const YamlNode& value, StateCondition& out) {
    const int64_t least = out.kind == Kind::step ? 1 : 0;
    const auto problem = value.kind == YamlNode::Kind::scalar
                             ? parse_integer({value.text, value.quoted}, "", out.from)
                             : Problem{"expected a whole number, found " + describe(value), ""};
    if (problem)
      diagnostics_.error(value.at, fmt::format("{}: '{}': {}", what_, word, problem->message), problem->hint);
    if (!problem && out.from < least)
      diagnostics_.error(value.at, fmt::format("{}: '{}' is {}", what_, word, out.from),
                         fmt::format("{}s count from {}", word, least));
  }

  std::optional<double> number(const std::string& key, const YamlNode* node) {
    if (node == nullptr) return {};
    double out = 0;
    const auto problem = node->kind == YamlNode::Kind::scalar
                             ? parse_number({node->text, node->quoted}, "", out)
                             : Problem{"expected a number, found " + describe(*node), ""};
    if (!problem) return out;
    diagnostics_.error(node->at, fmt::format("{}: '{}': {}", what_, key, problem->message), problem->hint);
    return {};
  }

  void bounds(const std::string& word, const YamlNode& value, StateCondition& out) {
    MapReader reader(value, fmt::format("{}: '{}'", what_, word), diagnostics_);
    if (!reader.ok()) return;
    const bool per_block = out.kind != Kind::loss_progress;
    if (per_block) {
      if (const auto block = reader.required_text("block", "a block's name or a pattern, for example 'layer.*'"))
        out.block = *block;
    }
    const YamlNode* above = reader.optional("above");
    const YamlNode* below = reader.optional("below");
    out.above = number("above", above);
    out.below = number("below", below);
    reader.finish();
    if (above == nullptr && below == nullptr)
      diagnostics_.error(value.at, fmt::format("{}: '{}' has no bound", what_, word), "write 'above' or 'below'");
    for (const auto& bound : {std::pair(out.above, above), std::pair(out.below, below)}) {
      if (bound.first && per_block && (*bound.first < 0 || *bound.first > 1))
        diagnostics_.error(bound.second->at, fmt::format("{}: '{}' lies between 0 and 1", what_, word));
    }
    if (out.above && out.below && *out.above >= *out.below)
      diagnostics_.error(below->at,
                         fmt::format("{}: '{}' cannot be above {} and below {}", what_, word, *out.above, *out.below));
  }

  void list(const std::string& word, const YamlNode& value, StateCondition& out) {
    if (value.kind != YamlNode::Kind::list || value.items.empty()) {
      diagnostics_.error(value.at, fmt::format("{}: '{}' must be a list of conditions, found {}", what_, word,
                                               value.kind == YamlNode::Kind::list ? "an empty list" : describe(value)));
      return;
    }
    for (const YamlNode& item : value.items) {
      if (auto child = map(item)) out.children.push_back(std::move(*child));
    }
  }

  std::string what_;
  Diagnostics& diagnostics_;
};

std::optional<bool> within(const StateCondition& c, double value) {
  return (!c.above || value > *c.above) && (!c.below || value < *c.below);
}

std::optional<bool> all_of(const std::vector<std::optional<bool>>& values) {
  bool unknown = false;
  for (const std::optional<bool>& v : values) {
    if (v && !*v) return false;
    unknown = unknown || !v;
  }
  if (unknown) return {};
  return true;
}

std::optional<bool> opposite(std::optional<bool> value) {
  if (value) value = !*value;
  return value;
}

}  // namespace

std::optional<StateCondition> read_state_condition(const YamlNode& node, const std::string& what,
                                                   Diagnostics& diagnostics) {
  return Reader(what, diagnostics).map(node);
}

void check_state_condition(const StateCondition& c, const std::string& what, const std::vector<std::string>& blocks,
                           Diagnostics& diagnostics) {
  for (const StateCondition& child : c.children) check_state_condition(child, what, blocks, diagnostics);
  if (c.block.empty()) return;
  if (std::any_of(blocks.begin(), blocks.end(), [&](const auto& name) { return glob_match(c.block, name); })) return;
  const std::string near = did_you_mean(c.block, blocks);
  diagnostics.error(c.at, fmt::format("{}: the model has no block {}", what, in_quotes(c.block)),
                    near.empty() ? "blocks: " + join(blocks) : near);
}

std::optional<bool> holds(const StateCondition& c, const TrainingState& state, const std::vector<std::string>& blocks,
                          Evidence& evidence) {
  switch (c.kind) {
    case Kind::step:
      evidence["step"] = static_cast<double>(state.step + 1);
      return state.step + 1 >= c.from;
    case Kind::epoch:
      evidence["epoch"] = static_cast<double>(state.epoch);
      return state.epoch >= static_cast<uint64_t>(c.from);
    case Kind::loss_progress:
      if (!state.loss_progress) return {};
      evidence["loss_progress"] = *state.loss_progress;
      return within(c, *state.loss_progress);
    case Kind::drift:
    case Kind::capacity:
      break;
    case Kind::none:
      return opposite(holds(c.children[0], state, blocks, evidence));
    case Kind::all:
    case Kind::any: {
      const bool any = c.kind == Kind::any;
      std::vector<std::optional<bool>> values;
      for (const StateCondition& child : c.children) {
        const std::optional<bool> value = holds(child, state, blocks, evidence);
        values.push_back(any ? opposite(value) : value);
      }
      return any ? opposite(all_of(values)) : all_of(values);
    }
  }
  const std::vector<double>& measured = c.kind == Kind::drift ? state.drift : state.capacity;
  if (measured.size() != blocks.size()) return {};
  std::vector<std::optional<bool>> values;
  for (size_t b = 0; b < blocks.size(); ++b) {
    if (!glob_match(c.block, blocks[b])) continue;
    evidence[word_of(c.kind) + " " + blocks[b]] = measured[b];
    values.push_back(within(c, measured[b]));
  }
  return all_of(values);
}

std::string to_flow(const StateCondition& c) {
  std::vector<std::string> parts;
  for (const StateCondition& child : c.children) parts.push_back(to_flow(child));
  std::string value;
  if (c.kind == Kind::step || c.kind == Kind::epoch) {
    value = fmt::format("{}", c.from);
  } else if (c.kind == Kind::none) {
    value = parts[0];
  } else if (!parts.empty()) {
    value = "[" + join(parts) + "]";
  } else {
    if (!c.block.empty()) parts.push_back("\"block\": " + nlohmann::json(c.block).dump());
    if (c.above) parts.push_back("\"above\": " + number_text(*c.above));
    if (c.below) parts.push_back("\"below\": " + number_text(*c.below));
    value = "{" + join(parts) + "}";
  }
  return fmt::format("{{\"{}\": {}}}", word_of(c.kind), value);
}

}  // namespace govtrain
