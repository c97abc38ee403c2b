#include "core/parallel.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"

namespace govtrain {
namespace {

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

using Body = std::function<void(int64_t, int)>;

thread_local bool inside_team = false;

// Tells the core that this thread only waits.
void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The caller is worker 0; helpers spin briefly for the next job before they sleep, as kernels follow each other
// closely.
class Team {
 public:
  explicit Team(int threads) {
    for (int w = 1; w < threads; ++w) workers_.emplace_back([this, w] { work(w); });
  }
  ~Team() {
    stop_.store(true);
    {
      const std::lock_guard lock(mutex_);
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& t : workers_) t.join();
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void run(int64_t n, const Body& body) {
    body_ = &body;
    n_ = n;
    error_ = nullptr;
    next_.store(0);
    busy_.store(static_cast<int>(workers_.size()));
    {
      const std::lock_guard lock(mutex_);
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    drain(0);
    while (busy_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void work(int worker) {
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < 2000 && generation_.load(std::memory_order_acquire) == seen; ++spin) {
        pause_briefly();
      }
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stop_.load()) return;
      drain(worker);
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  void drain(int worker) {
    inside_team = true;
    for (int64_t i = next_.fetch_add(1); i < n_; i = next_.fetch_add(1)) {
      try {
        (*body_)(i, worker);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
    inside_team = false;
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> stop_{false};
  const Body* body_ = nullptr;
  int64_t n_ = 0;
  std::exception_ptr error_;
};

std::mutex team_mutex;
std::unique_ptr<Team> team;
int wanted = 0;

}  // namespace

int thread_count() {
  if (wanted == 0) wanted = available_cpus();
  return wanted;
}

void set_thread_count(int threads) {
  if (threads < 1 || threads > 1024) throw Error("threads", "expected 1 to 1024 threads, got {}", threads);
  const std::lock_guard lock(team_mutex);
  team.reset();
  wanted = threads;
}

void parallel_for_worker(int64_t n, const Body& body) {
  if (n <= 0) return;
  if (n == 1 || inside_team || thread_count() == 1) {
    for (int64_t i = 0; i < n; ++i) body(i, 0);
    return;
  }
  const std::lock_guard lock(team_mutex);
  if (!team) team = std::make_unique<Team>(thread_count());
  team->run(n, body);
}

void parallel_for(int64_t n, const std::function<void(int64_t)>& body) {
  parallel_for_worker(n, [&](int64_t i, int) { body(i); });
}

}  // namespace govtrain
