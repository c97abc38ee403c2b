#include "kernels/simt/stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "kernels/simt/memory.h"
#include "kernels/simt/runtime.h"

namespace govtrain::simt {
namespace {

constexpr unsigned char kHostPoison = 0xCB;

struct Operation {
  uint32_t stream;
  uint32_t count;
  std::string name;
};

struct State {
  Stream legacy;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Operation> operations{{0, 0, "nothing"}};
  Clock host;
  Clock current;  // of the running operation
  uint32_t next_stream = 1;
  int64_t waits = 0;
};

State& state() {
  static State s;
  return s;
}

bool covers(const Clock& clock, uint32_t stream, uint32_t count) {
  return stream < clock.size() ? clock[stream] >= count : count == 0;
}

// What the host may now see, and what it may change again.
void deliver(Stream& s) {
  auto& all = s.transfers;
  const auto due = std::partition(all.begin(), all.end(),
                                  [&](const Transfer& t) { return !covers(state().host, s.number, t.count); });
  const std::vector<Transfer> finished(due, all.end());
  all.erase(due, all.end());
  for (const Transfer& t : finished) {
    if (t.to_host) {
      const auto* p = static_cast<const unsigned char*>(t.host);
      if (!std::all_of(p, p + t.bytes.size(), [](unsigned char c) { return c == kHostPoison; })) {
        throw Fault(FaultKind::host_memory, {"cudaMemcpyAsync", {}, {}, false},
                    fmt::format("the host wrote to the destination of a copy of {} bytes before waiting for it",
                                t.bytes.size()));
      }
      std::memcpy(t.host, t.bytes.data(), t.bytes.size());
    } else if (std::memcmp(t.host, t.bytes.data(), t.bytes.size()) != 0) {
      throw Fault(
          FaultKind::host_memory, {"cudaMemcpyAsync", {}, {}, false},
          fmt::format("the source of a copy of {} bytes changed before the host waited for it", t.bytes.size()));
    }
  }
}

void run(Stream& s, const std::string& name, const std::function<void()>& work) {
  State& all = state();
  join(s.clock, all.host);
  if (&s == &all.legacy) {
    for (auto& other : all.streams) {
      if (other->blocking) join(s.clock, other->clock);
    }
  } else if (s.blocking) {
    join(s.clock, all.legacy.clock);
  }
  if (s.clock.size() <= s.number) s.clock.resize(s.number + 1);
  ++s.clock[s.number];
  all.operations.push_back({s.number, s.clock[s.number], name});
  all.current = s.clock;
  work();
}

}  // namespace

void join(Clock& to, const Clock& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

Stream& stream_of(Stream* s) {
  if (s == nullptr) return state().legacy;
  for (auto& known : state().streams) {
    if (known.get() == s) return *s;
  }
  throw Fault(FaultKind::api, {}, "a stream that was destroyed or never created");
}

void enqueue(Stream* stream, std::string name, std::function<void()> work) {
  Stream& s = stream_of(stream);
  if (s.capture != nullptr) {
    s.capture->nodes.push_back({std::move(name), std::move(work)});
    return;
  }
  run(s, name, work);
}

void add_transfer(Stream* stream, void* host, std::vector<unsigned char> bytes, bool to_host) {
  Stream& s = stream_of(stream);
  if (to_host) std::memset(host, kHostPoison, bytes.size());
  s.transfers.push_back({host, std::move(bytes), to_host, s.clock[s.number]});
}

void host_waits(const Clock& clock) {
  State& all = state();
  if (!host_knows(clock)) ++all.waits;
  if (!settings().observe) check_redzones("the launches before a wait");
  join(all.host, clock);
  deliver(all.legacy);
  for (auto& s : all.streams) deliver(*s);
}

int64_t take_waits() { return std::exchange(state().waits, 0); }

bool host_knows(const Clock& clock) {
  const Clock& host = state().host;
  for (uint32_t i = 0; i < clock.size(); ++i) {
    if (!covers(host, i, clock[i])) return false;
  }
  return true;
}

Clock everything() {
  Clock all = state().legacy.clock;
  for (auto& s : state().streams) join(all, s->clock);
  return all;
}

void create_stream(Stream** out, bool blocking) {
  auto s = std::make_unique<Stream>();
  s->number = state().next_stream++;
  s->blocking = blocking;
  *out = s.get();
  state().streams.push_back(std::move(s));
}

bool destroy_stream(Stream* s) {
  auto& all = state().streams;
  const auto it = std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.get() == s; });
  if (it == all.end()) return false;
  host_waits((*it)->clock);
  all.erase(it);
  return true;
}

uint32_t current_operation() { return static_cast<uint32_t>(state().operations.size() - 1); }

bool happens_before(uint32_t earlier) {
  const Operation& e = state().operations[earlier];
  return covers(state().current, e.stream, e.count);
}

std::string describe_operation(uint32_t operation) {
  const Operation& o = state().operations[operation];
  return fmt::format("{} in stream {}", o.name, o.stream);
}

}  // namespace govtrain::simt
