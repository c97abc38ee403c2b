#include "tools/govtrain/cli/places.h"

#include <fmt/format.h>

#include "core/config/yaml.h"
#include "core/file.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/checkpoint.h"

namespace govtrain {

std::string checkpoint_folder(const std::string& path) {
  FileSystem& fs = real_file_system();
  if (!fs.exists(path)) throw Failure(exit_data, fmt::format("{} does not exist", path));
  if (fs.exists(join_path(path, "model.safetensors"))) return path;
  const std::string store = join_path(path, "ckpt");
  const CheckpointStore checkpoints(fs, store);
  if (fs.exists(store)) {
    const std::vector<int64_t> steps = require(checkpoints.steps());
    if (!steps.empty()) return checkpoints.path(steps.back());
  }
  throw Failure(exit_data,
                fmt::format("there is no checkpoint in {}; expected a checkpoint folder, or a run folder with "
                            "one in ckpt/",
                            path));
}

bool is_policy_file(const std::string& path) {
  Diagnostics ignored;
  const auto text = read_yaml_file(path, {}, ignored);
  if (!text) return false;
  const auto root = parse_yaml(path, *text, ignored);
  const YamlNode* policy = root ? root->find("policy") : nullptr;
  return policy != nullptr && policy->kind == YamlNode::Kind::scalar;
}

}  // namespace govtrain
