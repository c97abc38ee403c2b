// A program whose first hash is on a worker, and whose workers still hash when the program exits: exit status 0, and
// nothing for a leak checker to report. A program of its own, because the first hash of a process is what counts.
#include <atomic>
#include <exception>
#include <thread>

#include "core/hash.h"
#include "core/parallel.h"

using namespace govtrain;

namespace {

struct HashesAtItsEnd {
  bool used = false;
  ~HashesAtItsEnd() {
    if (used && hex(sha256("abc")).substr(0, 8) != "ba7816bf") std::terminate();
  }
};
thread_local HashesAtItsEnd last;

}  // namespace

int main() {
  constexpr int workers = 4;
  set_thread_count(workers);
  std::atomic<int> present = 0;
  std::atomic<bool> hashed = false;
  parallel_for_worker(workers, [&](int64_t, int worker) {
    ++present;
    while (present < workers) std::this_thread::yield();
    while (worker == 0 && !hashed) std::this_thread::yield();
    sha256("first");
    hashed = true;
    last.used = true;
  });
}
