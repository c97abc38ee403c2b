#include "core/config/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/number.h"

namespace govtrain {
namespace {

std::string to_json(bool value) { return value ? "true" : "false"; }
std::string to_json(int64_t value) { return std::to_string(value); }
std::string to_json(double value) {
  std::string out;
  append_number(out, value);
  return out;
}
std::string to_json(const std::string& value) {
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}
template <class T>
std::string to_json(const std::vector<T>& values) {
  std::vector<std::string> parts;
  for (const T& value : values) parts.push_back(to_json(value));
  return "[" + join(parts, ",") + "]";
}

std::string shown(double value) {
  if (value == static_cast<double>(static_cast<int64_t>(value))) return std::to_string(static_cast<int64_t>(value));
  return to_json(value);
}

std::string range_text(const FieldOptions& o) {
  const bool low = o.min > -std::numeric_limits<double>::infinity();
  const bool high = o.max < std::numeric_limits<double>::infinity();
  std::vector<std::string> parts;
  if (low) parts.push_back((o.exclusive_min ? "> " : ">= ") + shown(o.min));
  if (high) parts.push_back("<= " + shown(o.max));
  return join(parts, " and ");
}

std::optional<Problem> check_range(double value, const std::string& text, const FieldOptions& o) {
  if (value > o.min || (value == o.min && !o.exclusive_min)) {
    if (value <= o.max) return {};
  }
  return Problem{fmt::format("must be {}, found {}", range_text(o), text), ""};
}

std::string choice_meant(const std::string& word, const FieldOptions& o) {
  std::vector<std::string> words = o.choices;
  for (const auto& [other, choice] : o.choices_meant) words.push_back(other);
  const std::string near = nearest(word, words);
  for (const auto& [other, choice] : o.choices_meant)
    if (near == other) return fmt::format("did you mean '{}'?", choice);
  return did_you_mean(word, o.choices);
}

std::optional<Problem> read(const Scalar& s, const FieldOptions&, bool& out) { return parse_boolean(s, out); }
std::optional<Problem> read(const Scalar& s, const FieldOptions& o, int64_t& out) {
  int64_t value = 0;
  if (auto problem = parse_integer(s, o.unit, value)) return problem;
  if (auto problem = check_range(static_cast<double>(value), s.text, o)) return problem;
  out = value;
  return {};
}
std::optional<Problem> read(const Scalar& s, const FieldOptions& o, double& out) {
  double value = 0;
  if (auto problem = parse_number(s, o.unit, value)) return problem;
  if (auto problem = check_range(value, s.text, o)) return problem;
  out = value;
  return {};
}
std::optional<Problem> read(const Scalar& s, const FieldOptions& o, std::string& out) {
  if (!o.choices.empty() && std::find(o.choices.begin(), o.choices.end(), s.text) == o.choices.end()) {
    const std::string near = choice_meant(s.text, o);
    return Problem{fmt::format("expected one of {}, found {}", join(o.choices), in_quotes(s.text)), near};
  }
  // An optional path may be empty: that is how its absence is written.
  if (o.path && o.required && s.text.empty()) return Problem{"expected a path, found an empty text", ""};
  out = s.text;
  return {};
}

template <class T>
std::optional<Problem> read_all(const std::vector<Scalar>& scalars, const FieldOptions& o, std::vector<T>& out) {
  std::vector<T> values(scalars.size());
  for (size_t i = 0; i < scalars.size(); ++i) {
    T value{};
    if (auto problem = read(scalars[i], o, value)) {
      problem->item = i;
      return problem;
    }
    values[i] = std::move(value);
  }
  out = std::move(values);
  return {};
}

// `parse` and the rest of a field that are the same for every type.
template <class T>
Schema::Field bound_field(const std::string& key, const std::string& type, T& value, const FieldOptions& options) {
  Schema::Field field;
  field.key = key;
  field.type = type;
  field.default_json = to_json(value);
  field.json = [&value] { return to_json(value); };
  field.reset = [&value, initial = value] { value = initial; };
  field.options = options;
  return field;
}

std::string last_name(const std::string& key) { return key.substr(key.rfind('.') + 1); }
std::string parent(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

}  // namespace

std::string Schema::Field::expected() const {
  std::string out = options.choices.empty() ? type : "one of " + join(options.choices);
  if (const std::string range = range_text(options); !range.empty()) out += " " + range;
  if (!options.unit.empty()) out += ", in " + options.unit;
  return out;
}

void Schema::section(const std::string& name, const std::string& doc) { sections_.emplace_back(name, doc); }

void Schema::add(Field field) {
  for (const Field& other : fields_) {
    const bool clash =
        other.key == field.key || other.key.rfind(field.key + ".", 0) == 0 || field.key.rfind(other.key + ".", 0) == 0;
    if (clash) throw Error("config schema", "the key '{}' clashes with the key '{}'", field.key, other.key);
  }
  fields_.push_back(std::move(field));
}

void Schema::boolean(const std::string& key, bool& value, const FieldOptions& options) {
  Field field = bound_field(key, "boolean", value, options);
  field.parse = [&value, options](const std::vector<Scalar>& s) { return read(s.at(0), options, value); };
  add(std::move(field));
}
void Schema::integer(const std::string& key, int64_t& value, const FieldOptions& options) {
  Field field = bound_field(key, "integer", value, options);
  field.parse = [&value, options](const std::vector<Scalar>& s) { return read(s.at(0), options, value); };
  add(std::move(field));
}
void Schema::number(const std::string& key, double& value, const FieldOptions& options) {
  Field field = bound_field(key, "number", value, options);
  field.parse = [&value, options](const std::vector<Scalar>& s) { return read(s.at(0), options, value); };
  add(std::move(field));
}
void Schema::text(const std::string& key, std::string& value, const FieldOptions& options) {
  Field field = bound_field(key, "string", value, options);
  field.parse = [&value, options](const std::vector<Scalar>& s) { return read(s.at(0), options, value); };
  field.map_text = [&value](const auto& change) { value = change(value); };
  add(std::move(field));
}
void Schema::texts(const std::string& key, std::vector<std::string>& value, const FieldOptions& options) {
  Field field = bound_field(key, "list of strings", value, options);
  field.parse = [&value, options](const std::vector<Scalar>& s) { return read_all(s, options, value); };
  field.map_text = [&value](const auto& change) {
    for (std::string& item : value) item = change(item);
  };
  add(std::move(field));
}
void Schema::numbers(const std::string& key, std::vector<double>& value, const FieldOptions& options) {
  Field field = bound_field(key, "list of numbers", value, options);
  field.parse = [&value, options](const std::vector<Scalar>& s) { return read_all(s, options, value); };
  add(std::move(field));
}

const Schema::Field* Schema::find(const std::string& key) const {
  const auto found = std::find_if(fields_.begin(), fields_.end(), [&](const Field& f) { return f.key == key; });
  return found == fields_.end() ? nullptr : &*found;
}

bool Schema::is_section(const std::string& name) const {
  return std::any_of(fields_.begin(), fields_.end(), [&](const Field& f) { return f.key.rfind(name + ".", 0) == 0; });
}

std::string Schema::keys_of(const std::string& section) const {
  std::vector<std::string> names;
  for (const Field& f : fields_) {
    if (f.key.rfind(section + ".", 0) == 0) names.push_back(f.key.substr(section.size() + 1));
  }
  return names.empty() ? "" : fmt::format("section {}: {}", section, join(names));
}

std::string Schema::suggest(const std::string& key) const {
  // In order of trust: another name of a key, the same name elsewhere, a near name beside it, a near full key.
  std::vector<std::string> siblings, all, same_name;
  const std::string name = last_name(key), section = parent(key);
  for (const Field& f : fields_) {
    const std::string field_name = last_name(f.key);
    std::vector<std::string> names = f.options.also_called;
    if (parent(f.key) == section && !nearest(name, names).empty()) return fmt::format("did you mean '{}'?", f.key);
    if (field_name == name || std::find(names.begin(), names.end(), name) != names.end()) same_name.push_back(f.key);
    if (parent(f.key) == section) siblings.push_back(field_name);
    all.push_back(f.key);
    for (size_t dot = f.key.find('.'); dot != std::string::npos; dot = f.key.find('.', dot + 1)) {
      const std::string prefix = f.key.substr(0, dot);
      if (key.rfind(prefix, 0) != 0 && std::find(all.begin(), all.end(), prefix) == all.end()) all.push_back(prefix);
    }
  }
  if (!same_name.empty()) return fmt::format("did you mean '{}'?", join(same_name, "' or '"));
  if (const std::string near = nearest(name, siblings); !near.empty()) {
    return fmt::format("did you mean '{}'?", section.empty() ? near : section + "." + near);
  }
  if (const std::string near = did_you_mean(key, all); !near.empty()) return near;
  return section.empty() ? "" : keys_of(section);
}

}  // namespace govtrain
