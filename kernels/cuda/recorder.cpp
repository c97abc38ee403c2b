#include "kernels/cuda/recorder.h"

#include <cstring>
#include <utility>

#include "kernels/cuda/memory.h"

namespace govtrain::cuda {
namespace {

constexpr size_t kInbox = size_t{1} << 20;
// A device starts to work after as many launches at the latest.
constexpr size_t kSequence = 128;
// Below, a graph saves nothing.
constexpr size_t kWorthwhile = 3;
constexpr size_t kGraphs = 256;
constexpr size_t kSeen = 65536;

size_t round_up(size_t n) { return (n + 15) / 16 * 16; }

// FNV-1a over words of 8 bytes; what it takes for equal is compared in full.
class Hash {
 public:
  void add(uint64_t word) { value_ = (value_ ^ word) * 0x100000001B3u ^ value_ >> 29; }
  void add(const unsigned char* p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, p + i, bytes - i < 8 ? bytes - i : 8);
      add(word);
    }
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xCBF29CE484222325u;
};

bool same(dim3 a, dim3 b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

}  // namespace

bool Recorder::Operation::operator==(const Operation& o) const {
  return kind == o.kind && kernel == o.kernel && same(grid, o.grid) && same(block, o.block) && dynamic == o.dynamic &&
         first == o.first && count == o.count && begin == o.begin;
}

uint64_t Recorder::Sequence::hash() const {
  Hash h;
  for (const Operation& o : operations) {
    h.add(static_cast<uint64_t>(o.kind));
    h.add(reinterpret_cast<uintptr_t>(o.kernel));
    for (const dim3& d : {o.grid, o.block}) {
      h.add(uint64_t{d.x} << 32 | d.y);
      h.add(d.z);
    }
    h.add(o.dynamic);
  }
  h.add(bytes.data(), bytes.size());
  return h.value();
}

void Recorder::Sequence::clear() {
  operations.clear();
  sizes.clear();
  bytes.clear();
  work = 0;
}

void Recorder::Sequence::add(Operation::Kind kind, const Launch& l) {
  if (kind != Operation::Kind::forget) ++work;
  operations.push_back({kind, l.name, l.kernel, l.grid, l.block, l.dynamic, static_cast<uint32_t>(sizes.size()),
                        static_cast<uint32_t>(l.count), bytes.size()});
  for (int i = 0; i < l.count; ++i) {
    const size_t at = bytes.size();
    sizes.push_back(l.sizes[i]);
    bytes.resize(at + round_up(l.sizes[i]));
    std::memcpy(bytes.data() + at, l.arguments[i], l.sizes[i]);
  }
}

Recorder::Recorder(cudaStream_t stream, Staging& staging) : stream_(stream), staging_(&staging) {
  void* p = nullptr;
  check(cudaMalloc(&p, kInbox), "the inbox");
  inbox_ = static_cast<unsigned char*>(p);
}

Recorder::~Recorder() {
  drop_graphs();
  cudaFree(inbox_);
}

void Recorder::drop_graphs() {
  for (const Kept& k : kept_) cudaGraphExecDestroy(k.graph);
  kept_.clear();
  by_hash_.clear();
  seen_.clear();
}

void Recorder::take(const Launch& launch) {
  if (!on_) return start_launch(launch);
  now_.add(Operation::Kind::launch, launch);
  gathered();
}

void Recorder::copy(void* to, const void* from, size_t bytes) {
  if (!on_) return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copy on the device");
  const void* arguments[] = {&to, &from, &bytes};
  const uint32_t sizes[] = {sizeof(to), sizeof(from), sizeof(bytes)};
  now_.add(Operation::Kind::copy, {"copy", nullptr, {}, {}, 0, stream_, 3, arguments, sizes});
  gathered();
}

void Recorder::forget(void* p, size_t bytes) {
#ifdef GOVTRAIN_CUDA_TOOLKIT
  static_cast<void>(p);
  static_cast<void>(bytes);
#else
  if (!on_ || now_.operations.empty()) return simt::forget_device(p, bytes, stream_);
  const void* arguments[] = {&p, &bytes};
  const uint32_t sizes[] = {sizeof(p), sizeof(bytes)};
  now_.add(Operation::Kind::forget, {"forget", nullptr, {}, {}, 0, stream_, 2, arguments, sizes});
#endif
}

void Recorder::gathered() {
  if (now_.work >= kSequence && guests_ == 0) flush();
}

void* Recorder::enter(const void* values, size_t bytes) {
  if (!on_) return nullptr;
  size_t at = round_up(mail_.size());
  if (at + bytes > kInbox && guests_ == 0) {
    flush();
    at = 0;
  }
  if (at + bytes > kInbox) return nullptr;
  mail_.resize(at + bytes);
  std::memcpy(mail_.data() + at, values, bytes);
  ++guests_;
  return inbox_ + at;
}

void Recorder::flush() {
  fill_inbox();
  if (!now_.operations.empty()) {
    Sequence s;
    std::swap(s, now_);  // a failure leaves nothing behind
    start(s);
    s.clear();
    if (now_.operations.empty()) std::swap(s, now_);  // keeps its memory
  }
  if (guests_ == 0) {
    mail_.clear();
    sent_ = 0;
  }
}

void Recorder::fill_inbox() {
  const size_t bytes = mail_.size() - sent_;
  if (bytes == 0) return;
  unsigned char* from = staging_->take(bytes);
  std::memcpy(from, mail_.data() + sent_, bytes);
  check(cudaMemcpyAsync(inbox_ + sent_, from, bytes, cudaMemcpyHostToDevice, stream_), "copy to the device");
  sent_ = mail_.size();
}

void Recorder::start(const Sequence& s) {
  if (s.work < kWorthwhile) return issue(s);
  const uint64_t hash = s.hash();
  const auto found = by_hash_.find(hash);
  if (found != by_hash_.end() && found->second->sequence == s) {
    kept_.splice(kept_.begin(), kept_, found->second);
    check(cudaGraphLaunch(kept_.front().graph, stream_), "graph");
    ++counts_.graphs;
    counts_.in_graphs += static_cast<int64_t>(s.work);
    return;
  }
  if (seen_.size() >= kSeen) seen_.clear();
  if (++seen_[hash] < 2 || found != by_hash_.end()) return issue(s);
  const cudaGraphExec_t graph = capture(s);
  kept_.push_front({hash, s, graph});
  by_hash_[hash] = kept_.begin();
  if (kept_.size() > kGraphs) {
    by_hash_.erase(kept_.back().hash);
    check(cudaStreamSynchronize(stream_), "graph");  // it may be running
    cudaGraphExecDestroy(kept_.back().graph);
    kept_.pop_back();
  }
  check(cudaGraphLaunch(graph, stream_), "graph");
  ++counts_.captures;
  ++counts_.graphs;
  counts_.in_graphs += static_cast<int64_t>(s.work);
}

void Recorder::issue(const Sequence& s) {
  std::vector<void*> arguments;
  for (const Operation& o : s.operations) {
    arguments.clear();
    size_t at = o.begin;
    for (uint32_t i = 0; i < o.count; ++i) {
      arguments.push_back(const_cast<unsigned char*>(s.bytes.data()) + at);
      at += round_up(s.sizes[o.first + i]);
    }
    const auto address = [&](size_t i) { return *static_cast<void**>(arguments[i]); };
    const auto size = [&](size_t i) { return *static_cast<size_t*>(arguments[i]); };
    switch (o.kind) {
      case Operation::Kind::launch:
        start_launch({o.name, o.kernel, o.grid, o.block, o.dynamic, stream_, static_cast<int>(o.count),
                      arguments.data(), s.sizes.data() + o.first});
        break;
      case Operation::Kind::copy:
        check(cudaMemcpyAsync(address(0), address(1), size(2), cudaMemcpyDeviceToDevice, stream_),
              "copy on the device");
        break;
      case Operation::Kind::forget:
#ifndef GOVTRAIN_CUDA_TOOLKIT
        simt::forget_device(address(0), size(1), stream_);
#endif
        break;
    }
  }
  counts_.single += static_cast<int64_t>(s.work);
}

cudaGraphExec_t Recorder::capture(const Sequence& s) {
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capture");
  const int64_t single = counts_.single;
  cudaGraph_t graph = nullptr;
  try {
    issue(s);
  } catch (...) {
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    throw;
  }
  counts_.single = single;
  check(cudaStreamEndCapture(stream_, &graph), "capture");
  cudaGraphExec_t exec = nullptr;
  const cudaError_t e = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  check(e, "graph");
  return exec;
}

void Recorder::forget_graphs() {
  flush();
  check(cudaStreamSynchronize(stream_), "graph");  // one may be running
  drop_graphs();
}

void Recorder::use(bool on) {
  if (!on) forget_graphs();
  on_ = on;
}

CudaWork Recorder::take_counts() { return std::exchange(counts_, {}); }

}  // namespace govtrain::cuda
