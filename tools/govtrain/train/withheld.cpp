#include "tools/govtrain/train/withheld.h"

#include <fmt/format.h>

#include "core/error.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/shadow.h"

namespace govtrain {

std::unique_ptr<WithheldKeeper> make_withheld_keeper(FileSystem& fs, const RunConfig& config, Transformer& model,
                                                     Backend& backend) {
  if (config.routing.withheld == "quarantine") return make_quarantine(config, model, backend);
  if (config.routing.withheld == "shadow") return std::make_unique<Shadow>(fs, config, model, backend);
  return nullptr;
}

void load_withheld(FileSystem& fs, const std::string& checkpoint, const nlohmann::json& parts, WithheldKeeper& keeper) {
  const std::string path = join_path(checkpoint, withheld_file);
  if (!fs.exists(path)) {
    const auto part = parts.find(withheld_part);
    const bool shadow = part != parts.end() && part->is_object() && part->value("mode", "") == "shadow";
    throw Failure(exit_data,
                  fmt::format("{} has no {}{}; resume from another checkpoint", checkpoint, withheld_file,
                              shadow ? ": what it held was part of an update that a review rejected, and was "
                                       "destroyed with it"
                                     : ", which its trainer state speaks of"));
  }
  const std::vector<NamedTensor> tensors = require(read_tensors(path));
  try {
    if (!parts.contains(withheld_part)) throw Error("withheld", "the trainer state says nothing of it");
    keeper.load(parts.at(withheld_part), tensors);
  } catch (const nlohmann::json::exception& e) {
    throw Failure(exit_data, fmt::format("{}: the trainer state's part '{}' is malformed: {}", checkpoint,
                                         withheld_part, e.what()));
  } catch (const Error& e) {
    throw Failure(exit_data, fmt::format("{} does not fit this configuration: {}", checkpoint, e.what()));
  }
}

}  // namespace govtrain
