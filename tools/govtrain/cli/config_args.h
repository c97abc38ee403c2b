// The arguments that every verb with a run configuration takes: CONFIG [key=value ...] [~key ...].
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "tools/govtrain/config/run_config.h"

namespace govtrain {

struct ConfigArgs {
  std::string path;
  std::vector<std::string> overrides;
};

// Registers the two positional arguments.
std::shared_ptr<ConfigArgs> add_config_args(CLI::App& app);

// Reads and checks; warnings go to standard error. With errors it prints them all and throws an already reported
// Failure (exit_usage). `computes`: the verb needs the device that run.device names.
std::unique_ptr<RunConfigFile> read_config(const ConfigArgs& args, bool computes = false);

// Reports, at their keys, a device that cannot be taken and products that it does not have.
void check_computing(RunConfigFile& file);

// Prints the messages; throws an already reported Failure when there are errors, with `consequence` in the last line:
// "Nothing was started."
void settle(const Diagnostics& diagnostics, const std::string& consequence);

}  // namespace govtrain
