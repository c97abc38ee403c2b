// Policy::read and Policy::parse: from YAML to a Policy, reporting everything that is wrong.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "core/config/scalar.h"
#include "core/config/utf8.h"
#include "core/config/yaml.h"
#include "core/file.h"
#include "routing/file_kind.h"
#include "routing/glob.h"
#include "routing/policy.h"

namespace govtrain {
namespace {

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 100 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

}  // namespace

class PolicyReader {
 public:
  PolicyReader(std::string file, Diagnostics& diagnostics) : file_(std::move(file)), diagnostics_(diagnostics) {}

  std::optional<Policy> read(const std::string& text) {
    const int errors = diagnostics_.errors();
    const std::optional<YamlNode> root = parse_yaml(file_, text, diagnostics_);
    if (!root || is_another_kind(*root, FileKind::policy, diagnostics_)) return {};
    policy_.sources_.emplace_back(file_, text);
    MapReader top(*root, "the policy", diagnostics_);
    if (const auto name = top.required_text("policy", "write 'policy: <name>'")) policy_.name = *name;
    if (const YamlNode* node = top.optional("policy");
        node != nullptr && !policy_.name.empty() && !is_name(policy_.name)) {
      diagnostics_.error(node->at, fmt::format("{} is not a name", in_quotes(policy_.name)),
                         "use letters, digits, '-', '_', '.'");
    }
    if (const auto version = top.required_text("version", "write 'version: 1'")) policy_.version = *version;
    depth_origin(top.optional("depth_origin"));
    BlockSelector all;
    all.text = "all";
    policy_.profiles.push_back({none_profile, {}, {{all, 0, {}}}, 0});
    if (const YamlNode* node = top.optional("profiles")) profiles(*node);
    if (const YamlNode* node = top.required("default",
                                            "name the profile of documents that no rule matches, "
                                            "for example 'default: none'")) {
      policy_.default_profile = profile_index(*node, "'default'");
    }
    if (const YamlNode* node = top.optional("rules")) rules(*node);
    if (const YamlNode* node = top.optional("privacy")) privacy(*node);
    if (const YamlNode* node = top.optional("exclusions")) exclusions(*node);
    const auto lookup = [this](const YamlNode& n, const std::string& what) { return profile_index(n, what); };
    if (const YamlNode* node = top.optional("adaptation")) {
      policy_.adaptation = read_adaptation(*node, lookup, diagnostics_);
    }
    if (const YamlNode* node = top.optional("controller")) {
      policy_.controller = read_controller(*node, lookup, diagnostics_);
    }
    const auto name = [this](int profile) { return policy_.profiles[static_cast<size_t>(profile)].name; };
    check_sections(policy_.adaptation, policy_.controller, name, diagnostics_);
    if (const YamlNode* node = top.optional("schedule")) {
      policy_.schedule = read_schedule(*node, lookup, diagnostics_);
      for (const ScheduleEntry& e : policy_.schedule) check_one_master(e);
    }
    if (const YamlNode* node = top.optional("entropy")) {
      policy_.entropy = read_entropy(*node, lookup, diagnostics_);
    }
    top.finish();
    if (diagnostics_.errors() > errors) return {};
    return std::move(policy_);
  }

 private:
  void check_one_master(const ScheduleEntry& entry) {
    const auto names = [&](const auto& section) {
      return section && std::any_of(section->profiles.begin(), section->profiles.end(),
                                    [&](const auto& e) { return e.profile == entry.profile; });
    };
    if (!names(policy_.adaptation) && !names(policy_.controller)) return;
    const std::string& name = policy_.profiles[static_cast<size_t>(entry.profile)].name;
    diagnostics_.error(entry.at,
                       fmt::format("schedule {}: 'adaptation' or 'controller' moves the profile {} too",
                                   in_quotes(entry.name), in_quotes(name)),
                       "a profile has one master");
  }

  void depth_origin(const YamlNode* node) {
    if (node == nullptr) return;
    if (node->kind == YamlNode::Kind::scalar && (node->text == "input" || node->text == "output")) {
      policy_.depth_origin = node->text == "input" ? DepthOrigin::input : DepthOrigin::output;
      return;
    }
    diagnostics_.error(node->at, fmt::format("'depth_origin' must be input or output, found {}", describe(*node)),
                       did_you_mean(node->text, {"input", "output"}));
  }

  void profiles(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::map) {
      diagnostics_.error(node.at, fmt::format("'profiles' must map names to profiles, found {}", describe(node)));
      return;
    }
    for (const auto& [key, value] : node.entries) {
      if (key.text == none_profile) {
        diagnostics_.error(key.at, "the profile 'none' is built in: weight 0 for every block",
                           "remove it or rename it");
      } else if (!is_name(key.text)) {
        diagnostics_.error(key.at, fmt::format("{} is not a name for a profile", in_quotes(key.text)),
                           "use letters, digits, '-', '_', '.'");
      } else if (auto profile = read_profile(key.text, value, diagnostics_)) {
        policy_.profiles.push_back(std::move(*profile));
      } else {
        broken_.push_back(key.text);
      }
    }
  }

  // The profile that `node` names; 0 after an error.
  int profile_index(const YamlNode& node, const std::string& what) {
    if (node.kind != YamlNode::Kind::scalar) {
      diagnostics_.error(node.at, fmt::format("{} must name a profile, found {}", what, describe(node)));
      return 0;
    }
    std::vector<std::string> names;
    for (size_t i = 0; i < policy_.profiles.size(); ++i) {
      if (policy_.profiles[i].name == node.text) return static_cast<int>(i);
      names.push_back(policy_.profiles[i].name);
    }
    if (std::find(broken_.begin(), broken_.end(), node.text) != broken_.end()) return 0;
    const std::string near = did_you_mean(node.text, names);
    diagnostics_.error(node.at, fmt::format("{}: the profile {} is not defined", what, in_quotes(node.text)),
                       near.empty() ? "profiles: " + join(names) : near);
    return 0;
  }

  std::optional<Date> date(const YamlNode* node, const std::string& what) {
    if (node == nullptr) return {};
    const auto parsed = node->kind == YamlNode::Kind::scalar ? Date::parse(node->text) : std::nullopt;
    if (!parsed) {
      diagnostics_.error(node->at, fmt::format("{} must be a date, found {}", what, describe(*node)),
                         "write YYYY-MM-DD, a day that exists");
    }
    return parsed;
  }

  void rules(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::list) {
      diagnostics_.error(node.at, fmt::format("'rules' must be a list ('- name: ...'), found {}", describe(node)));
      return;
    }
    for (size_t i = 0; i < node.items.size(); ++i) rule(node.items[i], i + 1);
  }

  void rule(const YamlNode& node, size_t number) {
    PolicyRule out;
    out.at = node.at;
    std::string what = fmt::format("rule {}", number);
    if (const YamlNode* name = node.find("name"); name != nullptr && !name->text.empty())
      what += fmt::format(" {}", in_quotes(name->text));
    MapReader reader(node, what, diagnostics_);
    if (const auto name = reader.required_text("name")) out.name = *name;
    for (const PolicyRule& other : policy_.rules) {
      if (out.name.empty() || other.name != out.name) continue;
      diagnostics_.error(node.find("name")->at,
                         fmt::format("{}: the name is taken by the rule at {}", what, to_string(other.at)),
                         "rename one");
    }
    const YamlNode* when = reader.required("when", "'when: always' matches every document");
    if (when != nullptr) {
      if (auto condition = read_condition(*when, what, diagnostics_)) out.when = std::move(*condition);
    }
    if (const YamlNode* profile = reader.required("profile")) out.profile = profile_index(*profile, what);
    const YamlNode* until = reader.optional("until");
    out.from = date(reader.optional("from"), what + ": 'from'");
    out.until = date(until, what + ": 'until'");
    if (out.from && out.until && *out.from >= *out.until) {
      diagnostics_.error(
          until->at, fmt::format("{}: the window from {} until {} is empty", what, out.from->text(), out.until->text()),
          "'from' is the first day, 'until' the first day after");
    }
    reader.finish();
    policy_.rules.push_back(std::move(out));
  }

  void privacy(const YamlNode& node) {
    MapReader reader(node, "'privacy'", diagnostics_);
    const YamlNode* classes = reader.required("classes", "write 'classes: {personal: shallow}'");
    if (const YamlNode* unlisted = reader.optional("unlisted")) {
      policy_.unlisted_privacy = profile_index(*unlisted, "'unlisted' of 'privacy'");
    }
    reader.finish();
    if (classes == nullptr) return;
    if (classes->kind != YamlNode::Kind::map || classes->entries.empty()) {
      diagnostics_.error(classes->at,
                         fmt::format("'classes' of 'privacy' must map classes to profiles, found {}",
                                     classes->kind == YamlNode::Kind::map ? "an empty map" : describe(*classes)));
      return;
    }
    for (const auto& [key, value] : classes->entries) {
      policy_.privacy.push_back({key.text, profile_index(value, "privacy class " + in_quotes(key.text)), key.at});
    }
  }

  void exclusions(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::list) {
      diagnostics_.error(node.at, fmt::format("'exclusions' must be a list, found {}", describe(node)),
                         "for example [{file: blocklist.txt}, {source: \"deb:bad-*\"}]");
      return;
    }
    for (size_t i = 0; i < node.items.size(); ++i) exclusion(node.items[i], i + 1);
  }

  void exclusion(const YamlNode& node, size_t number) {
    const std::string what = fmt::format("exclusion {}", number);
    Exclusion out;
    out.at = node.at;
    out.name = fmt::format("{}", number);
    MapReader reader(node, what, diagnostics_);
    if (const auto name = reader.optional_text("name")) out.name = *name;
    const YamlNode* file = reader.optional("file");
    if (file != nullptr) {
      if (!node.find("name")) out.name = file->text;
      exclusion_file(*file, out);
    }
    const YamlNode* list = reader.optional("list");
    if (list != nullptr && (list->kind != YamlNode::Kind::scalar || list->text.empty())) {
      diagnostics_.error(list->at, fmt::format("{}: 'list' must be a text with an entry on each line, found {}", what,
                                               describe(*list)));
    } else if (list != nullptr) {
      entries(
          list->text, [&](int, const std::string&) { return list->at; }, out);
    }
    texts(reader.optional("id"), what, out.ids);
    std::vector<std::string> digests;
    const YamlNode* digest = reader.optional("digest");
    texts(digest, what, digests);
    for (const std::string& text : digests) {
      const auto parsed = digest_of(text);
      if (parsed) out.digests.push_back(*parsed);
      if (!parsed) {
        diagnostics_.error(digest->at, fmt::format("{}: {} is not a SHA-256 digest", what, in_quotes(text)),
                           "64 lower-case hex digits, 'sha256:' before them or not");
      }
    }
    texts(reader.optional("source"), what, out.sources);
    reader.finish();
    const bool nothing =
        file == nullptr && list == nullptr && !node.find("id") && !node.find("source") && digest == nullptr;
    if (reader.ok() && nothing) {
      diagnostics_.error(node.at, fmt::format("{} excludes nothing", what), "give it a file, id, digest or source");
    }
    sort_exclusion(out);
    policy_.exclusions.push_back(std::move(out));
  }

  void texts(const YamlNode* node, const std::string& what, std::vector<std::string>& out) {
    if (node == nullptr) return;
    for (const YamlNode& item : node->kind == YamlNode::Kind::list ? node->items : std::vector<YamlNode>{*node}) {
      if (item.kind == YamlNode::Kind::scalar && !item.text.empty()) {
        out.push_back(item.text);
      } else {
        diagnostics_.error(item.at, fmt::format("{}: expected a text, found {}", what,
                                                item.kind == YamlNode::Kind::scalar ? "an empty one" : describe(item)));
      }
    }
  }

  // One id, 'sha256:<hex>' or 'source:<pattern>' per line; '#' starts a comment line.
  void exclusion_file(const YamlNode& node, Exclusion& out) {
    if (node.kind != YamlNode::Kind::scalar || node.text.empty()) {
      diagnostics_.error(node.at, fmt::format("'file' of an exclusion must be a path, found {}", describe(node)));
      return;
    }
    const std::filesystem::path given(node.text);
    const std::string path = given.is_absolute()
                                 ? node.text
                                 : (std::filesystem::path(parent_path(file_)) / given).lexically_normal().string();
    const auto text = read_yaml_file(path, node.at, diagnostics_);
    if (!text) return;
    policy_.sources_.emplace_back(path, *text);
    entries(
        *text,
        [&](int line, const std::string& entry) {
          return Position{path, line, 1, display_length(entry)};
        },
        out);
  }

  template <class PlaceOf>
  void entries(const std::string& text, PlaceOf place_of, Exclusion& out) {
    std::istringstream lines(text);
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
      ++number;
      const std::string entry = trimmed(line);
      if (entry.empty() || entry[0] == '#') continue;
      read_exclusion_entry(entry, place_of(number, entry), out, diagnostics_);
    }
  }

  std::string file_;
  Diagnostics& diagnostics_;
  Policy policy_;
  std::vector<std::string> broken_;  // profiles with errors of their own
};

std::optional<Policy> Policy::parse(const std::string& file, const std::string& text, Diagnostics& diagnostics) {
  diagnostics.add_source(file, text);
  return PolicyReader(file, diagnostics).read(text);
}

std::optional<Policy> Policy::read(const std::string& path, Diagnostics& diagnostics) {
  const auto text = read_yaml_file(path, {}, diagnostics);
  if (!text) return {};
  return PolicyReader(path, diagnostics).read(*text);
}

}  // namespace govtrain
