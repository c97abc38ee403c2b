// A FileSystem in memory that fails on demand and can lose power. Every call but exists(), is_dir() and lock() is an
// operation with a number; operations fail_at, or fail_at and all later ones, return an error. after_crash() gives what
// a disk may hold when the machine dies now: content and names that were not synced are kept, lost or torn at random.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/file.h"
#include "tests/lineage/support.h"

namespace govtrain {

class FaultFs final : public FileSystem {
 public:
  uint64_t operations = 0;
  uint64_t fail_at = UINT64_MAX;
  bool persistent = false;
  StatusCode code = StatusCode::io;
  bool faulted = false;

  Result<std::string> read(const std::string& path) override {
    if (fails()) return error("read", path);
    const auto it = names_.find(path);
    if (it == names_.end()) return Status(StatusCode::not_found, "read " + path);
    return it->second->content;
  }
  Status write(const std::string& path, std::string_view bytes) override {
    const bool failed = fails();
    if (!dirs_.contains(parent_path(path))) return {StatusCode::not_found, "write " + path};
    std::shared_ptr<Inode>& inode = names_[path];
    if (!inode) inode = std::make_shared<Inode>();
    inode->content = failed ? bytes.substr(0, bytes.size() / 2) : bytes;  // a failed write leaves what fitted
    return failed ? error("write", path) : Status();
  }
  Status append(const std::string& path, std::string_view bytes) override {
    const auto it = names_.find(path);
    return write(path, (it == names_.end() ? "" : it->second->content) + std::string(bytes));
  }
  Status write_private(const std::string& path, std::string_view bytes) override {
    if (names_.contains(path)) return {StatusCode::exists, "write " + path};
    return write(path, bytes);
  }
  Status sync_file(const std::string& path) override {
    if (fails()) return error("fsync", path);
    const auto it = names_.find(path);
    if (it == names_.end()) return {StatusCode::not_found, "fsync " + path};
    it->second->durable = it->second->content;
    return {};
  }
  Status sync_dir(const std::string& path) override {
    if (fails()) return error("fsync", path);
    if (!dirs_.contains(path)) return {StatusCode::not_found, "fsync " + path};
    std::erase_if(durable_names_, [&](const auto& entry) { return parent_path(entry.first) == path; });
    for (const auto& [name, inode] : names_) {
      if (parent_path(name) == path) durable_names_[name] = inode;
    }
    return {};
  }
  Status rename(const std::string& from, const std::string& to) override {
    if (fails()) return error("rename", from);
    const auto it = names_.find(from);
    if (it == names_.end()) return {StatusCode::not_found, "rename " + from};
    names_[to] = it->second;
    names_.erase(from);
    return {};
  }
  Status remove(const std::string& path) override {
    if (fails()) return error("unlink", path);
    return names_.erase(path) == 1 ? Status() : Status(StatusCode::not_found, "unlink " + path);
  }
  Status remove_all(const std::string& path) override {
    if (fails()) return error("remove", path);
    std::erase_if(names_,
                  [&](const auto& entry) { return entry.first == path || entry.first.starts_with(path + "/"); });
    std::erase_if(dirs_, [&](const auto& dir) { return dir == path || dir.starts_with(path + "/"); });
    return {};
  }
  Status make_dirs(const std::string& path) override {
    if (exists(path)) return {};
    if (fails()) return error("mkdir", path);
    for (std::string dir = path; !dir.empty(); dir = parent_path(dir)) dirs_.insert(dir);
    return {};
  }
  bool exists(const std::string& path) override { return names_.contains(path) || dirs_.contains(path); }
  bool is_dir(const std::string& path) override { return dirs_.contains(path); }
  Result<std::vector<std::string>> list(const std::string& path) override {
    if (fails()) return error("opendir", path);
    if (!dirs_.contains(path)) return Status(StatusCode::not_found, "opendir " + path);
    std::set<std::string> out;
    for (const auto& entry : names_) {
      if (parent_path(entry.first) == path) out.insert(entry.first.substr(path.size() + 1));
    }
    for (const std::string& dir : dirs_) {
      if (parent_path(dir) == path) out.insert(dir.substr(path.size() + 1));
    }
    return std::vector<std::string>(out.begin(), out.end());
  }
  Result<std::shared_ptr<void>> lock(const std::string& path) override {
    std::weak_ptr<int>& held = locks_[path];
    if (!held.expired()) return Status(StatusCode::locked, path + " is held");
    names_.try_emplace(path, std::make_shared<Inode>());
    auto handle = std::make_shared<int>(0);
    held = handle;
    return std::shared_ptr<void>(handle);
  }

  // The same files, no locks, no faults: another process after this one has died.
  FaultFs after_exit() const {
    FaultFs out;
    out.dirs_ = dirs_;
    std::map<const Inode*, std::shared_ptr<Inode>> copies;
    const auto copy = [&](const auto& from, auto& to) {
      for (const auto& [name, inode] : from) {
        std::shared_ptr<Inode>& twin = copies[inode.get()];
        if (!twin) twin = std::make_shared<Inode>(*inode);
        to[name] = twin;
      }
    };
    copy(names_, out.names_);
    copy(durable_names_, out.durable_names_);
    return out;
  }

  FaultFs after_crash(Random& random) const {
    FaultFs out = after_exit();
    std::map<std::string, std::shared_ptr<Inode>> survived;
    std::set<std::string> all;
    for (const auto& entry : out.names_) all.insert(entry.first);
    for (const auto& entry : out.durable_names_) all.insert(entry.first);
    for (const std::string& name : all) {
      const auto now = out.names_.find(name);
      const auto before = out.durable_names_.find(name);
      const bool take_now = random.below(2) == 0;
      const auto pick = take_now ? now : before;
      if (pick != (take_now ? out.names_.end() : out.durable_names_.end())) survived[name] = pick->second;
    }
    for (const auto& [name, inode] : survived) {
      if (inode->content == inode->durable) continue;
      switch (random.below(4)) {
        case 0:
          inode->content = inode->durable;
          break;
        case 1:
          inode->content.resize(random.below(inode->content.size() + 1));
          break;
        case 2:
          inode->content.replace(random.below(inode->content.size() + 1), std::string::npos, "\0\0\0", 3);
          break;
        default:
          break;
      }
      inode->durable = inode->content;
    }
    out.names_ = survived;
    out.durable_names_ = survived;
    return out;
  }

 private:
  struct Inode {
    std::string content;
    std::string durable;  // as of the last sync_file
  };
  bool fails() {
    const uint64_t now = operations++;
    const bool fail = now == fail_at || (persistent && now > fail_at);
    faulted = faulted || fail;
    return fail;
  }
  Status error(const char* call, const std::string& path) const {
    return {code, std::string(call) + " " + path + ": injected"};
  }

  std::set<std::string> dirs_{""};
  std::map<std::string, std::shared_ptr<Inode>> names_;
  std::map<std::string, std::shared_ptr<Inode>> durable_names_;
  std::map<std::string, std::weak_ptr<int>> locks_;
};

}  // namespace govtrain
