#include "core/config/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace govtrain {
namespace {

// The fields as a tree, children in order of declaration.
struct Tree {
  std::string name, path;
  const Schema::Field* field = nullptr;
  std::vector<Tree> children;

  Tree& child(const std::string& child_name) {
    for (Tree& c : children) {
      if (c.name == child_name) return c;
    }
    children.push_back({child_name, path.empty() ? child_name : path + "." + child_name, nullptr, {}});
    return children.back();
  }
};

Tree tree_of(const Schema& schema) {
  Tree root;
  for (const auto& [name, doc] : schema.sections()) {
    if (schema.is_section(name) && name.find('.') == std::string::npos) root.child(name);
  }
  for (const Schema::Field& field : schema.fields()) {
    Tree* at = &root;
    for (size_t begin = 0; begin <= field.key.size();) {
      const size_t end = std::min(field.key.find('.', begin), field.key.size());
      at = &at->child(field.key.substr(begin, end - begin));
      begin = end + 1;
    }
    at->field = &field;
  }
  return root;
}

std::string section_doc(const Schema& schema, const std::string& name) {
  for (const auto& [section, doc] : schema.sections()) {
    if (section == name) return doc;
  }
  return "";
}

void yaml(const Schema& schema, const Tree& tree, int depth, bool docs, const LoadedConfig* loaded, std::string& out) {
  const std::string indent(static_cast<size_t>(depth) * 2, ' ');
  for (const Tree& child : tree.children) {
    if (child.field == nullptr) {
      const std::string doc = docs ? section_doc(schema, child.path) : "";
      if (docs && depth == 0 && !out.empty()) out += "\n";
      if (!doc.empty()) out += fmt::format("{}# {}\n", indent, doc);
      out += fmt::format("{}{}:\n", indent, child.name);
      yaml(schema, child, depth + 1, docs, loaded, out);
      continue;
    }
    const Schema::Field& field = *child.field;
    if (docs) {
      out += fmt::format("{}# {} ({}{})\n", indent, field.options.doc, field.expected(),
                         field.options.required ? ", required" : ", default " + field.default_json);
    }
    const bool missing = field.options.required && field.json() == field.default_json && loaded == nullptr;
    const std::string line = fmt::format("{}{}{}: {}", missing ? "# " : "", indent, child.name, field.json());
    out += loaded == nullptr ? line + "\n" : fmt::format("{:<48}  # {}\n", line, loaded->origin(field.key));
  }
}

void canonical(const Tree& tree, std::string& out) {
  std::map<std::string, const Tree*> sorted;
  for (const Tree& child : tree.children) sorted[child.name] = &child;
  out += '{';
  for (const auto& [name, child] : sorted) {
    if (out.back() != '{') out += ',';
    out += nlohmann::json(name).dump() + ':';
    if (child->field != nullptr) {
      out += child->field->json();
    } else {
      canonical(*child, out);
    }
  }
  out += '}';
}

using Json = nlohmann::ordered_json;

Json scalar_schema(const std::string& type, const FieldOptions& o) {
  Json out;
  if (type == "boolean" || type == "string") {
    out["type"] = type;
  } else {
    // 8k, 1_000 and 10m are strings to an editor.
    out["type"] = {type, "string"};
    out["pattern"] = "^[-+]?[0-9_]*\\.?[0-9_]*([eE][-+]?[0-9]+)?[A-Za-z]*$";
    if (std::isfinite(o.min)) out[o.exclusive_min ? "exclusiveMinimum" : "minimum"] = o.min;
    if (std::isfinite(o.max)) out["maximum"] = o.max;
  }
  if (!o.choices.empty()) out["enum"] = o.choices;
  return out;
}

Json field_schema(const Schema::Field& field) {
  const FieldOptions& o = field.options;
  Json out;
  if (field.is_list()) {
    out["type"] = "array";
    out["items"] = scalar_schema(field.type == "list of numbers" ? "number" : "string", o);
  } else {
    out = scalar_schema(field.type, o);
  }
  out["description"] = o.doc + (o.unit.empty() ? "" : " (" + o.unit + ")");
  if (!o.required) out["default"] = Json::parse(field.default_json);
  return out;
}

Json object_schema(const Schema& schema, const Tree& tree) {
  Json out;
  out["type"] = "object";
  if (const std::string doc = section_doc(schema, tree.path); !doc.empty()) out["description"] = doc;
  out["additionalProperties"] = false;
  out["properties"] = Json::object();
  for (const Tree& child : tree.children) {
    out["properties"][child.name] = child.field != nullptr ? field_schema(*child.field) : object_schema(schema, child);
  }
  return out;
}

std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

void markdown_rows(const Tree& tree, std::string& out) {
  for (const Tree& child : tree.children) {
    if (child.field == nullptr) {
      markdown_rows(child, out);
      continue;
    }
    const Schema::Field& f = *child.field;
    out += fmt::format("| `{}` | {} | {} | {} |\n", f.key, cell(f.expected()),
                       f.options.required ? "required" : "`" + cell(f.default_json) + "`", cell(f.options.doc));
  }
}

}  // namespace

std::string to_yaml(const Schema& schema, bool with_docs, const LoadedConfig* loaded) {
  std::string out;
  yaml(schema, tree_of(schema), 0, with_docs, loaded, out);
  return out;
}

std::string json_schema(const Schema& schema) {
  Json out;
  out["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  out["title"] = "govtrain configuration";
  const Json body = object_schema(schema, tree_of(schema));
  for (const auto& [key, value] : body.items()) out[key] = value;
  // Required keys may come from the base file or the command line, so 'required' would refuse good files.
  out["properties"]["extends"] = {{"type", "string"}, {"description", "Another config file to take as the base."}};
  return out.dump(2) + "\n";
}

std::string markdown_reference(const Schema& schema) {
  std::string out;
  const std::string head = "| key | type | default | meaning |\n|---|---|---|---|\n";
  for (const Tree& child : tree_of(schema).children) {
    out += fmt::format("## {}\n\n", child.name);
    if (const std::string doc = section_doc(schema, child.path); !doc.empty()) out += doc + "\n\n";
    out += head;
    Tree group;
    group.children = {child};
    markdown_rows(group, out);
    out += "\n";
  }
  return out;
}

std::string canonical_json(const Schema& schema) {
  std::string out;
  canonical(tree_of(schema), out);
  return out;
}

}  // namespace govtrain
