// `config show|schema|docs|diff`: the configuration as text.
#include <fmt/format.h>

#include <memory>

#include "core/config/render.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/config_args.h"
#include "tools/govtrain/cli/terminal.h"

namespace govtrain {
namespace {

int show(const ConfigArgs& args) {
  if (args.path.empty()) {
    const RunConfigFile defaults;
    fmt::print("{}", to_yaml(defaults.schema, true));
    return exit_ok;
  }
  const auto file = read_config(args);
  fmt::print("{}", to_yaml(file->schema, false, &file->loaded));
  return exit_ok;
}

int diff(const std::string& left, const std::string& right) {
  const auto a = read_config({left, {}});
  const auto b = read_config({right, {}});
  std::vector<std::vector<std::string>> rows = {{"key", left, right}};
  for (size_t i = 0; i < a->schema.fields().size(); ++i) {
    const std::string x = a->schema.fields()[i].json(), y = b->schema.fields()[i].json();
    if (x != y) rows.push_back({a->schema.fields()[i].key, x, y});
  }
  if (rows.size() == 1)
    fmt::print("no differences\n");
  else
    fmt::print("{}", table(rows));
  return exit_ok;
}

constexpr const char* docs_head =
    "# Configuration reference\n\n"
    "Made by `govtrain config docs`; edit the schema, not this file. A configuration is YAML: sections with keys. "
    "Values\n"
    "come from the defaults below, then from the file that `extends: other.yaml` names, then from the file itself, "
    "then\n"
    "from the command line (`optim.lr=1e-3` sets a key, `~optim.lr` takes its default again). Unknown keys, "
    "duplicates\n"
    "and values that make no sense are errors, all reported at once. Relative paths start at the folder of the file "
    "that\n"
    "gives them; on the command line, at the working folder. `govtrain config show` prints a commented template,\n"
    "`govtrain config show CONFIG` every value and where it came from.\n\n";

}  // namespace

Verb config_show_verb() {
  return {"config show", "Print every value and where it came from",
          "Without CONFIG: a commented template with all keys and their defaults.", [](CLI::App& app) {
            auto args = add_config_args(app);
            app.get_option("CONFIG")->required(false);
            return [args] { return show(*args); };
          }};
}

Verb config_schema_verb() {
  return {"config schema", "Print the JSON Schema of a configuration, for editors", "", [](CLI::App&) {
            return [] {
              const RunConfigFile defaults;
              fmt::print("{}", json_schema(defaults.schema));
              return int{exit_ok};
            };
          }};
}

Verb config_docs_verb() {
  return {"config docs", "Print the reference of all keys (Markdown)", "", [](CLI::App&) {
            return [] {
              const RunConfigFile defaults;
              fmt::print("{}{}", docs_head, markdown_reference(defaults.schema));
              return int{exit_ok};
            };
          }};
}

Verb config_diff_verb() {
  return {"config diff", "Print the keys in which two configurations differ", "", [](CLI::App& app) {
            auto files = std::make_shared<std::pair<std::string, std::string>>();
            app.add_option("A", files->first, "A configuration")->required()->type_name("");
            app.add_option("B", files->second, "Another")->required()->type_name("");
            return [files] { return diff(files->first, files->second); };
          }};
}

}  // namespace govtrain
