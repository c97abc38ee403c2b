#include "lineage/tiles.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace govtrain {
namespace {

constexpr size_t cached_tiles = 64;
constexpr uint64_t max_bundle_bytes = tile_width * (max_entry_bytes + 2);

// Keeps the first `width` entries of a full bundle.
Result<std::string> trim_bundle(std::string bundle, uint64_t width) {
  size_t at = 0;
  for (uint64_t i = 0; i < width; ++i) {
    if (bundle.size() - at < 2) return Status(StatusCode::corrupt, "bundle ends early");
    const size_t length =
        static_cast<size_t>(static_cast<uint8_t>(bundle[at])) << 8 | static_cast<uint8_t>(bundle[at + 1]);
    if (bundle.size() - at - 2 < length) return Status(StatusCode::corrupt, "bundle ends early");
    at += 2 + length;
  }
  bundle.resize(at);
  return bundle;
}

}  // namespace

void append_bundle_entry(std::string& bundle, std::string_view entry) {
  bundle += static_cast<char>(entry.size() >> 8);
  bundle += static_cast<char>(entry.size() & 255);
  bundle += entry;
}

Result<std::vector<std::string_view>> split_bundle(std::string_view bundle, uint64_t count) {
  std::vector<std::string_view> out;
  while (!bundle.empty()) {
    if (bundle.size() < 2) return Status(StatusCode::corrupt, "entry bundle: ends inside a length");
    const size_t length = static_cast<size_t>(static_cast<uint8_t>(bundle[0])) << 8 | static_cast<uint8_t>(bundle[1]);
    if (bundle.size() - 2 < length) {
      return Status(StatusCode::corrupt, fmt::format("entry bundle: entry {} ends early", out.size()));
    }
    if (out.size() == count) break;
    out.push_back(bundle.substr(2, length));
    bundle.remove_prefix(2 + length);
  }
  if (out.size() != count || !bundle.empty()) {
    return Status(StatusCode::corrupt, fmt::format("entry bundle: expected {} entries, got {}", count,
                                                   bundle.empty() ? std::to_string(out.size()) : "more"));
  }
  return out;
}

Digest edge_root(const std::vector<std::vector<Digest>>& edge) {
  std::vector<Digest> subtrees;
  for (size_t level = edge.size(); level-- > 0;) {
    const std::vector<Digest>& tile = edge[level];
    size_t at = 0;
    while (at < tile.size()) {
      const size_t count = std::bit_floor(tile.size() - at);
      subtrees.push_back(perfect_root(tile.data() + at, count));
      at += count;
    }
  }
  return fold_root(subtrees);
}

Result<TileTree> TileTree::open(FileSystem& fs, std::string dir, uint64_t size, const Digest& root) {
  TileTree tree(fs, std::move(dir), size, root);
  for (int level = 0; hashes_at_level(size, level) > 0; ++level) {
    const uint64_t count = hashes_at_level(size, level);
    tree.edge_.emplace_back();
    if (count % tile_width == 0) continue;
    Result<std::vector<Digest>> tile = tree.read_hashes(level, count / tile_width, count % tile_width);
    if (!tile.ok()) return tile.status();
    tree.edge_.back() = std::move(tile).value();
  }
  if (edge_root(tree.edge_) != root) {
    return Status(
        StatusCode::corrupt,
        fmt::format("{}: the tiles do not give the root of the {} entries that were committed", tree.dir_, size));
  }
  return tree;
}

Result<std::string> TileTree::read_resource(int level, uint64_t index, uint64_t width) {
  const uint64_t limit = level == entries_level ? max_bundle_bytes : tile_width * 32;
  const std::string path = join_path(dir_, tile_path({level, index, width}));
  const Status missing(StatusCode::corrupt, fmt::format("{} is missing; the log has {} entries", path, size_));
  Result<std::string> bytes = fs_->read_at_most(path, limit);
  if (bytes.ok() || bytes.status().code() != StatusCode::not_found) return bytes;
  if (width == tile_width) return missing;
  // Partial files may be deleted once the full one exists: take its beginning.
  Result<std::string> full = fs_->read_at_most(join_path(dir_, tile_path({level, index, tile_width})), limit);
  if (!full.ok()) return full.status().code() == StatusCode::not_found ? missing : full.status();
  if (level == entries_level) return trim_bundle(std::move(full).value(), width);
  if (full.value().size() == tile_width * 32) full.value().resize(width * 32);
  return full;
}

Result<std::vector<Digest>> TileTree::read_hashes(int level, uint64_t index, uint64_t width) {
  const Result<std::string> bytes = read_resource(level, index, width);
  if (!bytes.ok()) return bytes.status();
  if (bytes.value().size() != width * 32) {
    return Status(StatusCode::corrupt, fmt::format("{}: expected {} bytes, got {}", tile_path({level, index, width}),
                                                   width * 32, bytes.value().size()));
  }
  std::vector<Digest> out(width);
  std::memcpy(out.data(), bytes.value().data(), bytes.value().size());
  return out;
}

Result<TileTree::Tile> TileTree::tile(int level, uint64_t index) {
  const uint64_t count = hashes_at_level(size_, level);
  if (index > count / tile_width || (index == count / tile_width && count % tile_width == 0)) {
    return Status(StatusCode::invalid, fmt::format("tile {} of level {} is beyond the log", index, level));
  }
  if (index == count / tile_width)
    return std::make_shared<const std::vector<Digest>>(edge_[static_cast<size_t>(level)]);
  const std::pair<int, uint64_t> key(level, index);
  for (auto it = cache_.begin(); it != cache_.end(); ++it) {
    if (it->first != key) continue;
    cache_.splice(cache_.begin(), cache_, it);
    return cache_.front().second;
  }
  Result<std::vector<Digest>> hashes = read_hashes(level, index, tile_width);
  if (!hashes.ok()) return hashes.status();
  const Result<Tile> above = tile(level + 1, index / tile_width);
  if (!above.ok()) return above.status();
  if (perfect_root(hashes.value().data(), tile_width) != (*above.value())[index % tile_width]) {
    return Status(StatusCode::corrupt, fmt::format("{}: does not match the tile above it",
                                                   join_path(dir_, tile_path({level, index, tile_width}))));
  }
  Tile out = std::make_shared<const std::vector<Digest>>(std::move(hashes).value());
  cache_.emplace_front(key, out);
  if (cache_.size() > cached_tiles) cache_.pop_back();
  return out;
}

Result<Digest> TileTree::node(int level, uint64_t index) {
  const int shift = level % 8;
  const uint64_t first = index << shift;
  const Result<Tile> hashes = tile(level / 8, first / tile_width);
  if (!hashes.ok()) return hashes.status();
  const size_t at = first % tile_width;
  const size_t count = size_t{1} << shift;
  if (at + count > hashes.value()->size()) {
    return Status(StatusCode::invalid, fmt::format("node {} of level {} is beyond the log", index, level));
  }
  return perfect_root(hashes.value()->data() + at, count);
}

NodeReader TileTree::nodes() {
  return [this](int level, uint64_t index) { return node(level, index); };
}

uint64_t TileTree::bundle_width(uint64_t index) const {
  return std::min(tile_width, size_ - std::min(size_, index * tile_width));
}

Result<std::shared_ptr<const std::string>> TileTree::bundle(uint64_t index) {
  if (index == bundle_index_) return bundle_;
  const uint64_t width = bundle_width(index);
  if (width == 0) return Status(StatusCode::invalid, fmt::format("bundle {} is beyond the log", index));
  Result<std::string> bytes = read_resource(entries_level, index, width);
  if (!bytes.ok()) return bytes.status();
  const auto at = [&](const std::string& why) {
    return Status(StatusCode::corrupt,
                  fmt::format("{}: {}", join_path(dir_, tile_path({entries_level, index, width})), why));
  };
  const Result<std::vector<std::string_view>> entries = split_bundle(bytes.value(), width);
  if (!entries.ok()) return at(entries.status().message());
  const Result<Tile> hashes = tile(0, index);
  if (!hashes.ok()) return hashes.status();
  for (size_t i = 0; i < width; ++i) {
    if (leaf_hash(entries.value()[i]) != (*hashes.value())[i]) {
      return at(fmt::format("entry {} does not match its hash in the tree", index * tile_width + i));
    }
  }
  bundle_index_ = index;
  bundle_ = std::make_shared<const std::string>(std::move(bytes).value());
  return bundle_;
}

}  // namespace govtrain
