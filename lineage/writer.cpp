#include "lineage/writer.h"

#include <fmt/format.h>

#include "lineage/checkpoint.h"
#include "lineage/log_format.h"
#include "lineage/merkle.h"
#include "lineage/recovery.h"
#include "lineage/tiles.h"

namespace govtrain {
namespace {

std::string raw_bytes(const std::vector<Digest>& hashes) {
  std::string out;
  out.reserve(hashes.size() * sizeof(Digest));
  for (const Digest& hash : hashes) out.append(reinterpret_cast<const char*>(hash.data()), hash.size());
  return out;
}

}  // namespace

Result<LogWriter> LogWriter::create(FileSystem& fs, const std::string& dir, NoteSigner signer, const std::string& run) {
  LogWriter log(fs, dir, std::move(signer));
  if (Status s = fs.make_dirs(join_path(dir, state_dir)); !s.ok()) return s;
  Result<std::shared_ptr<void>> lock = fs.lock(join_path(dir, lock_file));
  if (!lock.ok()) return lock.status();
  log.lock_ = lock.value();
  for (const char* path : {state_file, checkpoint_file, "tile"}) {
    if (fs.exists(join_path(dir, path))) {
      return Status(StatusCode::exists, fmt::format("{} already holds a log ({} is there)", dir, path));
    }
  }
  log.run_ = run;
  if (Status s = write_atomic(fs, join_path(dir, version_file), version_text); !s.ok()) return s;
  if (Status s = write_atomic(fs, join_path(dir, key_file), log.key().text() + "\n"); !s.ok()) return s;
  if (Status s = log.commit(); !s.ok()) return s;
  if (Status s = log.publish(); !s.ok()) return s;
  return log;
}

Result<LogWriter> LogWriter::open(FileSystem& fs, const std::string& dir, NoteSigner signer) {
  if (!fs.exists(join_path(dir, state_file))) {
    return Status(StatusCode::not_found, fmt::format("{} holds no log ({} is missing)", dir, state_file));
  }
  LogWriter log(fs, dir, std::move(signer));
  Result<std::shared_ptr<void>> lock = fs.lock(join_path(dir, lock_file));
  if (!lock.ok()) return lock.status();
  log.lock_ = lock.value();
  Result<RecoveredLog> recovered = recover_log(fs, dir, log.key());
  if (!recovered.ok()) return recovered.status();
  RecoveredLog& found = recovered.value();
  log.run_ = found.state.run;
  log.size_ = log.committed_ = found.state.size;
  log.note_ = std::move(found.note);
  log.edge_ = std::move(found.edge);
  log.bundle_ = std::move(found.bundle);
  log.full_tiles_.resize(log.edge_.size());
  if (log.note_.empty() || found.published < log.committed_) {
    if (Status s = log.publish(); !s.ok()) return s;
  }
  if (Status s = remove_leftovers(fs, dir, log.committed_); !s.ok()) return s;
  for (size_t level = 0; level < log.edge_.size(); ++level) {
    const uint64_t index = hashes_at_level(log.committed_, static_cast<int>(level)) / tile_width;
    log.partials_.emplace(static_cast<int>(level), index);
    if (level == 0) log.partials_.emplace(entries_level, index);
  }
  return log;
}

Result<uint64_t> LogWriter::append(std::string_view leaf) {
  if (!status_.ok()) return status_;
  if (leaf.empty() || leaf.size() > max_entry_bytes) {
    return fail(
        {StatusCode::invalid, fmt::format("an entry has {} bytes; expected 1 to {}", leaf.size(), max_entry_bytes)});
  }
  append_bundle_entry(bundle_, leaf);
  push_hash(0, leaf_hash(leaf));
  return size_++;
}

void LogWriter::push_hash(size_t level, const Digest& hash) {
  if (edge_.size() <= level) {
    edge_.resize(level + 1);
    full_tiles_.resize(level + 1);
  }
  std::vector<Digest>& tile = edge_[level];
  tile.push_back(hash);
  if (tile.size() < tile_width) return;
  const uint64_t index = hashes_at_level(size_, static_cast<int>(level)) / tile_width;
  full_tiles_[level].emplace_back(tile_path({static_cast<int>(level), index, tile_width}), raw_bytes(tile));
  if (level == 0) {
    full_bundles_.emplace_back(tile_path({entries_level, index, tile_width}), std::move(bundle_));
    bundle_.clear();
  }
  const Digest parent = perfect_root(tile.data(), tile_width);
  tile.clear();
  push_hash(level + 1, parent);
}

Result<std::string> LogWriter::put_provenance(std::string_view bytes) {
  if (!status_.ok()) return status_;
  const Digest digest = sha256(bytes);
  const std::string name = hex(digest);
  if (provenance_.insert(digest).second) {
    std::string path = fmt::format("{}/{}.json", provenance_dir, name);
    if (!fs_->exists(join_path(dir_, path))) new_provenance_.emplace_back(std::move(path), bytes);
  }
  return name.substr(0, 16);
}

std::vector<LogWriter::File> LogWriter::files_to_write() const {
  std::vector<File> files = full_bundles_;
  if (!bundle_.empty() && size_ > committed_) {
    files.emplace_back(tile_path({entries_level, size_ / tile_width, size_ % tile_width}), bundle_);
  }
  for (size_t level = 0; level < edge_.size(); ++level) {
    files.insert(files.end(), full_tiles_[level].begin(), full_tiles_[level].end());
    const int l = static_cast<int>(level);
    const uint64_t hashes = hashes_at_level(size_, l);
    if (edge_[level].empty() || hashes == hashes_at_level(committed_, l)) continue;
    files.emplace_back(tile_path({l, hashes / tile_width, hashes % tile_width}), raw_bytes(edge_[level]));
  }
  return files;
}

// All writes, then all syncs, then all renames: the file system can put the data of many files into few journal
// commits.
Status LogWriter::store(const std::vector<File>& files) {
  std::vector<std::string> paths;
  std::set<std::string> folders;
  for (const auto& [name, bytes] : files) {
    paths.push_back(join_path(dir_, name));
    if (folders.insert(parent_path(paths.back())).second) {
      if (Status s = fs_->make_dirs(parent_path(paths.back())); !s.ok()) return s;
    }
    if (Status s = fs_->write(paths.back() + ".tmp", bytes); !s.ok()) return s;
  }
  for (const std::string& path : paths) {
    if (Status s = fs_->sync_file(path + ".tmp"); !s.ok()) return s;
  }
  for (const std::string& path : paths) {
    if (Status s = fs_->rename(path + ".tmp", path); !s.ok()) return s;
  }
  for (const std::string& folder : folders) {
    if (Status s = fs_->sync_dir(folder); !s.ok()) return s;
  }
  return {};
}

Status LogWriter::flush() {
  if (!status_.ok()) return status_;
  if (Status s = store(new_provenance_); !s.ok()) return fail(s);
  new_provenance_.clear();
  if (size_ == committed_) return {};
  if (Status s = store(files_to_write()); !s.ok()) return fail(s);
  if (Status s = commit(); !s.ok()) return fail(s);
  if (Status s = publish(); !s.ok()) return fail(s);
  if (Status s = collect_partials(); !s.ok()) return fail(s);
  return {};
}

Status LogWriter::commit() {
  return write_atomic(*fs_, join_path(dir_, state_file), tree_state_text({size_, root(), run_}));
}

Status LogWriter::publish() {
  const std::string note = signer_.sign(checkpoint_text({signer_.name(), size_, root(), {}}));
  if (Status s = write_atomic(*fs_, join_path(dir_, checkpoint_file), note); !s.ok()) return s;
  note_ = note;
  return {};
}

// Partial files may go once the full tile is covered by a published checkpoint.
Status LogWriter::collect_partials() {
  for (auto it = partials_.begin(); it != partials_.end();) {
    const auto [level, index] = *it;
    if (index >= hashes_at_level(size_, level) / tile_width) {
      ++it;
      continue;
    }
    if (Status s = fs_->remove_all(join_path(dir_, partial_folder(level, index))); !s.ok()) return s;
    it = partials_.erase(it);
  }
  for (size_t level = 0; level < edge_.size(); ++level) {
    full_tiles_[level].clear();
    if (edge_[level].empty()) continue;
    const uint64_t index = hashes_at_level(size_, static_cast<int>(level)) / tile_width;
    partials_.emplace(static_cast<int>(level), index);
    if (level == 0) partials_.emplace(entries_level, index);
  }
  full_bundles_.clear();
  committed_ = size_;
  return {};
}

Digest LogWriter::root() const { return edge_root(edge_); }

}  // namespace govtrain
