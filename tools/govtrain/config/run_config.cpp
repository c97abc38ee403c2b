#include "tools/govtrain/config/run_config.h"

#include <filesystem>

#include "core/config/render.h"
#include "core/file.h"
#include "routing/file_kind.h"

namespace govtrain {

std::string RunConfig::key_path() const {
  if (!lineage.key.empty()) return lineage.key;
  // run.out may be "." or end in a slash: what lies beside it is not what its text suggests.
  return (std::filesystem::path(run.out) / ".." / (run.name + ".key")).lexically_normal().string();
}

std::string RunConfig::log_origin() const {
  return lineage.origin.empty() ? "govtrain.local/" + run.name : lineage.origin;
}

std::unique_ptr<RunConfigFile> read_run_config(const std::string& path, const std::vector<std::string>& overrides) {
  auto file = std::make_unique<RunConfigFile>();
  const std::string inside = join_path(path, "config.yaml");
  const bool run_folder = std::filesystem::is_directory(path) && std::filesystem::exists(inside);
  if (is_another_kind(run_folder ? inside : path, FileKind::configuration, file->diagnostics)) {
    file->loaded.unreadable = true;
    return file;
  }
  file->loaded = load_config(file->schema, run_folder ? inside : path, overrides, file->diagnostics);
  // Not a path key of the schema, as it may be a word.
  std::string& resume = file->config.run.resume;
  const Position at = file->loaded.where("run.resume");
  if (resume != "never" && resume != "auto" && at.line > 0) resume = join_path(parent_path(at.file), resume);
  if (!file->loaded.unreadable) check(file->config, file->loaded, file->diagnostics);
  return file;
}

std::string resolved_yaml(const RunConfig& config, const std::string& folder) {
  namespace fs = std::filesystem;
  const auto from_folder = [&](const std::string& path) {
    if (path.empty()) return path;
    return fs::absolute(path).lexically_normal().lexically_relative(fs::absolute(folder).lexically_normal()).string();
  };
  // Bound to the defaults, so that a required key is written like any other.
  RunConfigFile file;
  file.config = config;
  for (const Schema::Field& field : file.schema.fields())
    if (field.options.path) field.map_text(from_folder);
  std::string& resume = file.config.run.resume;
  if (resume != "never" && resume != "auto") resume = from_folder(resume);
  return to_yaml(file.schema, false);
}

std::string resolved_json(const RunConfig& config) {
  RunConfigFile file;
  file.config = config;
  return canonical_json(file.schema);
}

}  // namespace govtrain
