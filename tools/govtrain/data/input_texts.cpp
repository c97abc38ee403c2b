#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/config/utf8.h"
#include "core/config/yaml.h"
#include "core/file.h"
#include "tools/govtrain/data/byte_source.h"
#include "tools/govtrain/data/input_problems.h"

namespace govtrain {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct SidecarEntry {
  std::string pattern;
  json meta = json::object();
  Position at;
  bool used = false;
};

// Scalars stay text, quoted or not: 1.10 is a version, not a number.
json to_json(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::scalar:
      return node.text;
    case YamlNode::Kind::list: {
      json list = json::array();
      for (const YamlNode& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case YamlNode::Kind::map: {
      json map = json::object();
      for (const auto& [key, value] : node.entries) map[key.text] = to_json(value);
      return map;
    }
    default:
      return nullptr;
  }
}

std::vector<SidecarEntry> read_sidecar(const std::string& path, InputProblems& problems) {
  std::vector<SidecarEntry> entries;
  Diagnostics diagnostics;
  const auto text = read_yaml_file(path, {path, 0, 0, 1}, diagnostics);
  const auto tree = text ? parse_yaml(path, *text, diagnostics) : std::nullopt;
  if (tree) {
    MapReader top(*tree, "the file", diagnostics);
    const YamlNode* list = top.required("sources", "a list of {files: pattern, meta: {...}}");
    if (list != nullptr && list->kind != YamlNode::Kind::list) {
      diagnostics.error(list->at, "'sources' is " + describe(*list) + "; expected a list");
    } else if (list != nullptr) {
      for (const YamlNode& item : list->items) {
        MapReader reader(item, "the source", diagnostics);
        SidecarEntry entry;
        entry.at = item.at;
        entry.pattern = reader.required_text("files", "a shell pattern").value_or("");
        const YamlNode* meta = reader.required("meta", "a map with license, source, ...");
        if (meta != nullptr && meta->kind != YamlNode::Kind::map) {
          diagnostics.error(meta->at, "'meta' is " + describe(*meta) + "; expected a map");
        } else if (meta != nullptr) {
          entry.meta = to_json(*meta);
        }
        reader.finish();
        entries.push_back(std::move(entry));
      }
    }
    top.finish();
  }
  if (diagnostics.has_errors()) problems.add(path, "\n" + diagnostics.render());
  return entries;
}

// Regular files below the folder that are not hidden, as paths relative to it, sorted.
std::vector<std::string> list_files(const std::string& folder, InputProblems& problems) {
  std::vector<std::string> out;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error), end;
  while (!error && it != end) {
    const std::string name = it->path().filename().string();
    if (name[0] == '.') {
      if (it->is_directory()) it.disable_recursion_pending();
    } else if (it->is_regular_file() && name != "sources.yaml") {
      out.push_back(fs::relative(it->path(), folder).string());
    }
    it.increment(error);
  }
  if (error) problems.add(folder, "cannot be listed: " + error.message());
  std::sort(out.begin(), out.end());
  return out;
}

void read_text(const std::string& path, const std::string& name, std::vector<SidecarEntry>& sidecar,
               std::vector<Record>& records, InputProblems& problems) {
  const auto entry = std::find_if(sidecar.begin(), sidecar.end(), [&](const SidecarEntry& e) {
    return ::fnmatch(e.pattern.c_str(), name.c_str(), 0) == 0;
  });
  if (entry == sidecar.end()) {
    problems.add(path, "no entry of sources.yaml matches it; every text needs a licence and a source");
    return;
  }
  entry->used = true;
  try {
    Record record;
    const auto source = open_source(path);
    record.text = read_all(*source, max_line_bytes);
    if (const size_t bad = first_invalid_utf8(record.text); bad != record.text.size()) {
      throw InputError(fmt::format("not valid UTF-8 at byte {}", bad));
    }
    if (const std::string problem = text_problem(record.text); !problem.empty()) throw InputError(problem);
    record.meta = entry->meta;
    if (!record.meta.contains("path")) record.meta["path"] = name;
    if (!record.meta.contains("source")) record.meta["source"] = "file:" + name;
    records.push_back(std::move(record));
  } catch (const InputError& e) {
    problems.add(path, e.what());
  }
}

}  // namespace

void read_texts(const std::string& path, std::vector<Record>& records, InputProblems& problems) {
  const bool folder = fs::is_directory(path);
  const std::string base = folder ? path : parent_path(path);
  const std::string sidecar_path = join_path(base, "sources.yaml");
  std::vector<std::string> names =
      folder ? list_files(path, problems) : std::vector<std::string>{fs::path(path).filename().string()};
  std::vector<SidecarEntry> sidecar;
  const bool needed = std::any_of(names.begin(), names.end(), [](const std::string& n) { return !is_jsonl_name(n); });
  if (needed) {
    if (!fs::exists(sidecar_path)) {
      problems.add(path, "plain text without " + sidecar_path +
                             "; expected a sidecar that gives every file its licence and source");
      return;
    }
    const size_t before = problems.lines().size();
    sidecar = read_sidecar(sidecar_path, problems);
    if (problems.lines().size() > before) return;
  }
  if (names.empty()) problems.add(path, "the folder has no files in it");
  for (const std::string& name : names) {
    if (problems.full()) return;
    const std::string file = join_path(base, name);
    if (is_jsonl_name(name)) {
      read_jsonl(file, records, problems);
    } else {
      read_text(file, name, sidecar, records, problems);
    }
  }
  for (const SidecarEntry& e : sidecar) {
    if (folder && !e.used) {
      problems.add(to_string(e.at), fmt::format("'{}' is the first match of no file", e.pattern));
    }
  }
}

}  // namespace govtrain
