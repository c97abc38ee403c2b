// Finding a log and the key to trust, as the lineage verbs are given them.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "lineage/note.h"

namespace govtrain {

struct LogArgs {
  std::string path;  // a log's folder, or a run folder that has one in lineage/
  std::string key;   // a verifier key, or a file that holds one; empty: the one in the log's folder

  // Throws Failure when there is no log.
  std::string folder() const;
  // Throws Failure when the key cannot be read.
  NoteKey read_key() const;
};

std::shared_ptr<LogArgs> add_log_args(CLI::App& app);

}  // namespace govtrain
