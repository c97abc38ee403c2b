#include "kernels/simt/memory.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "kernels/simt/block.h"
#include "kernels/simt/runtime.h"
#include "kernels/simt/traffic.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace govtrain::simt {
namespace {

constexpr unsigned char kPoison = 0xFF;  // NaN as float32 and as bfloat16
constexpr unsigned char kCanary = 0xFB;

struct Region;
// Device regions that may have a record, or are not yet trusted: those that trust_all_device() has to visit.
std::vector<Region*>& doubtful() {
  static std::vector<Region*> all;
  return all;
}

struct Region {
  unsigned char* begin = nullptr;
  size_t bytes = 0;
  bool device = false;
  bool trusted = false;            // what has no record is taken for written
  const void* function = nullptr;  // of shared memory: the kernel that used it first
  std::vector<Cell> cells;

  bool holds(const void* p) const { return p >= begin && p < begin + bytes; }
  Cell* cell(const void* p) {
    if (cells.empty()) {
      Cell fresh;
      if (trusted) fresh.write.operation = kTrusted;
      if (device) doubtful().push_back(this);
      cells.assign((bytes + kGranule - 1) / kGranule, fresh);
    }
    return &cells[static_cast<size_t>(static_cast<const unsigned char*>(p) - begin) / kGranule];
  }
};

std::map<uintptr_t, std::unique_ptr<Region>>& allocations() {
  static std::map<uintptr_t, std::unique_ptr<Region>> all;
  return all;
}

// The shared memory of the block that runs on this host thread.
struct SharedMemory {
  Region dynamic;
  std::vector<std::unique_ptr<Region>> fixed;
  const void* function = nullptr;  // that runs
};

SharedMemory& shared() {
  static thread_local SharedMemory s;
  return s;
}

uintptr_t number(const void* p) { return reinterpret_cast<uintptr_t>(p); }

Region* find_device(const void* p) {
  auto& all = allocations();
  auto it = all.upper_bound(number(p));
  if (it == all.begin()) return nullptr;
  Region* r = std::prev(it)->second.get();
  return r->holds(p) ? r : nullptr;
}

Region* find(const void* p) {
  SharedMemory& s = shared();
  if (s.dynamic.holds(p)) return &s.dynamic;
  for (auto& r : s.fixed) {
    if (r->holds(p)) return r.get();
  }
  return find_device(p);
}

// Named after the nearer of the neighbours.
std::string surroundings(const void* p) {
  constexpr uintptr_t kNear = 4096;
  auto& all = allocations();
  const auto next = all.upper_bound(number(p));
  const uintptr_t ahead = next == all.end() ? kNear : next->first - number(p);
  if (next != all.begin()) {
    const Region& r = *std::prev(next)->second;
    const uintptr_t past = number(p) - number(r.begin + r.bytes);
    if (past < kNear && past < ahead) {
      return fmt::format("{} bytes past the end of device memory of {} bytes", past, r.bytes);
    }
  }
  if (ahead < kNear) return fmt::format("{} bytes before device memory of {} bytes", ahead, next->second->bytes);
  const SharedMemory& s = shared();
  if (s.dynamic.begin != nullptr) {
    const uintptr_t past = number(p) - number(s.dynamic.begin);
    if (past < 1u << 20) return fmt::format("offset {} of {} bytes of dynamic shared memory", past, s.dynamic.bytes);
  }
  return "neither device nor shared memory";
}

const char* verb(Access a) { return a == Access::read ? "reads" : "writes"; }

// Whether what happened at `a` comes before what the running thread does at `b`, both in one launch.
bool ordered(const Stamp& a, const Stamp& b) {
  if (a.block != b.block) return false;
  if (a.interval < b.interval || a.thread == b.thread) return true;
  return a.thread / 32 == b.thread / 32 && a.warp_interval < b.warp_interval;
}

[[noreturn]] void race(const char* what, const Stamp& a, bool device) {
  fail(FaultKind::race,
       fmt::format("{} {} memory that thread number {} of block number {} {} and nothing orders the two",
                   what[0] == 'w' ? "writes" : "reads", device ? "device" : "shared", a.thread, a.block,
                   what[1] == 'w' ? "writes" : "reads"));
}

void check_order(const Stamp& a, const Stamp& now, bool device, const char* what) {
  if (a.operation == 0 || a.operation == kTrusted) return;
  if (a.operation != now.operation) {
    if (!device || happens_before(a.operation)) return;
    fail(FaultKind::unsynchronised,
         fmt::format("device memory is used by {} and by {}; no event, stream or host wait orders them",
                     describe_operation(a.operation), describe_operation(now.operation)));
  }
  if (!device && a.block != now.block) return;  // another block's shared memory at the same place
  if (!ordered(a, now)) race(what, a, device);
}

void note_reader(Cell& c, const Stamp& now) {
  const Stamp& last = c.read[0];
  const bool same_warp =
      last.operation == now.operation && last.block == now.block && last.thread / 32 == now.thread / 32;
  if (same_warp && last.interval == now.interval && last.warp_interval == now.warp_interval) {
    if (last.thread != now.thread) c.several[0] = true;
    return;
  }
  if (!same_warp) {
    c.read[1] = c.read[0];
    c.several[1] = c.several[0];
  }
  c.read[0] = now;
  c.several[0] = false;
}

void check_cell(Cell& c, const Stamp& now, bool device, Access access) {
  if (c.in_flight) {
    fail(FaultKind::async_copy, fmt::format("{} shared memory that a cp.async is still writing", verb(access)));
  }
  if (access == Access::read) {
    const bool mine = c.write.operation == now.operation && c.write.block == now.block;
    if (device ? c.write.operation == 0 : !mine) {
      fail(FaultKind::unwritten, device ? "reads device memory that nobody has written"
                                        : "reads shared memory that no thread of the block has written");
    }
    check_order(c.write, now, device, "rw");
    note_reader(c, now);
    return;
  }
  if (access != Access::atomic || !c.atomic || c.write.operation != now.operation)
    check_order(c.write, now, device, "ww");
  for (int i = 0; i < 2; ++i) {
    Stamp reader = c.read[i];
    if (c.several[i] && reader.thread == now.thread)
      reader.thread = reader.thread % 32 == 0 ? reader.thread + 1 : reader.thread - 1;
    check_order(reader, now, device, "wr");
  }
  c.write = now;
  c.read[0] = c.read[1] = {};
  c.several[0] = c.several[1] = false;
  c.atomic = access == Access::atomic;
}

Region* region_of(const void* p, size_t bytes) {
  Region* r = find(p);
  if (r == nullptr) fail(FaultKind::out_of_bounds, fmt::format("{} bytes at {}", bytes, surroundings(p)));
  const size_t left = static_cast<size_t>(r->begin + r->bytes - static_cast<const unsigned char*>(p));
  if (bytes > left) {
    fail(FaultKind::out_of_bounds, fmt::format("{} bytes, of which {} past the end of {} memory of {} bytes", bytes,
                                               bytes - left, r->device ? "device" : "shared", r->bytes));
  }
  return r;
}

void poison(Region& r) { std::memset(r.begin, kPoison, r.bytes); }

void paint(const Region& r) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(r.begin - kRedzone, kRedzone);
  __asan_poison_memory_region(r.begin + r.bytes, kRedzone);
#else
  std::memset(r.begin - kRedzone, kCanary, kRedzone);
  std::memset(r.begin + r.bytes, kCanary, kRedzone);
#endif
}

void check_redzones(const Region& r, const char* after) {
#if defined(__SANITIZE_ADDRESS__)
  (void)r, (void)after;
#else
  static const std::string whole(kRedzone, static_cast<char>(kCanary));
  if (std::memcmp(r.begin - kRedzone, whole.data(), kRedzone) == 0 &&
      std::memcmp(r.begin + r.bytes, whole.data(), kRedzone) == 0)
    return;
  for (size_t i = 0; i < kRedzone; ++i) {
    const bool before = r.begin[-1 - static_cast<std::ptrdiff_t>(i)] != kCanary;
    if (!before && r.begin[r.bytes + i] == kCanary) continue;
    const std::string where =
        before ? fmt::format("{} bytes before", i + 1) : fmt::format("{} bytes past the end of", i);
    paint(r);
    throw Fault(
        FaultKind::out_of_bounds, {after, {}, {}, false},
        fmt::format("a write that was not observed changed the redzone {} device memory of {} bytes", where, r.bytes));
  }
#endif
}

}  // namespace

void check_access(const void* p, size_t bytes, size_t aligned, Access access) {
  if (number(p) % aligned != 0) {
    fail(FaultKind::misaligned,
         fmt::format("{} {} bytes at an address that is no multiple of {}", verb(access), bytes, aligned));
  }
  Region* r = region_of(p, bytes);
  const Stamp now = stamp_now();
  Cell* first = r->cell(p);
  Cell* last = r->cell(static_cast<const unsigned char*>(p) + bytes - 1);
  for (Cell* c = first; c <= last; ++c) check_cell(*c, now, r->device, access);
}

void observe(const void* p, size_t bytes, size_t aligned, Access access, bool matrix) {
  check_access(p, bytes, aligned, access);
  note_traffic(__builtin_return_address(0), p, bytes, find(p)->device ? Space::global : Space::shared, access, matrix);
}

bool find_shared(const void* p) {
  const Region* r = find(p);
  return r != nullptr && !r->device;
}

void set_in_flight(void* p, size_t bytes, bool in_flight) {
  Region* r = region_of(p, bytes);
  Cell* last = r->cell(static_cast<unsigned char*>(p) + bytes - 1);
  for (Cell* c = r->cell(p); c <= last; ++c) c->in_flight = in_flight;
}

void know_shared(void* p, size_t bytes) {
  auto r = std::make_unique<Region>();
  r->begin = static_cast<unsigned char*>(p);
  r->bytes = bytes;
  r->function = shared().function;
  poison(*r);
  shared().fixed.push_back(std::move(r));
}

void begin_block(unsigned char* p, size_t bytes, const void* function) {
  SharedMemory& s = shared();
  s.function = function;
  if (s.dynamic.bytes < bytes) s.dynamic.cells.clear();
  if (s.dynamic.cells.size() * kGranule > bytes) s.dynamic.cells.resize((bytes + kGranule - 1) / kGranule);
  s.dynamic.begin = p;
  s.dynamic.bytes = bytes;
  poison(s.dynamic);
  for (auto& r : s.fixed) {
    if (observing || r->function == function) poison(*r);
  }
}

void* allocate_device(size_t bytes) {
  auto r = std::make_unique<Region>();
  r->bytes = bytes;
  r->device = true;
  const size_t total = (bytes + 3 * kRedzone - 1) / kRedzone * kRedzone;
  auto* raw = static_cast<unsigned char*>(std::aligned_alloc(kRedzone, total + kRedzone));
  if (raw == nullptr) return nullptr;
  r->begin = raw + kRedzone;
  poison(*r);
  paint(*r);
  doubtful().push_back(r.get());
  void* p = r->begin;
  allocations()[number(p)] = std::move(r);
  return p;
}

bool release_device(void* p) {
  const auto it = allocations().find(number(p));
  if (it == allocations().end()) return false;
  const std::unique_ptr<Region> r = std::move(it->second);
  allocations().erase(it);
  std::erase(doubtful(), r.get());
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(r->begin - kRedzone, r->bytes + 2 * kRedzone);
#endif
  const std::unique_ptr<unsigned char, decltype(&std::free)> raw(r->begin - kRedzone, &std::free);
  check_redzones(*r, "cudaFree");
  return true;
}

bool is_device(const void* p, size_t bytes) {
  const Region* r = find_device(p);
  return r != nullptr && bytes <= static_cast<size_t>(r->begin + r->bytes - static_cast<const unsigned char*>(p));
}

void check_redzones(const char* after) {
  for (const auto& [address, r] : allocations()) check_redzones(*r, after);
}

void touch_device(const void* p, size_t bytes, Access access, uint32_t operation) {
  if (bytes == 0) return;
  Region* r = region_of(p, bytes);
  Cell* last = r->cell(static_cast<const unsigned char*>(p) + bytes - 1);
  const Stamp now{operation, 0, 0, 0, 0};
  for (Cell* c = r->cell(p); c <= last; ++c) check_cell(*c, now, true, access);
}

void forget_device(void* p, size_t bytes) {
  if (bytes == 0) return;
  Region* r = region_of(p, bytes);
  std::memset(p, kPoison, bytes);
  if (!settings().observe) return;
  Cell* last = r->cell(static_cast<unsigned char*>(p) + bytes - 1);
  for (Cell* c = r->cell(p); c <= last; ++c) *c = {};
}

void trust_all_device() {
  for (Region* r : doubtful()) {
    r->trusted = true;
    r->cells.clear();
  }
  doubtful().clear();
}

size_t device_bytes() {
  size_t sum = 0;
  for (const auto& [address, r] : allocations()) sum += r->bytes;
  return sum;
}

}  // namespace govtrain::simt
