// A LogWriter behind a bounded queue and one thread, so that a training step does not wait for the disk. Same entries
// in the same order as calling the writer directly. Flushes by itself: when `flush_records` are waiting, or when the
// oldest has waited `flush_seconds`.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lineage/writer.h"

namespace govtrain {

struct AsyncLogOptions {
  size_t queue_bytes = size_t{64} << 20;  // append() waits while more is queued
  uint64_t flush_records = 4096;
  double flush_seconds = 1.0;
};

// All members may be called from any thread; the order of entries is the order of the calls.
class AsyncLog {
 public:
  explicit AsyncLog(LogWriter writer, AsyncLogOptions options = {});
  // Flushes what is queued. An error is lost here: call flush() before.
  ~AsyncLog();
  AsyncLog(const AsyncLog&) = delete;
  AsyncLog& operator=(const AsyncLog&) = delete;

  // Queues an entry; returns the index that it will have. After any failure: the first error.
  Result<uint64_t> append(std::string leaf);
  // As LogWriter::put_provenance; in order with append().
  Result<std::string> put_provenance(std::string bytes);
  // Waits until everything queued before the call is durable and signed. Returns the first error.
  Status flush();

  uint64_t size() const;                // appended
  uint64_t durable_size() const;        // durable and signed
  uint64_t lag() const;                 // appended and not yet durable
  double blocked_seconds() const;       // spent in append() and flush(), waiting
  std::string checkpoint_note() const;  // the last published one

 private:
  struct Item {
    std::string bytes;
    bool provenance;
  };
  void work();
  Status write(std::vector<Item>& items);

  const AsyncLogOptions options_;
  LogWriter writer_;  // the thread's alone, once it runs
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // the thread: something to do
  std::condition_variable done_;  // callers: room, or a flush has ended
  std::vector<Item> queue_;
  size_t queued_bytes_ = 0;
  uint64_t size_ = 0;
  uint64_t durable_ = 0;
  uint64_t flushes_asked_ = 0;
  uint64_t flushes_done_ = 0;
  double blocked_ = 0;
  std::string note_;
  Status status_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace govtrain
