#include "tools/govtrain/cli/config_args.h"

#include <fmt/format.h>

#include "tools/govtrain/base/device.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/terminal.h"

namespace govtrain {

std::shared_ptr<ConfigArgs> add_config_args(CLI::App& app) {
  auto args = std::make_shared<ConfigArgs>();
  app.add_option("CONFIG", args->path, "The configuration (YAML), or a run folder")->required()->type_name("");
  app.add_option("OVERRIDES", args->overrides, "key=value sets a key (optim.lr=1e-3), ~key takes its default")
      ->type_name("");
  return args;
}

void check_computing(RunConfigFile& file) {
  const auto& run = file.config.run;
  check_device(run.device, file.loaded.where("run.device"), file.diagnostics);
  check_products(
      run.device, {run.precision, run.determinism}, [&](const std::string& key) { return file.loaded.where(key); },
      file.diagnostics);
}

std::unique_ptr<RunConfigFile> read_config(const ConfigArgs& args, bool computes) {
  auto file = read_run_config(args.path, args.overrides);
  if (computes) check_computing(*file);
  settle(file->diagnostics, "Nothing was started.");
  return file;
}

void settle(const Diagnostics& diagnostics, const std::string& consequence) {
  std::fflush(stdout);
  fmt::print(stderr, "{}", highlighted(diagnostics.render(), stderr));
  if (!diagnostics.has_errors()) return;
  fmt::print(stderr, "{} error{}.{}{}\n", diagnostics.errors(), diagnostics.errors() == 1 ? "" : "s",
             consequence.empty() ? "" : " ", consequence);
  throw Failure(exit_usage, "");
}

}  // namespace govtrain
