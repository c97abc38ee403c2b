#include "lineage/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "lineage/list_files.h"
#include "lineage/log_format.h"
#include "lineage/merkle.h"
#include "lineage/paths.h"
#include "lineage/tiles.h"
#include "lineage/verify_findings.h"
#include "lineage/verify_records.h"

namespace govtrain {
namespace {

constexpr uint64_t max_file = tile_width * (65535 + 2);

Digest root_of(const std::vector<Digest>& hashes) {
  Frontier frontier;
  for (const Digest& hash : hashes) frontier.push(hash);
  return frontier.root();
}

std::string concatenated(const std::vector<Digest>& hashes) {
  std::string out;
  for (const Digest& hash : hashes) out.append(hash.begin(), hash.end());
  return out;
}

// Up to `limit` entries and the bytes that they take; nothing when the bundle is malformed.
std::optional<std::pair<std::vector<std::string_view>, size_t>> entries_of(std::string_view bundle, uint64_t limit) {
  std::pair<std::vector<std::string_view>, size_t> out{{}, 0};
  while (out.first.size() < limit && out.second < bundle.size()) {
    if (bundle.size() - out.second < 2) return std::nullopt;
    const size_t length =
        size_t{static_cast<uint8_t>(bundle[out.second])} * 256 + static_cast<uint8_t>(bundle[out.second + 1]);
    if (bundle.size() - out.second - 2 < length) return std::nullopt;
    out.first.push_back(bundle.substr(out.second + 2, length));
    out.second += 2 + length;
  }
  return out;
}

class Verifier {
 public:
  Verifier(FileSystem& fs, const std::string& dir, const NoteKey& key, const VerifyOptions& options,
           VerifyReport& report)
      : fs_(fs), dir_(dir), key_(key), options_(options), report_(report), found_(report, options.max_listed) {}

  void run() {
    const Result<std::string> note = read(checkpoint_file);
    if (!note.ok()) return found_.problem(note.status().message());
    const Result<Checkpoint> head = verify_checkpoint(note.value(), key_);
    if (!head.ok()) return found_.problem(fmt::format("{}: {}", checkpoint_file, head.status().message()));
    report_.checkpoint = head.value();
    const Result<std::vector<std::string>> files = list_files(fs_, dir_);
    if (!files.ok()) return found_.problem(files.status().message());
    check_provenance(files.value());
    check_entries();
    check_state();
    for (const std::string& path : files.value()) check_file(path);
  }

 private:
  Result<std::string> read(const std::string& path) { return fs_.read_at_most(join_path(dir_, path), max_file); }

  // A partial resource, or the full one that replaced it since; `trimmed` tells which.
  Result<std::string> resource(const TilePath& tile, bool& trimmed) {
    Result<std::string> bytes = read(tile_path(tile));
    trimmed = !bytes.ok() && bytes.status().code() == StatusCode::not_found && tile.width < tile_width;
    return trimmed ? read(tile_path({tile.level, tile.index, tile_width})) : bytes;
  }

  void check_entries() {
    Frontier whole;
    RecordChecker records(found_, std::set<std::string>(provenance_.begin(), provenance_.end()));
    std::vector<Digest> above;  // the hashes of level 1
    const uint64_t size = report_.checkpoint.size;
    for (uint64_t bundle = 0; bundle * tile_width < size; ++bundle) {
      const TilePath path{entries_level, bundle, std::min(tile_width, size - bundle * tile_width)};
      bool trimmed = false;
      const Result<std::string> bytes = resource(path, trimmed);
      // Without these entries nothing after them can be derived.
      if (!bytes.ok()) return found_.problem(bytes.status().message());
      const auto entries = entries_of(bytes.value(), path.width);
      if (!entries || entries->first.size() != path.width || (!trimmed && entries->second != bytes.value().size())) {
        return found_.problem(fmt::format("{}: expected exactly {} entries", tile_path(path), path.width));
      }
      std::vector<Digest> hashes;
      for (const std::string_view entry : entries->first) {
        hashes.push_back(leaf_hash(entry));
        whole.push(hashes.back());
        if (options_.records) records.add(report_.entries, entry);
        ++report_.entries;
      }
      check_tile(0, bundle, hashes);
      if (path.width == tile_width) above.push_back(root_of(hashes));
    }
    for (int level = 1; !above.empty(); ++level) {
      std::vector<Digest> next;
      for (size_t at = 0; at < above.size(); at += tile_width) {
        const size_t width = std::min<size_t>(tile_width, above.size() - at);
        const std::vector<Digest> tile(above.begin() + static_cast<ptrdiff_t>(at),
                                       above.begin() + static_cast<ptrdiff_t>(at + width));
        check_tile(level, at / tile_width, tile);
        if (width == tile_width) next.push_back(root_of(tile));
      }
      above = std::move(next);
    }
    if (whole.root() != report_.checkpoint.root) {
      found_.problem(fmt::format("the {} entries do not give the signed root", report_.entries));
    }
  }

  void check_tile(int level, uint64_t index, const std::vector<Digest>& hashes) {
    const TilePath path{level, index, hashes.size()};
    bool trimmed = false;
    Result<std::string> bytes = resource(path, trimmed);
    ++report_.tiles;
    if (!bytes.ok()) return found_.problem(bytes.status().message());
    if (trimmed && bytes.value().size() == tile_width * 32) bytes.value().resize(hashes.size() * 32);
    if (bytes.value() != concatenated(hashes)) {
      found_.problem(fmt::format("{}: differs from what the entries give", tile_path(path)));
    }
  }

  void check_provenance(const std::vector<std::string>& files) {
    const std::string prefix = std::string(provenance_dir) + "/";
    for (const std::string& path : files) {
      if (!path.starts_with(prefix) || !path.ends_with(".json")) continue;
      const Result<std::string> bytes = read(path);
      if (!bytes.ok()) {
        found_.problem(bytes.status().message());
      } else if (prefix + hex(sha256(bytes.value())) + ".json" != path) {
        found_.problem(fmt::format("{}: the content has another SHA-256 than its name", path));
      } else {
        provenance_.insert(path.substr(prefix.size(), 16));
        ++report_.provenance;
      }
    }
  }

  void check_state() {
    const Result<std::string> text = read(state_file);
    if (!text.ok()) {
      if (text.status().code() == StatusCode::not_found)
        return found_.warning(".state/treeState is missing: a copy of a log");
      return found_.problem(text.status().message());
    }
    const Result<TreeState> state = parse_tree_state(text.value());
    if (!state.ok()) return found_.problem(state.status().message());
    const Checkpoint& head = report_.checkpoint;
    if (state.value().size < head.size) {
      found_.problem(fmt::format("rolled back: the checkpoint covers {} entries, .state/treeState only {}", head.size,
                                 state.value().size));
    } else if (state.value().size == head.size && state.value().root != head.root) {
      found_.problem(".state/treeState and the checkpoint have different roots");
    } else if (state.value().size > head.size) {
      // Only the next start of the run can sign them; until then they must at least be what was committed.
      const Result<TileTree> tail = TileTree::open(fs_, dir_, state.value().size, state.value().root);
      if (!tail.ok()) return found_.problem(fmt::format(".state/treeState: {}", tail.status().message()));
      found_.warning(fmt::format("{} committed entries are not signed yet", state.value().size - head.size));
    }
  }

  // Files that no other check has read.
  void check_file(const std::string& path) {
    static const std::set<std::string> known = {checkpoint_file, state_file, lock_file, version_file};
    if (known.contains(path)) return;
    if (path == key_file) {
      const Result<std::string> text = read(path);
      if (!text.ok() || text.value() != key_.text() + "\n")
        found_.problem(path + ": is not the key that signed the log");
      return;
    }
    if (path.ends_with(".tmp")) return found_.warning(path + ": left over from a write that did not finish");
    if (path.starts_with(std::string(provenance_dir) + "/") && path.ends_with(".json")) return;
    const Result<TilePath> tile = parse_tile_path(path);
    if (!tile.ok()) return found_.problem(path + ": is not part of a log");
    const uint64_t hashes = hashes_at_level(report_.checkpoint.size, tile.value().level);
    const uint64_t begin = tile.value().index * tile_width;
    if (tile.value().index >= tile_width << 47 || begin >= hashes || hashes - begin < tile.value().width) {
      return found_.warning(path + ": beyond the signed entries");
    }
    check_older_partial(path, tile.value(), std::min(tile_width, hashes - begin));
  }

  // A partial file of an earlier checkpoint must be the beginning of the newest file of its tile, checked before.
  void check_older_partial(const std::string& path, const TilePath& tile, uint64_t newest_width) {
    if (tile.width == newest_width) return;
    bool trimmed = false;
    const Result<std::string> newest = resource({tile.level, tile.index, newest_width}, trimmed);
    const Result<std::string> bytes = read(path);
    if (!bytes.ok() && bytes.status().code() == StatusCode::not_found) return;  // the writer has just removed it
    if (!newest.ok() || !bytes.ok()) return found_.problem(path + ": cannot be compared with its tile");
    size_t expected = tile.width * 32;
    if (tile.level == entries_level) {
      const auto entries = entries_of(newest.value(), tile.width);
      expected = entries ? entries->second : SIZE_MAX;
    }
    if (bytes.value().size() != expected || !newest.value().starts_with(bytes.value())) {
      found_.problem(path + ": is not the beginning of its tile");
    }
  }

  FileSystem& fs_;
  const std::string& dir_;
  const NoteKey& key_;
  const VerifyOptions& options_;
  VerifyReport& report_;
  Findings found_;
  std::set<std::string> provenance_;
};

}  // namespace

VerifyReport verify_log(FileSystem& fs, const std::string& dir, const NoteKey& key, const VerifyOptions& options) {
  VerifyReport report;
  Verifier(fs, dir, key, options, report).run();
  return report;
}

}  // namespace govtrain
