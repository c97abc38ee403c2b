// The 'when' of a rule: matchers over metadata, joined by all, any and not. Values are compared as whole texts, by
// patterns (routing/glob.h); licence ids without regard to case (SPDX 2.3, annex D). A key that the document lacks, or
// that is empty, is matched by nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/yaml.h"
#include "routing/document.h"

namespace govtrain {

struct Condition {
  enum class Kind { always, field, all, any, none };  // none: not
  Kind kind = Kind::always;
  std::string field;
  std::vector<std::string> patterns;
  std::vector<Condition> children;  // none has one
  Position at;
};

// One provenance of a document, with one term of its licence expression in the place of the whole.
struct MetaView {
  const DocumentFacts* document = nullptr;
  const Meta* meta = nullptr;
  std::string license;  // a single term; empty: no licence

  // The value of a key as written; "" when there is none. "id" and "digest" are the document's.
  std::string value(const std::string& field) const;
};

std::optional<Condition> read_condition(const YamlNode& node, const std::string& what, Diagnostics& diagnostics);

// Whether one pattern matches one value of `field`.
bool pattern_matches(const std::string& field, const std::string& pattern, const std::string& value);
bool matches(const Condition& condition, const MetaView& view);

// True only if every document that `a` matches is matched by `b`. May say false where a finer look would say true.
bool implies(const Condition& a, const Condition& b);

// One line for each condition, with the value found and whether it holds, indented by `indent`.
std::string explain(const Condition& condition, const MetaView& view, int indent);

// As flow YAML that reads back to the same condition.
std::string to_flow(const Condition& condition);

}  // namespace govtrain
