// The configuration schema: one description in code from which reading, checking, defaults, documentation, the JSON
// Schema and shell completion are made. A schema binds dotted keys to the members of a live options object; the values
// that the members have when they are bound are the defaults. The options object must outlive the schema. Not a parser:
// reading files is core/config/loader.h.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/scalar.h"

namespace govtrain {

struct FieldOptions {
  std::string doc = {};   // one sentence
  std::string unit = {};  // "tokens", "seconds", ...; empty: none. "bytes" and "seconds" allow suffixes (scalar.h)
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool exclusive_min = false;             // the value must be > min, not >= min
  std::vector<std::string> choices = {};  // strings only; empty: any
  // Words that people try for a choice, and the choice: {"gpu", "cuda"}.
  std::vector<std::pair<std::string, std::string>> choices_meant = {};
  bool required = false;                      // no default: the file or the command line must give it
  bool path = false;                          // relative paths are resolved against the file that gives them
  std::vector<std::string> also_called = {};  // names that people try, for suggestions: "learning_rate"
};

class Schema {
 public:
  struct Field {
    std::string key;   // "optim.lr"
    std::string type;  // boolean, integer, number, string, list of strings, list of numbers
    FieldOptions options;
    std::string default_json;           // the value at binding, as JSON
    std::function<std::string()> json;  // the bound member's value now, as JSON (which is also YAML)
    std::function<void()> reset;        // back to the value at binding
    // Parses `scalars` (one, or several for lists) into the member; returns what is wrong, or nothing.
    std::function<std::optional<Problem>(const std::vector<Scalar>&)> parse;
    // Applies `change` to every text of the member; only where options.path is set.
    std::function<void(const std::function<std::string(const std::string&)>&)> map_text;

    bool is_list() const { return type.rfind("list", 0) == 0; }
    bool is_text() const { return type == "string" || type == "list of strings"; }
    // What may be given, for people: "integer >= 1", "one of a, b".
    std::string expected() const;
  };

  // Names a section ("optim") and says what it is for; sections appear in documentation in this order.
  void section(const std::string& name, const std::string& doc);
  // Each throws Error when the key is already a field or a section of fields.
  void boolean(const std::string& key, bool& value, const FieldOptions& options);
  void integer(const std::string& key, int64_t& value, const FieldOptions& options);
  void number(const std::string& key, double& value, const FieldOptions& options);
  void text(const std::string& key, std::string& value, const FieldOptions& options);
  void texts(const std::string& key, std::vector<std::string>& value, const FieldOptions& options);
  void numbers(const std::string& key, std::vector<double>& value, const FieldOptions& options);

  const std::vector<Field>& fields() const { return fields_; }
  const std::vector<std::pair<std::string, std::string>>& sections() const { return sections_; }
  const Field* find(const std::string& key) const;
  // True for "optim" when there is a field "optim.lr".
  bool is_section(const std::string& name) const;
  // "section optim: lr, betas", or "" when there is no such section.
  std::string keys_of(const std::string& section) const;
  // What the writer of the unknown key `key` may have meant, as a sentence; "" when nothing is near.
  std::string suggest(const std::string& key) const;

 private:
  void add(Field field);
  std::vector<Field> fields_;
  std::vector<std::pair<std::string, std::string>> sections_;
};

}  // namespace govtrain
