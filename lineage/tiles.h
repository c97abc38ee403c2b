// Reads the tiles and entry bundles of a log of known size and root, and lets nothing through that the root does not
// cover: every tile is authenticated by the tile above it, every entry by its hash. Read-only; takes no lock.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/merkle.h"
#include "lineage/paths.h"

namespace govtrain {

inline constexpr size_t max_entry_bytes = 65535;

// Appends the bundle form of an entry: uint16 big-endian length, bytes. REQUIRES: at most max_entry_bytes.
void append_bundle_entry(std::string& bundle, std::string_view entry);
// The entries of a bundle. `corrupt` unless there are exactly `count` and nothing else.
Result<std::vector<std::string_view>> split_bundle(std::string_view bundle, uint64_t count);

class TileTree {
 public:
  using Tile = std::shared_ptr<const std::vector<Digest>>;

  // Reads the right edge and checks that it gives `root`. `dir` is the folder that holds "tile/".
  static Result<TileTree> open(FileSystem& fs, std::string dir, uint64_t size, const Digest& root);

  uint64_t size() const { return size_; }
  const Digest& root() const { return root_; }
  // The partial tile at the right edge of each level, lowest first; empty where the level's tiles are all full.
  const std::vector<std::vector<Digest>>& edge() const { return edge_; }

  // The authenticated tile (level, index).
  Result<Tile> tile(int level, uint64_t index);
  // The node of the binary tree; for the proofs of merkle.h.
  Result<Digest> node(int level, uint64_t index);
  NodeReader nodes();
  // The bytes of bundle `index`, every entry checked against its leaf hash. Last bundle read is kept.
  Result<std::shared_ptr<const std::string>> bundle(uint64_t index);
  // Number of entries in bundle `index`.
  uint64_t bundle_width(uint64_t index) const;

 private:
  TileTree(FileSystem& fs, std::string dir, uint64_t size, const Digest& root)
      : fs_(&fs), dir_(std::move(dir)), size_(size), root_(root) {}
  Result<std::string> read_resource(int level, uint64_t index, uint64_t width);
  Result<std::vector<Digest>> read_hashes(int level, uint64_t index, uint64_t width);

  FileSystem* fs_;
  std::string dir_;
  uint64_t size_;
  Digest root_;
  std::vector<std::vector<Digest>> edge_;
  std::list<std::pair<std::pair<int, uint64_t>, Tile>> cache_;  // most recent first
  uint64_t bundle_index_ = UINT64_MAX;
  std::shared_ptr<const std::string> bundle_;
};

// The root of a tree from its right edge (see TileTree::edge).
Digest edge_root(const std::vector<std::vector<Digest>>& edge);

}  // namespace govtrain
