#include "kernels/simt/async_copy.h"

#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "kernels/simt/block.h"
#include "kernels/simt/memory.h"
#include "kernels/simt/traffic.h"

namespace govtrain::simt {
namespace {

struct Copy {
  void* to;
  const void* from;
  size_t bytes, zero_fill;
  size_t group;
};

struct Copies {
  std::vector<Copy> pending;
  size_t group = 0;  // the one being filled
};

std::vector<Copies>& copies() {
  static thread_local std::vector<Copies> c(1024);
  return c;
}

Copies& mine() { return copies()[static_cast<size_t>(thread_number())]; }

}  // namespace

void copy_async(void* shared, const void* global, size_t bytes, size_t zero_fill) {
  if ((bytes != 4 && bytes != 8 && bytes != 16) || zero_fill > bytes) {
    fail(FaultKind::operand,
         fmt::format("cp.async of {} bytes, {} of them zero; allowed are 4, 8 and 16", bytes, zero_fill));
  }
  if (observing) {
    observe(shared, bytes, bytes, Access::write);
    if (zero_fill < bytes) observe(global, bytes - zero_fill, bytes, Access::read);
    set_in_flight(shared, bytes, true);
  }
  std::memset(shared, 0xFF, bytes);
  mine().pending.push_back({shared, global, bytes, zero_fill, mine().group});
}

void commit_copies() { ++mine().group; }

void wait_copies(size_t left) {
  Copies& c = mine();
  size_t done = 0;
  while (done < c.pending.size() && c.pending[done].group + left < c.group) {
    const Copy& p = c.pending[done++];
    if (observing) {
      set_in_flight(p.to, p.bytes, false);
      check_access(p.to, p.bytes, p.bytes, Access::write);
    }
    std::memcpy(p.to, p.from, p.bytes - p.zero_fill);
    std::memset(static_cast<char*>(p.to) + p.bytes - p.zero_fill, 0, p.zero_fill);
  }
  c.pending.erase(c.pending.begin(), c.pending.begin() + static_cast<std::ptrdiff_t>(done));
}

void check_all_waited() {
  const size_t left = mine().pending.size();
  if (left > 0) fail(FaultKind::async_copy, fmt::format("the thread returns with {} copies in flight", left));
}

void drop_copies(int threads) {
  for (int t = 0; t < threads; ++t) {
    Copies& c = copies()[static_cast<size_t>(t)];
    for (const Copy& p : c.pending) {
      if (find_shared(p.to)) set_in_flight(p.to, p.bytes, false);
    }
    c.pending.clear();
    c.group = 0;
  }
}

}  // namespace govtrain::simt
