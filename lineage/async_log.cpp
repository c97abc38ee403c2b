#include "lineage/async_log.h"

#include <chrono>
#include <utility>

namespace govtrain {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

AsyncLog::AsyncLog(LogWriter writer, AsyncLogOptions options)
    : options_(options),
      writer_(std::move(writer)),
      size_(writer_.size()),
      durable_(writer_.durable_size()),
      note_(writer_.checkpoint_note()),
      status_(writer_.status()) {
  thread_ = std::thread([this] { work(); });
}

AsyncLog::~AsyncLog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Result<uint64_t> AsyncLog::append(std::string leaf) {
  std::unique_lock lock(mutex_);
  if (queued_bytes_ > options_.queue_bytes) {
    const Clock::time_point start = Clock::now();
    wake_.notify_one();
    done_.wait(lock, [&] { return queued_bytes_ <= options_.queue_bytes || !status_.ok(); });
    blocked_ += seconds_since(start);
  }
  if (!status_.ok()) return status_;
  const bool first = queue_.empty();
  queued_bytes_ += leaf.size();
  queue_.push_back({std::move(leaf), false});
  if (first || queue_.size() == options_.flush_records) wake_.notify_one();
  return size_++;
}

Result<std::string> AsyncLog::put_provenance(std::string bytes) {
  const std::string name = hex(sha256(bytes)).substr(0, 16);
  const std::lock_guard lock(mutex_);
  if (!status_.ok()) return status_;
  queued_bytes_ += bytes.size();
  queue_.push_back({std::move(bytes), true});
  return name;
}

Status AsyncLog::flush() {
  std::unique_lock lock(mutex_);
  if (!status_.ok()) return status_;
  const Clock::time_point start = Clock::now();
  const uint64_t ticket = ++flushes_asked_;
  wake_.notify_one();
  done_.wait(lock, [&] { return flushes_done_ >= ticket || !status_.ok(); });
  blocked_ += seconds_since(start);
  return status_;
}

uint64_t AsyncLog::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}
uint64_t AsyncLog::durable_size() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}
uint64_t AsyncLog::lag() const {
  const std::lock_guard lock(mutex_);
  return size_ - durable_;
}
double AsyncLog::blocked_seconds() const {
  const std::lock_guard lock(mutex_);
  return blocked_;
}
std::string AsyncLog::checkpoint_note() const {
  const std::lock_guard lock(mutex_);
  return note_;
}

Status AsyncLog::write(std::vector<Item>& items) {
  for (const Item& item : items) {
    if (item.provenance) {
      if (Result<std::string> name = writer_.put_provenance(item.bytes); !name.ok()) return name.status();
    } else if (Result<uint64_t> index = writer_.append(item.bytes); !index.ok()) {
      return index.status();
    }
  }
  items.clear();
  return writer_.flush();
}

void AsyncLog::work() {
  std::vector<Item> items;
  std::unique_lock lock(mutex_);
  Clock::time_point oldest = Clock::now();  // when the oldest entry that is not durable was queued
  while (status_.ok()) {
    const auto due =
        oldest + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.flush_seconds));
    const bool urgent = stop_ || flushes_asked_ > flushes_done_;
    const bool waiting = size_ > durable_;
    if (!urgent && !waiting) {
      wake_.wait(lock);
      oldest = Clock::now();
      continue;
    }
    const bool full = size_ - durable_ >= options_.flush_records || queued_bytes_ > options_.queue_bytes;
    if (!urgent && !full && Clock::now() < due) {
      wake_.wait_until(lock, due);
      continue;
    }
    const uint64_t ticket = flushes_asked_;
    const bool last = stop_;
    std::swap(items, queue_);
    queued_bytes_ = 0;
    done_.notify_all();
    lock.unlock();
    const Status result = write(items);
    lock.lock();
    status_ = result;
    durable_ = writer_.durable_size();
    note_ = writer_.checkpoint_note();
    flushes_done_ = ticket;
    oldest = Clock::now();
    done_.notify_all();
    if (last) return;
  }
}

}  // namespace govtrain
