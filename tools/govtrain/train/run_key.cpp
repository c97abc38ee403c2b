#include "tools/govtrain/train/run_key.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "lineage/reader.h"

namespace govtrain {
namespace {

std::string id_text(const NoteKey& key) {
  std::string text;
  for (const uint8_t b : key.id()) text += fmt::format("{:02x}", b);
  return text;
}

}  // namespace

Result<KeyMaker> KeyMaker::at(FileSystem& fs, const std::string& path) {
  const std::string folder = parent_path(path), file = path.substr(path.find_last_of('/') + 1);
  if (Status s = fs.make_dirs(folder); !s.ok()) return s;
  const std::string lock_path = join_path(folder, "." + file + ".lock");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (;;) {
    Result<std::shared_ptr<void>> lock = fs.lock(lock_path);
    if (lock.ok()) {
      KeyMaker maker(fs, path, lock.value());
      const Status free = maker.find_aside();
      return free.ok() ? Result<KeyMaker>(std::move(maker)) : Result<KeyMaker>(free);
    }
    if (lock.status().code() != StatusCode::locked) {
      return Status(lock.status().code(), fmt::format("{} cannot be made: {}", path, lock.status().message()));
    }
    if (std::chrono::steady_clock::now() > deadline) {
      return Status(StatusCode::locked, fmt::format("{} is being made for another run of this name: {}; start this one "
                                                    "again, or give it a run.name or a lineage.key of its own",
                                                    path, lock.status().message()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

Status KeyMaker::find_aside() {
  if (!fs_->exists(path_)) return {};
  const Result<NoteSigner> stale = load_note_key(*fs_, path_);
  aside_ = path_ + "." + (stale.ok() ? id_text(stale.value().public_key()) : "unreadable");
  if (!fs_->exists(aside_)) return {};
  return {StatusCode::exists, fmt::format("both {} and {} exist; remove one", path_, aside_)};
}

Result<NoteSigner> KeyMaker::make(const std::string& name, std::string& notice) {
  if (!aside_.empty()) {
    if (Status s = fs_->rename(path_, aside_); !s.ok()) return s;
    notice = fmt::format("the key of an earlier log, {}, was moved to {}", path_, aside_);
  }
  return create_note_key(*fs_, path_, name);
}

Status KeyMaker::take_back() { return fs_->remove(path_); }

Result<NoteSigner> find_log_key(FileSystem& fs, const std::string& path, const std::string& folder) {
  const Result<NoteKey> log = read_log_key(fs, folder);
  // In this order: a run that starts between the two looks may move the key aside, and none moves it back.
  Result<NoteSigner> here = load_note_key(fs, path);
  if (!log.ok() || (here.ok() && here.value().public_key().id() == log.value().id())) return here;
  const std::string moved = path + "." + id_text(log.value());
  return fs.exists(moved) ? load_note_key(fs, moved) : here;
}

}  // namespace govtrain
