#include "kernels/simt/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <exception>
#include <memory>
#include <vector>

#include "kernels/simt/fault.h"
#include "kernels/simt/fibre.h"
#include "kernels/simt/memory.h"
#include "kernels/simt/traffic.h"

namespace govtrain::simt {
namespace {

struct Abort {};  // unwinds the other threads after a fault

enum class State : uint8_t { ready, barrier, warp, done };

struct Thread {
  Fibre* fibre = nullptr;  // while it waits in the middle of the kernel
  State state = State::done;
  uint3 index{};
  Where where{"", 0};
  Barrier kind = Barrier::plain;
  int predicate = 0;
};

// Lanes that have come to one warp operation.
struct Meeting {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  const char* operation = "";
  Where where{"", 0};
  void* slots[32] = {};
};

bool same_text(const char* a, const char* b) { return a == b || std::string_view(a) == b; }

std::string show(uint3 i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }
std::string show(Where w) { return fmt::format("{}:{}", w.file, w.line); }

// The scheduler of one host thread.
class Scheduler {
 public:
  void run(const Grid& grid, uint3 index, void (*body)(void*), void* argument, Counts& counts);

  int thread() const { return now_; }
  Counts& counts() { return *counts_; }
  const Grid& grid() const { return *grid_; }
  uint3 block() const { return block_; }
  uint3 index() const { return threads_[static_cast<size_t>(now_)].index; }
  Stamp stamp() const {
    const unsigned linear = block_.x + grid_->grid.x * (block_.y + grid_->grid.y * block_.z);
    return {grid_->operation, linear, interval_, warp_interval_[now_ / 32], static_cast<uint16_t>(now_)};
  }
  unsigned char* dynamic() { return dynamic_.get(); }

  int barrier(Barrier kind, int predicate, Where where);
  void meet(uint32_t mask, const char* operation, Where where, void* mine, void (*combine)(void* const*, uint32_t));
  void warp_passed() { ++warp_interval_[now_ / 32]; }

 private:
  static constexpr int kMaxThreads = 1024;
  static constexpr size_t kMaxShared = 228 * 1024;

  void prepare(const Grid& grid, uint3 index);
  void become(int t);
  void one_thread();
  void some_threads();
  Fibre* idle_fibre();
  bool fresh(int t) const {
    const Thread& thread = threads_[static_cast<size_t>(t)];
    return thread.state == State::ready && thread.fibre == nullptr;
  }
  void wait(State state, Where where);
  void turn(int t);
  bool round();
  void release_barrier();
  void stuck();
  void unwind();
  std::string doing(int t) const;
  Place place(int t) const { return {grid_->kernel, block_, threads_[static_cast<size_t>(t)].index, true}; }
  uint32_t random() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32);
  }

  std::vector<Thread> threads_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  std::vector<Fibre*> idle_;
  Fibre* running_ = nullptr;
  std::vector<int> order_;
  size_t position_ = 0;  // in order_, of the thread that runs
  std::vector<Meeting> meetings_[kMaxThreads / 32];
  uint16_t warp_interval_[kMaxThreads / 32] = {};
  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  std::unique_ptr<unsigned char, Free> dynamic_;
  const Grid* grid_ = nullptr;
  Counts* counts_ = nullptr;
  uint3 block_{};
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  int size_ = 0;
  int now_ = -1;
  int at_barrier_ = 0;
  int alive_ = 0;
  int result_ = 0;
  uint32_t interval_ = 0;
  uint64_t state_ = 1;
  bool aborting_ = false;
  std::exception_ptr error_;
};

Scheduler& scheduler() {
  static thread_local Scheduler s;
  return s;
}

void Scheduler::prepare(const Grid& grid, uint3 index) {
  grid_ = &grid;
  block_ = index;
  size_ = static_cast<int>(grid.block.x * grid.block.y * grid.block.z);
  if (static_cast<int>(threads_.size()) < size_) threads_.resize(static_cast<size_t>(size_));
  order_.resize(static_cast<size_t>(size_));
  uint3 next{};
  for (int t = 0; t < size_; ++t) {
    Thread& thread = threads_[static_cast<size_t>(t)];
    thread.index = next;
    thread.state = State::ready;
    thread.where = {"", 0};
    order_[static_cast<size_t>(t)] = t;
    if (++next.x < grid.block.x) continue;
    next.x = 0;
    if (++next.y < grid.block.y) continue;
    next.y = 0;
    ++next.z;
  }
  for (auto& m : meetings_) m.clear();
  std::fill(std::begin(warp_interval_), std::end(warp_interval_), uint16_t{0});
  interval_ = 0;
  at_barrier_ = 0;
  alive_ = size_;
  aborting_ = false;
  error_ = nullptr;
  const uint64_t number = index.x + uint64_t{grid.grid.x} * (index.y + uint64_t{grid.grid.y} * index.z);
  state_ = (grid.seed + 1) * 0x9E3779B97F4A7C15u ^ (number + 1) * 0xD1B54A32D192ED03u;
  if (state_ == 0) state_ = 1;
  if (!dynamic_) dynamic_.reset(static_cast<unsigned char*>(std::aligned_alloc(128, kMaxShared)));
  begin_block(dynamic_.get(), grid.dynamic_shared, grid.function);
}

void Scheduler::become(int t) {
  now_ = t;
  threadIdx = threads_[static_cast<size_t>(t)].index;
}

Fibre* Scheduler::idle_fibre() {
  if (idle_.empty()) {
    fibres_.push_back(std::make_unique<Fibre>([](void* s) { static_cast<Scheduler*>(s)->some_threads(); }, this,
                                              static_cast<int>(fibres_.size())));
    return fibres_.back().get();
  }
  Fibre* fibre = idle_.back();
  idle_.pop_back();
  return fibre;
}

// What a fibre does: a thread, and when it ends without having waited, the next of the round that has not begun. Only
// threads that wait need fibres of their own.
void Scheduler::some_threads() {
  for (;;) {
    one_thread();
    if (aborting_ || position_ + 1 >= order_.size() || !fresh(order_[position_ + 1])) break;
    become(order_[++position_]);
  }
  idle_.push_back(running_);
}

void Scheduler::one_thread() {
  const int me = now_;
  try {
    body_(argument_);
    if (observing) check_all_waited();
  } catch (const Abort&) {
  } catch (const std::exception&) {
    if (!error_) error_ = std::current_exception();
    aborting_ = true;
  }
  threads_[static_cast<size_t>(me)].state = State::done;
  threads_[static_cast<size_t>(me)].fibre = nullptr;
  --alive_;
}

void Scheduler::turn(int t) {
  const Thread& thread = threads_[static_cast<size_t>(t)];
  become(t);
  running_ = thread.fibre != nullptr ? thread.fibre : idle_fibre();
  running_->enter();
  now_ = -1;
}

void Scheduler::wait(State state, Where where) {
  Thread& thread = threads_[static_cast<size_t>(now_)];
  thread.state = state;
  thread.where = where;
  thread.fibre = running_;
  thread.fibre->leave();
  if (aborting_) throw Abort{};
}

// One turn of everybody who is ready, in a new order. False when nobody was.
bool Scheduler::round() {
  for (size_t i = order_.size() - 1; i > 0; --i) {
    std::swap(order_[i], order_[static_cast<size_t>((uint64_t{random()} * (i + 1)) >> 32)]);
  }
  bool moved = false;
  for (position_ = 0; position_ < order_.size(); ++position_) {
    const int t = order_[position_];
    if (threads_[static_cast<size_t>(t)].state != State::ready) continue;
    moved = true;
    turn(t);
    if (aborting_) return true;
  }
  return moved;
}

void Scheduler::run(const Grid& grid, uint3 index, void (*body)(void*), void* argument, Counts& counts) {
  body_ = body;
  argument_ = argument;
  counts_ = &counts;
  observing = grid.observed;
  blockIdx = index;
  blockDim = grid.block;
  gridDim = grid.grid;
  prepare(grid, index);
  while (alive_ > 0 && !aborting_) {
    if (round()) continue;
    if (at_barrier_ == size_) {
      release_barrier();
    } else {
      stuck();
    }
  }
  if (aborting_) unwind();
  if (observing && !error_) flush_traffic(size_, counts);
  drop_thread_state(size_);
  observing = false;
  grid_ = nullptr;
  if (error_) std::rethrow_exception(error_);
}

void Scheduler::unwind() {
  for (int t = 0; t < size_; ++t) {
    if (threads_[static_cast<size_t>(t)].fibre != nullptr) turn(t);
  }
}

int Scheduler::barrier(Barrier kind, int predicate, Where where) {
  Thread& thread = threads_[static_cast<size_t>(now_)];
  thread.kind = kind;
  thread.predicate = predicate;
  ++at_barrier_;
  wait(State::barrier, where);
  return result_;
}

void Scheduler::release_barrier() {
  const Thread& first = threads_[0];
  int sum = 0;
  for (int t = 0; t < size_; ++t) {
    const Thread& thread = threads_[static_cast<size_t>(t)];
    sum += thread.predicate;
    if (thread.where.line == first.where.line && thread.kind == first.kind &&
        same_text(thread.where.file, first.where.file)) {
      continue;
    }
    aborting_ = true;
    error_ = std::make_exception_ptr(Fault(FaultKind::divergent_barrier, place(t),
                                           fmt::format("{}, but thread {} {}", doing(t), show(first.index), doing(0))));
    return;
  }
  switch (first.kind) {
    case Barrier::all:
      result_ = sum == size_;
      break;
    case Barrier::any:
      result_ = sum > 0;
      break;
    default:
      result_ = sum;
  }
  if (observing) flush_traffic(size_, *counts_);
  ++counts_->barriers;
  ++interval_;
  at_barrier_ = 0;
  for (int t = 0; t < size_; ++t) threads_[static_cast<size_t>(t)].state = State::ready;
}

std::string Scheduler::doing(int t) const {
  const Thread& thread = threads_[static_cast<size_t>(t)];
  if (thread.state == State::done) return "has returned";
  if (thread.state == State::barrier) return "waits at the barrier " + show(thread.where);
  return "waits in a warp operation at " + show(thread.where);
}

// Nobody can go on.
void Scheduler::stuck() {
  aborting_ = true;
  for (int t = 0; t < size_; ++t) {
    if (threads_[static_cast<size_t>(t)].state != State::warp) continue;
    for (const Meeting& m : meetings_[t / 32]) {
      if (((m.arrived >> (t % 32)) & 1u) == 0) continue;
      const int absent = t / 32 * 32 + std::countr_zero(m.mask & ~m.arrived);
      error_ =
          std::make_exception_ptr(Fault(FaultKind::divergent_warp, place(t),
                                        fmt::format("waits in {} with mask {:#010x} at {} for lane {}, which {}",
                                                    m.operation, m.mask, show(m.where), absent % 32, doing(absent))));
      return;
    }
  }
  int waiting = 0;
  while (threads_[static_cast<size_t>(waiting)].state != State::barrier) ++waiting;
  int other = 0;
  while (threads_[static_cast<size_t>(other)].state == State::barrier) ++other;
  error_ = std::make_exception_ptr(Fault(FaultKind::divergent_barrier, place(waiting),
                                         fmt::format("{}, but thread {} {}", doing(waiting),
                                                     show(threads_[static_cast<size_t>(other)].index), doing(other))));
}

void Scheduler::meet(uint32_t mask, const char* operation, Where where, void* mine,
                     void (*combine)(void* const*, uint32_t)) {
  const int lane = now_ % 32;
  const int lanes = std::min(32, size_ - now_ / 32 * 32);
  const uint32_t existing = lanes == 32 ? 0xFFFFFFFFu : (1u << lanes) - 1u;
  const uint32_t bit = 1u << lane;
  if ((mask & bit) == 0) {
    fail(FaultKind::divergent_warp,
         fmt::format("{} at {}: the mask {:#010x} leaves out the calling lane {}", operation, show(where), mask, lane));
  }
  mask &= existing;
  auto& meetings = meetings_[now_ / 32];
  size_t i = 0;
  while (i < meetings.size() && (meetings[i].mask != mask || (meetings[i].arrived & bit) != 0 ||
                                 !same_text(meetings[i].operation, operation))) {
    ++i;
  }
  if (i == meetings.size()) meetings.push_back({mask, 0, operation, where, {}});
  Meeting& m = meetings[i];
  m.arrived |= bit;
  m.slots[lane] = mine;
  if (m.arrived != mask) return wait(State::warp, where);
  Meeting full = m;
  meetings.erase(meetings.begin() + static_cast<std::ptrdiff_t>(i));
  combine(full.slots, mask);
  const int first = now_ / 32 * 32;
  for (int l = 0; l < lanes; ++l) {
    if (l != lane && ((mask >> l) & 1u) != 0) threads_[static_cast<size_t>(first + l)].state = State::ready;
  }
}

}  // namespace

void run_block(const Grid& grid, uint3 index, void (*body)(void*), void* argument, Counts& counts) {
  scheduler().run(grid, index, body, argument, counts);
}

int thread_number() { return scheduler().thread(); }
bool in_kernel() { return scheduler().thread() >= 0; }
Counts& counts() { return scheduler().counts(); }
Stamp stamp_now() { return scheduler().stamp(); }
unsigned char* dynamic_shared() { return scheduler().dynamic(); }
size_t dynamic_shared_size() { return scheduler().grid().dynamic_shared; }
int block_barrier(Barrier kind, int predicate, Where where) { return scheduler().barrier(kind, predicate, where); }
void warp_operation(uint32_t mask, const char* operation, Where where, void* mine,
                    void (*combine)(void* const* slots, uint32_t mask)) {
  scheduler().meet(mask, operation, where, mine, combine);
}
void warp_barrier(uint32_t mask, Where where) {
  scheduler().meet(mask, "__syncwarp", where, nullptr, [](void* const*, uint32_t all) {
    if (all == 0xFFFFFFFFu) scheduler().warp_passed();
  });
}

void fail(FaultKind kind, const std::string& text) {
  if (!in_kernel()) throw Fault(kind, {}, text);
  Scheduler& s = scheduler();
  throw Fault(kind, {s.grid().kernel, s.block(), s.index(), true}, text);
}

}  // namespace govtrain::simt
