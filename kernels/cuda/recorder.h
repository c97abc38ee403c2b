// The launches of a backend on their way to the device. They are gathered, with all their arguments, up to the next
// point where the host waits or hands over; then they are started one after another or, where the same launches were
// made before, as one CUDA graph. Same means to the byte: kernels, grids, arguments, addresses; so a graph never does
// anything but what was asked for. What changes from step to step (offsets, weights, tokens, keys, learning rates)
// therefore travels in the inbox, device memory at a fixed address that is filled by one copy before the launches, and
// the allocator gives equal requests equal addresses. One host thread. Private to kernels/cuda.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/device.h"

namespace govtrain::cuda {

class Staging;

class Recorder final : public LaunchSink {
 public:
  Recorder(cudaStream_t stream, Staging& staging);
  ~Recorder() override;
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // For launches that are to be gathered.
  Stream stream() { return {stream_, this}; }
  // The launch is of the recorder's stream.
  void take(const Launch& launch) override;
  // Within device memory.
  void copy(void* to, const void* from, size_t bytes);
  // What was written there may no longer be read (memory.h).
  void forget(void* p, size_t bytes);

  // A place in the inbox for what later launches read, until leave(); null when it has no room. The bytes are copied.
  void* enter(const void* values, size_t bytes);
  void leave() { --guests_; }

  // Starts all that was gathered. To be called before anything else is given to the stream.
  void flush();
  // Off: nothing is gathered and every launch starts at once.
  void use(bool on);
  // Starts all that was gathered and waits for it; no graph is left. To be called before memory goes back to the
  // device.
  void forget_graphs();
  CudaWork take_counts();

 private:
  struct Operation {
    enum class Kind : uint8_t { launch, copy, forget };
    Kind kind;
    const char* name;
    const void* kernel;
    dim3 grid, block;
    size_t dynamic;
    uint32_t first, count;  // of `sizes`
    size_t begin;           // of the arguments in `bytes`
    bool operator==(const Operation& o) const;
  };
  struct Sequence {
    std::vector<Operation> operations;
    std::vector<uint32_t> sizes;       // of arguments
    std::vector<unsigned char> bytes;  // each argument at a multiple of 16
    size_t work = 0;                   // launches and copies
    bool operator==(const Sequence& o) const = default;
    uint64_t hash() const;
    void clear();
    void add(Operation::Kind kind, const Launch& launch);
  };
  struct Kept {
    uint64_t hash;
    Sequence sequence;
    cudaGraphExec_t graph;
  };

  void gathered();
  void fill_inbox();
  void start(const Sequence& s);
  void issue(const Sequence& s);
  cudaGraphExec_t capture(const Sequence& s);
  void drop_graphs();

  cudaStream_t stream_;
  Staging* staging_;
  bool on_ = true;
  Sequence now_;
  std::list<Kept> kept_;  // the latest used first
  std::unordered_map<uint64_t, std::list<Kept>::iterator> by_hash_;
  std::unordered_map<uint64_t, int> seen_;  // sequences that were started one by one
  unsigned char* inbox_ = nullptr;
  std::vector<unsigned char> mail_;  // what the inbox is to hold
  size_t sent_ = 0;                  // of it, by now
  int guests_ = 0;
  CudaWork counts_;
};

}  // namespace govtrain::cuda
