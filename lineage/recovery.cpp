#include "lineage/recovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "lineage/checkpoint.h"
#include "lineage/list_files.h"
#include "lineage/paths.h"
#include "lineage/tiles.h"

namespace govtrain {
namespace {

constexpr uint64_t max_text_file = 1 << 20;

Status at(const std::string& dir, const Status& status) { return {status.code(), dir + ": " + status.message()}; }

// Garbage of a flush that was not committed, or a partial tile that its full tile replaces.
bool is_leftover(const TilePath& tile, uint64_t size) {
  const uint64_t hashes = hashes_at_level(size, tile.level);
  const uint64_t full = hashes / tile_width;
  if (tile.width < tile_width && tile.index < full) return true;
  return tile.index > full || (tile.index == full && tile.width > hashes % tile_width);
}

}  // namespace

Result<RecoveredLog> recover_log(FileSystem& fs, const std::string& dir, const NoteKey& key) {
  const Result<std::string> version = fs.read_at_most(join_path(dir, version_file), max_text_file);
  if (!version.ok()) return version.status();
  if (version.value() != version_text) {
    return Status(StatusCode::corrupt, fmt::format("{}: {} is not \"govtrain-lineage 1\"", dir, version_file));
  }
  const Result<std::string> state_text = fs.read_at_most(join_path(dir, state_file), max_text_file);
  if (!state_text.ok()) return state_text.status();
  const Result<TreeState> state = parse_tree_state(state_text.value());
  if (!state.ok()) return at(dir, state.status());
  RecoveredLog out;
  out.state = state.value();

  Result<TileTree> tree = TileTree::open(fs, dir, out.state.size, out.state.root);
  if (!tree.ok()) return tree.status();
  out.edge = tree.value().edge();
  if (out.state.size > 0) {
    const auto bundle = tree.value().bundle((out.state.size - 1) / tile_width);
    if (!bundle.ok()) return bundle.status();
    if (out.state.size % tile_width != 0) out.bundle = *bundle.value();
  }

  const Result<std::string> note = fs.read_at_most(join_path(dir, checkpoint_file), max_text_file);
  if (!note.ok()) {
    if (note.status().code() != StatusCode::not_found) return note.status();
    if (out.state.size > 0) {
      return Status(StatusCode::corrupt,
                    fmt::format("{}: the log has {} entries but no checkpoint", dir, out.state.size));
    }
    return out;
  }
  const Result<Checkpoint> checkpoint = verify_checkpoint(note.value(), key);
  if (!checkpoint.ok()) {
    return Status(StatusCode::corrupt, fmt::format("{}/{}: {}; the key in use is {}", dir, checkpoint_file,
                                                   checkpoint.status().message(), key.text()));
  }
  out.note = note.value();
  out.published = checkpoint.value().size;
  if (out.published > out.state.size) {
    return Status(StatusCode::rolled_back, fmt::format("{}: the log was rolled back: its signed checkpoint covers {} "
                                                       "entries, its state only {}",
                                                       dir, out.published, out.state.size));
  }
  const Result<Digest> prefix = tree_root(out.published, tree.value().nodes());
  if (!prefix.ok()) return prefix.status();
  if (prefix.value() != checkpoint.value().root) {
    return Status(StatusCode::corrupt,
                  fmt::format("{}: the log does not extend its signed checkpoint of {} entries", dir, out.published));
  }
  return out;
}

Status remove_leftovers(FileSystem& fs, const std::string& dir, uint64_t size) {
  const Result<std::vector<std::string>> files = list_files(fs, dir);
  if (!files.ok()) return files.status();
  for (const std::string& path : files.value()) {
    const Result<TilePath> tile = parse_tile_path(path);
    if (!path.ends_with(".tmp") && !(tile.ok() && is_leftover(tile.value(), size))) continue;
    if (Status s = fs.remove(join_path(dir, path)); !s.ok()) return s;
  }
  return {};
}

}  // namespace govtrain
