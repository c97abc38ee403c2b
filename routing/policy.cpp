#include "routing/policy.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "core/number.h"

namespace govtrain {
namespace {

std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string list_text(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (const std::string& t : texts) parts.push_back(json_text(t));
  return "[" + join(parts) + "]";
}

std::string profile_text(const Profile& profile) {
  std::vector<std::string> parts;
  if (profile.negative_bound > 0) {
    parts.push_back(fmt::format("\"allow_negative\": {{\"bound\": {}}}", number_text(profile.negative_bound)));
  }
  for (const Profile::Entry& e : profile.entries) {
    parts.push_back(json_text(e.selector.text) + ": " + number_text(e.weight));
  }
  return "{" + join(parts) + "}";
}

// Long lists are one text, as in an exclusion file: a YAML file holds only so many values.
constexpr size_t most_values = 100;

std::string exclusion_text(const Exclusion& e) {
  std::vector<std::string> parts{"\"name\": " + json_text(e.name)};
  if (e.ids.size() + e.digests.size() + e.sources.size() > most_values) {
    std::string list;
    for (const std::string& id : e.ids) list += id + "\n";
    for (const std::string& digest : e.digests) list += "sha256:" + digest + "\n";
    for (const std::string& source : e.sources) list += "source:" + source + "\n";
    return fmt::format("{{{}, \"list\": {}}}", parts.front(), json_text(list));
  }
  if (!e.ids.empty() || (e.digests.empty() && e.sources.empty())) parts.push_back("\"id\": " + list_text(e.ids));
  if (!e.digests.empty()) parts.push_back("\"digest\": " + list_text(e.digests));
  if (!e.sources.empty()) parts.push_back("\"source\": " + list_text(e.sources));
  return "{" + join(parts) + "}";
}

}  // namespace

std::vector<TableEntry> Policy::table() const {
  const auto profile_name = [&](int index) { return profiles[static_cast<size_t>(index)].name; };
  std::vector<TableEntry> out{{"default", profile_name(default_profile), json_text(profile_name(default_profile))}};
  for (const PolicyRule& r : rules) {
    std::string text = fmt::format("{{\"name\": {}, \"when\": {}, \"profile\": {}", json_text(r.name), to_flow(r.when),
                                   json_text(profile_name(r.profile)));
    if (r.from) text += fmt::format(", \"from\": \"{}\"", r.from->text());
    if (r.until) text += fmt::format(", \"until\": \"{}\"", r.until->text());
    out.push_back({"rule " + r.name, profile_name(r.profile), text + "}"});
  }
  for (const PrivacyClass& p : privacy) {
    const std::string profile = profile_name(p.profile);
    out.push_back({"privacy " + p.name, profile, fmt::format("{{{}: {}}}", json_text(p.name), json_text(profile))});
  }
  if (!privacy.empty()) {
    out.push_back({"privacy unlisted", profile_name(unlisted_privacy), json_text(profile_name(unlisted_privacy))});
  }
  for (const Exclusion& e : exclusions) out.push_back({"exclusion " + e.name, none_profile, exclusion_text(e)});
  for (int cell = 0; entropy && cell < entropy->cells(); ++cell) {
    const std::string profile = profile_name(entropy->profile(cell));
    out.push_back({entropy->cell_name(cell), profile, json_text(profile)});
  }
  return out;
}

std::string Policy::canonical() const {
  const auto profile_name = [&](int index) { return json_text(profiles[static_cast<size_t>(index)].name); };
  std::vector<std::string> parts{
      "\"policy\": " + json_text(name), "\"version\": " + json_text(version),
      fmt::format("\"depth_origin\": \"{}\"", depth_origin == DepthOrigin::input ? "input" : "output"),
      "\"default\": " + profile_name(default_profile)};
  std::vector<std::string> items;
  for (size_t i = 1; i < profiles.size(); ++i) {
    items.push_back(json_text(profiles[i].name) + ": " + profile_text(profiles[i]));
  }
  if (!items.empty()) parts.push_back("\"profiles\": {" + join(items) + "}");
  const std::vector<TableEntry> entries = table();
  const auto section = [&](int begin, int end) {
    items.clear();
    for (int i = begin; i < end; ++i) items.push_back(entries[static_cast<size_t>(i)].text);
    return "[" + join(items) + "]";
  };
  if (!rules.empty()) parts.push_back("\"rules\": " + section(rule_index(0), rule_index(rules.size())));
  if (!privacy.empty()) {
    items.clear();
    for (const PrivacyClass& p : privacy) items.push_back(json_text(p.name) + ": " + profile_name(p.profile));
    parts.push_back(fmt::format("\"privacy\": {{\"classes\": {{{}}}, \"unlisted\": {}}}", join(items),
                                profile_name(unlisted_privacy)));
  }
  if (!exclusions.empty()) {
    parts.push_back("\"exclusions\": " + section(exclusion_index(0), exclusion_index(exclusions.size())));
  }
  const auto bare_name = [&](int index) { return profiles[static_cast<size_t>(index)].name; };
  if (adaptation) parts.push_back("\"adaptation\": " + to_flow(*adaptation, bare_name));
  if (controller) parts.push_back("\"controller\": " + to_flow(*controller, bare_name));
  if (!schedule.empty()) {
    std::vector<std::string> names;
    for (const Profile& profile : profiles) names.push_back(profile.name);
    parts.push_back("\"schedule\": " + schedule_text(schedule, names));
  }
  if (entropy) {
    std::vector<std::string> names;
    for (const Profile& p : profiles) names.push_back(p.name);
    parts.push_back("\"entropy\": " + entropy->canonical(names));
  }
  return "{" + join(parts) + "}";
}

std::string Policy::unswitched() const {
  Policy out = *this;
  out.version.clear();
  if (out.adaptation) out.adaptation->mode = AdaptMode::on;
  if (out.controller) out.controller->mode = AdaptMode::on;
  return out.canonical();
}

std::optional<int> Policy::profile_named(const std::string& profile) const {
  const auto found =
      std::find_if(profiles.begin(), profiles.end(), [&](const Profile& p) { return p.name == profile; });
  if (found == profiles.end()) return std::nullopt;
  return static_cast<int>(found - profiles.begin());
}

std::string Policy::id() const { return name + "@" + hex(sha256(canonical())).substr(0, 8); }

std::optional<Date> Policy::next_change(const Date& day) const {
  std::optional<Date> out;
  for (const PolicyRule& rule : rules) {
    for (const std::optional<Date>& edge : {rule.from, rule.until}) {
      if (edge && *edge > day && (!out || *edge < *out)) out = edge;
    }
  }
  return out;
}

Policy Policy::load(const std::string& path) {
  Diagnostics diagnostics;
  std::optional<Policy> policy = read(path, diagnostics);
  diagnostics.throw_if_errors();
  return std::move(*policy);
}

}  // namespace govtrain
