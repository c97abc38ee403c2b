// A policy: which documents may teach which blocks, how strongly, and until when. This is the text, read and checked;
// what it means for one document and one model is routing/resolve.h. Knows no model.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/diagnostics.h"
#include "routing/adaptation_spec.h"
#include "routing/condition.h"
#include "routing/date.h"
#include "routing/entropy_rules.h"
#include "routing/exclusion.h"
#include "routing/profile.h"
#include "routing/schedule.h"

namespace govtrain {

// The built-in profile with weight 0 everywhere. It cannot be redefined.
inline const std::string none_profile = "none";

struct PolicyRule {
  std::string name;
  Condition when;
  int profile = 0;            // index into Policy::profiles
  std::optional<Date> from;   // valid on this day and later
  std::optional<Date> until;  // not valid on this day and later
  Position at;
};

struct PrivacyClass {
  std::string name;
  int profile = 0;
  Position at;
};

// What can decide a weight. The index into this table is what records and route tables carry.
struct TableEntry {
  std::string name;     // "default", "rule debian-free", "privacy personal", "exclusion blocklist.txt"
  std::string profile;  // the profile that it gives
  std::string text;     // the entry as flow YAML
};

class Policy {
 public:
  // Reads a policy and the exclusion files that it names (relative to it). Reports every problem with its position;
  // gives nothing after an error. Throws nothing.
  static std::optional<Policy> read(const std::string& path, Diagnostics& diagnostics);
  // As read(), from text. `file` names it in messages and is where relative exclusion files start.
  static std::optional<Policy> parse(const std::string& file, const std::string& text, Diagnostics& diagnostics);
  // As read(), but throws ConfigError; warnings are dropped.
  static Policy load(const std::string& path);

  std::string name, version;
  DepthOrigin depth_origin = DepthOrigin::input;
  std::vector<Profile> profiles;  // [0] is `none`
  int default_profile = 0;
  std::vector<PolicyRule> rules;
  std::vector<PrivacyClass> privacy;  // empty: no privacy section
  int unlisted_privacy = 0;           // profile of privacy classes that the section does not list
  std::vector<Exclusion> exclusions;
  std::optional<AdaptationSpec> adaptation;
  std::optional<ControllerSpec> controller;
  std::vector<ScheduleEntry> schedule;
  std::optional<EntropyRules> entropy;

  // The whole policy with its exclusion lists as one line of flow YAML (which is JSON): independent of comments,
  // layout and files; parse() of it gives the same policy and the same id.
  std::string canonical() const;
  // canonical() as it would be with another version and other modes of `adaptation` and `controller`: the same for two
  // policies of which one only switches the other.
  std::string unswitched() const;
  // name@first 8 hex digits of SHA-256(canonical()).
  std::string id() const;
  // [0] default, then the rules, the privacy classes, 'privacy unlisted' (if there are classes), the exclusions,
  // the cells of the entropy bands.
  std::vector<TableEntry> table() const;
  // Its index, nothing when there is none of the name.
  std::optional<int> profile_named(const std::string& profile) const;
  int rule_index(size_t rule) const { return 1 + static_cast<int>(rule); }
  int privacy_index(size_t entry) const { return rule_index(rules.size()) + static_cast<int>(entry); }
  int exclusion_index(size_t entry) const {
    return privacy_index(privacy.empty() ? 0 : privacy.size() + 1) + static_cast<int>(entry);
  }
  int entropy_index(int cell) const { return exclusion_index(exclusions.size()) + cell; }
  // The first day after `day` on which a window opens or closes: weights can change on their own only then.
  std::optional<Date> next_change(const Date& day) const;
  // (file, text) of what was read, for Diagnostics::add_source.
  const std::vector<std::pair<std::string, std::string>>& sources() const { return sources_; }

 private:
  friend class PolicyReader;
  std::vector<std::pair<std::string, std::string>> sources_;
};

}  // namespace govtrain
