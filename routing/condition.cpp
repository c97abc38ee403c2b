#include "routing/condition.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/config/scalar.h"
#include "routing/glob.h"
#include "routing/license.h"

namespace govtrain {
namespace {

using Kind = Condition::Kind;

const std::vector<std::string> known_fields{"license", "source", "package", "language", "class", "path",
                                            "privacy", "url",    "version", "any",      "all",   "not"};

std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<Condition> read_map(const YamlNode& node, const std::string& what, Diagnostics& diagnostics);

// any: and all: take a list of maps.
std::optional<Condition> read_list(Kind kind, const YamlNode& key, const YamlNode& value, const std::string& what,
                                   Diagnostics& diagnostics) {
  Condition out{kind, "", {}, {}, key.at};
  if (value.kind != YamlNode::Kind::list || value.items.empty()) {
    diagnostics.error(value.at,
                      fmt::format("{}: '{}' needs a list of conditions, found {}", what, key.text,
                                  value.kind == YamlNode::Kind::list ? "an empty list" : describe(value)),
                      fmt::format("write '{}: [{{license: MIT}}, {{source: x}}]'", key.text));
    return {};
  }
  for (const YamlNode& item : value.items) {
    if (auto child = read_map(item, what, diagnostics)) out.children.push_back(std::move(*child));
  }
  return out;
}

std::optional<Condition> read_field(const YamlNode& key, const YamlNode& value, const std::string& what,
                                    Diagnostics& diagnostics) {
  Condition out{Kind::field, key.text, {}, {}, key.at};
  const bool list = value.kind == YamlNode::Kind::list;
  if (list && value.items.empty()) {
    diagnostics.error(value.at, fmt::format("{}: the list of '{}' is empty and matches nothing", what, key.text));
    return {};
  }
  const int errors = diagnostics.errors();
  for (const YamlNode& item : list ? value.items : std::vector<YamlNode>{value}) {
    if (item.kind != YamlNode::Kind::scalar || item.text.empty()) {
      diagnostics.error(item.at,
                        fmt::format("{}: '{}' must be a text or a list of texts, found {}", what, key.text,
                                    item.kind == YamlNode::Kind::scalar ? "an empty text" : describe(item)),
                        "to match documents without the key, write not: {" + key.text + ": \"*\"}");
      continue;
    }
    if (const auto warning = ambiguous_text({item.text, item.quoted})) {
      diagnostics.warning(item.at, fmt::format("{}: {}", what, warning->message), warning->hint);
    }
    if (key.text == "license" && parse_license(item.text).kind != LicenseExpression::Kind::term) {
      diagnostics.error(item.at,
                        fmt::format("{}: {} is an expression; a licence pattern is one id", what, in_quotes(item.text)),
                        "write a list of ids; the document's expression is taken apart");
    }
    out.patterns.push_back(item.text);
  }
  if (diagnostics.errors() > errors) return {};
  return out;
}

std::optional<Condition> read_entry(const YamlNode& key, const YamlNode& value, const std::string& what,
                                    Diagnostics& diagnostics) {
  if (key.text == "any" || key.text == "all") {
    return read_list(key.text == "any" ? Kind::any : Kind::all, key, value, what, diagnostics);
  }
  if (key.text == "not") {
    Condition out{Kind::none, "", {}, {}, key.at};
    auto child = read_map(value, what, diagnostics);
    if (!child) return {};
    out.children.push_back(std::move(*child));
    return out;
  }
  // Any metadata key is allowed, so a slip in a usual one is only a warning.
  if (std::find(known_fields.begin(), known_fields.end(), key.text) == known_fields.end()) {
    if (const std::string near = did_you_mean(key.text, known_fields); !near.empty()) {
      diagnostics.warning(key.at, fmt::format("{}: {} is not a usual metadata key", what, in_quotes(key.text)), near);
    }
  }
  return read_field(key, value, what, diagnostics);
}

std::optional<Condition> read_map(const YamlNode& node, const std::string& what, Diagnostics& diagnostics) {
  if (node.kind != YamlNode::Kind::map || node.entries.empty()) {
    diagnostics.error(node.at,
                      fmt::format("{}: a condition must be a map such as {{license: MIT}}, found {}", what,
                                  node.kind == YamlNode::Kind::map ? "an empty map" : describe(node)),
                      "'when: always' matches every document");
    return {};
  }
  Condition out{Kind::all, "", {}, {}, node.at};
  const int errors = diagnostics.errors();
  for (const auto& [key, value] : node.entries) {
    if (auto child = read_entry(key, value, what, diagnostics)) out.children.push_back(std::move(*child));
  }
  if (diagnostics.errors() > errors) return {};
  if (out.children.size() == 1) {
    Condition only = std::move(out.children[0]);
    return only;
  }
  return out;
}

std::string pattern_list(const std::vector<std::string>& patterns) {
  constexpr size_t shown = 8;
  std::vector<std::string> out;
  for (const std::string& p : patterns) out.push_back(in_quotes(p));
  if (out.size() <= shown) return join(out);
  out.resize(shown);
  return fmt::format("{} and {} more", join(out), patterns.size() - shown);
}

}  // namespace

std::string MetaView::value(const std::string& field) const {
  if (field == "id") return document->id;
  if (field == "digest") return document->digest;
  if (field == "license") return license;
  const auto found = meta->find(field);
  return found == meta->end() ? "" : found->second;
}

std::optional<Condition> read_condition(const YamlNode& node, const std::string& what, Diagnostics& diagnostics) {
  if (node.kind == YamlNode::Kind::scalar && node.text == "always") return Condition{Kind::always, "", {}, {}, node.at};
  return read_map(node, what, diagnostics);
}

bool pattern_matches(const std::string& field, const std::string& pattern, const std::string& value) {
  if (value.empty()) return false;
  if (field != "license") return glob_match(pattern, value);
  const std::string wanted = lower_case(pattern);
  const std::vector<std::string> forms = license_forms(value);
  return std::any_of(forms.begin(), forms.end(),
                     [&](const auto& form) { return glob_match(wanted, lower_case(form)); });
}

bool matches(const Condition& c, const MetaView& view) {
  const auto holds = [&](const Condition& child) { return matches(child, view); };
  switch (c.kind) {
    case Kind::always:
      return true;
    case Kind::all:
      return std::all_of(c.children.begin(), c.children.end(), holds);
    case Kind::any:
      return std::any_of(c.children.begin(), c.children.end(), holds);
    case Kind::none:
      return !holds(c.children[0]);
    case Kind::field:
      break;
  }
  const std::string value = view.value(c.field);
  return std::any_of(c.patterns.begin(), c.patterns.end(),
                     [&](const std::string& pattern) { return pattern_matches(c.field, pattern, value); });
}

bool implies(const Condition& a, const Condition& b) {
  const auto all_of = [](const auto& list, const auto& test) { return std::all_of(list.begin(), list.end(), test); };
  const auto any_of = [](const auto& list, const auto& test) { return std::any_of(list.begin(), list.end(), test); };
  if (b.kind == Kind::always || to_flow(a) == to_flow(b)) return true;
  if (b.kind == Kind::all) return all_of(b.children, [&](const auto& child) { return implies(a, child); });
  if (a.kind == Kind::any) return all_of(a.children, [&](const auto& child) { return implies(child, b); });
  if (b.kind == Kind::any && any_of(b.children, [&](const auto& child) { return implies(a, child); })) return true;
  if (a.kind == Kind::all) return any_of(a.children, [&](const auto& child) { return implies(child, b); });
  if (a.kind == Kind::none && b.kind == Kind::none) return implies(b.children[0], a.children[0]);
  if (a.kind != Kind::field || b.kind != Kind::field || a.field != b.field) return false;
  return all_of(a.patterns, [&](const std::string& mine) {
    return any_of(b.patterns, [&](const std::string& other) {
      const bool literal = !is_glob(mine) && mine.find('\\') == std::string::npos;
      return mine == other || other == "*" || (literal && pattern_matches(a.field, other, mine));
    });
  });
}

std::string explain(const Condition& c, const MetaView& view, int indent) {
  const std::string lead =
      fmt::format("{}{} ", std::string(static_cast<size_t>(indent), ' '), matches(c, view) ? "yes" : "no ");
  if (c.kind == Kind::always) return lead + "always\n";
  if (c.kind == Kind::field) {
    const std::string value = view.value(c.field);
    const auto hit = std::find_if(c.patterns.begin(), c.patterns.end(),
                                  [&](const auto& pattern) { return pattern_matches(c.field, pattern, value); });
    if (value.empty()) return fmt::format("{}{}: the document has none\n", lead, c.field);
    if (hit != c.patterns.end())
      return fmt::format("{}{}: {} matches {}\n", lead, c.field, in_quotes(value), in_quotes(*hit));
    return fmt::format("{}{}: {} matches none of {}\n", lead, c.field, in_quotes(value), pattern_list(c.patterns));
  }
  std::string out = lead + (c.kind == Kind::all ? "all of\n" : c.kind == Kind::any ? "any of\n" : "not\n");
  for (const Condition& child : c.children) out += explain(child, view, indent + 2);
  return out;
}

std::string to_flow(const Condition& c) {
  if (c.kind == Kind::always) return "\"always\"";
  std::vector<std::string> parts;
  if (c.kind == Kind::field) {
    for (const std::string& p : c.patterns) parts.push_back(json_text(p));
    return fmt::format("{{{}: [{}]}}", json_text(c.field), join(parts));
  }
  for (const Condition& child : c.children) parts.push_back(to_flow(child));
  if (c.kind == Kind::none) return fmt::format("{{\"not\": {}}}", parts[0]);
  return fmt::format("{{\"{}\": [{}]}}", c.kind == Kind::all ? "all" : "any", join(parts));
}

}  // namespace govtrain
