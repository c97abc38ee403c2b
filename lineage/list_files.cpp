#include "lineage/list_files.h"

namespace govtrain {
namespace {

Status list_into(FileSystem& fs, const std::string& dir, const std::string& prefix, int depth,
                 std::vector<std::string>& out) {
  const std::string folder = prefix.empty() ? dir : join_path(dir, prefix);
  const Result<std::vector<std::string>> names = fs.list(folder);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    const std::string path = prefix.empty() ? name : prefix + "/" + name;
    const std::string whole = join_path(dir, path);
    if (depth < 32 && fs.is_dir(whole)) {
      if (Status s = list_into(fs, dir, path, depth + 1, out); !s.ok()) return s;
    } else {
      out.push_back(path);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> list_files(FileSystem& fs, const std::string& dir) {
  std::vector<std::string> out;
  if (!fs.exists(dir)) return out;
  if (Status s = list_into(fs, dir, "", 0, out); !s.ok()) return s;
  return out;
}

}  // namespace govtrain
