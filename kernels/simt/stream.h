// Who happened before whom on the emulated device: each stream, and the host, has a clock with one count per stream. An
// operation of a stream happens after all that its stream's clock knows. Private to kernels/simt.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/simt/runtime.h"

namespace govtrain::simt {

using Clock = std::vector<uint32_t>;  // by stream number; missing: 0
void join(Clock& to, const Clock& from);

// A transfer between host and device whose end the host has not waited for.
struct Transfer {
  void* host;
  std::vector<unsigned char> bytes;  // to the host: what will arrive; from the host: what stood there
  bool to_host;
  uint32_t count;  // of its stream
};

struct KnownKernel {
  const char* name;
  MakeThread make;
};
// Null when it was never made known.
const KnownKernel* known_kernel(const void* kernel);

struct Node {
  std::string name;
  std::function<void()> work;
};

struct Graph {
  std::vector<Node> nodes;
};

struct Stream {
  uint32_t number = 0;
  bool blocking = true;  // ordered with the legacy default stream
  Clock clock;
  std::vector<Transfer> transfers;
  Graph* capture = nullptr;
};

struct Event {
  Clock clock;
  bool recorded = false;
};

// Runs `work` as the next operation of `s` (null: the legacy default stream), or records it when `s` is being captured.
void enqueue(Stream* s, std::string name, std::function<void()> work);
Stream& stream_of(Stream* s);
// The host has waited for all that `clock` knows.
void host_waits(const Clock& clock);
// The running operation's transfer with the host.
void add_transfer(Stream* s, void* host, std::vector<unsigned char> bytes, bool to_host);
bool host_knows(const Clock& clock);
Clock everything();
void create_stream(Stream** s, bool blocking);
bool destroy_stream(Stream* s);

}  // namespace govtrain::simt
