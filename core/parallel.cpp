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

// One parallel_for. Whoever comes when all items are taken leaves again without a look at the body, which may be gone.
struct Job {
  Job(int64_t items, const Body& of_item) : n(items), body(&of_item) {}
  const int64_t n;
  const Body* const body;
  std::atomic<int64_t> next{0}, done{0};
  std::mutex mutex;
  std::exception_ptr error;

  void drain(int worker) {
    inside_team = true;
    int64_t mine = 0;
    for (int64_t i = next.fetch_add(1); i < n; i = next.fetch_add(1), ++mine) {
      try {
        (*body)(i, worker);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    }
    inside_team = false;
    if (mine > 0) done.fetch_add(mine, std::memory_order_acq_rel);
  }
};

// The caller is worker 0; helpers spin briefly for the next job before they sleep, as kernels follow each other
// closely. The caller waits for items, not for helpers: one that the machine lets wait holds nobody up.
class Team {
 public:
  explicit Team(int threads) {
    for (int w = 1; w < threads; ++w) workers_.emplace_back([this, w] { work(w); });
  }
  ~Team() {
    stop_.store(true);
    hand_out(nullptr);
    for (auto& t : workers_) t.join();
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void run(int64_t n, const Body& body) {
    const auto job = std::make_shared<Job>(n, body);
    hand_out(job);
    job->drain(0);
    while (job->done.load(std::memory_order_acquire) != n) std::this_thread::yield();
    if (job->error) std::rethrow_exception(job->error);
  }

 private:
  void hand_out(std::shared_ptr<Job> job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = std::move(job);
      generation_.fetch_add(1);
    }
    wake_.notify_all();
  }

  void work(int worker) {
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < 2000 && generation_.load(std::memory_order_acquire) == seen; ++spin) {
        pause_briefly();
      }
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        seen = generation_.load();
        job = job_;
      }
      if (stop_.load()) return;
      job->drain(worker);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> stop_{false};
  std::shared_ptr<Job> job_;
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
