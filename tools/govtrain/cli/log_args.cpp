#include "tools/govtrain/cli/log_args.h"

#include <fmt/format.h>

#include "core/file.h"
#include "lineage/log_format.h"
#include "lineage/reader.h"
#include "tools/govtrain/base/exit.h"

namespace govtrain {

std::shared_ptr<LogArgs> add_log_args(CLI::App& app) {
  auto args = std::make_shared<LogArgs>();
  app.add_option("LOG", args->path, "A run folder, or the folder of a log")->required()->type_name("");
  app.add_option(
         "--key", args->key,
         "The verifier key to trust, or a file that holds it; without it the key in the log's own folder, which "
         "proves nothing against whoever wrote that folder")
      ->type_name("KEY");
  return args;
}

std::string LogArgs::folder() const {
  FileSystem& fs = real_file_system();
  for (const std::string& folder : {path, join_path(path, "lineage")})
    if (fs.exists(join_path(folder, checkpoint_file))) return folder;
  throw Failure(exit_data, fmt::format("there is no log in {}; expected a run folder or the folder of a log", path));
}

NoteKey LogArgs::read_key() const {
  FileSystem& fs = real_file_system();
  if (key.empty()) return require(read_log_key(fs, folder()), exit_unverified);
  std::string text = key;
  if (fs.exists(key)) text = require(fs.read(key));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  Result<NoteKey> parsed = NoteKey::parse(text);
  if (!parsed.ok())
    throw Failure(exit_usage,
                  fmt::format("--key: {} is neither a file nor a verifier key ({})", key, parsed.status().message()));
  return std::move(parsed).value();
}

}  // namespace govtrain
