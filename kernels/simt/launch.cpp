#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>
#include <numeric>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "kernels/simt/memory.h"
#include "kernels/simt/settings.h"
#include "kernels/simt/stream.h"

namespace govtrain::simt {
namespace {

constexpr size_t kDefaultShared = 48 * 1024;
constexpr size_t kMaxShared = 163 * 1024;  // sm_80
constexpr unsigned kMaxThreads = 1024;

std::map<const void*, size_t>& allowed_shared() {
  static std::map<const void*, size_t> m;
  return m;
}

std::unordered_map<const void*, KnownKernel>& kernels() {
  static std::unordered_map<const void*, KnownKernel> m;
  return m;
}

std::vector<Counts>& all_counts() {
  static std::vector<Counts> c;
  return c;
}

void check_launch(const char* name, const void* kernel, dim3 grid, dim3 block, size_t shared) {
  const auto refuse = [&](const std::string& text) { throw Fault(FaultKind::launch, {name, {}, {}, false}, text); };
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) {
    refuse(fmt::format("blocks of ({},{},{}) threads; expected 1 to {}", block.x, block.y, block.z, kMaxThreads));
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) {
    refuse(fmt::format("a grid of ({},{},{}) blocks; expected 1 to (2147483647,65535,65535)", grid.x, grid.y, grid.z));
  }
  const auto it = allowed_shared().find(kernel);
  const size_t limit = it == allowed_shared().end() ? kDefaultShared : it->second;
  if (shared > limit) refuse(fmt::format("{} bytes of dynamic shared memory; expected at most {}", shared, limit));
}

void run_grid(const Grid& grid, std::function<void()>& thread) {
  const uint64_t blocks = uint64_t{grid.grid.x} * grid.grid.y * grid.grid.z;
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  const Rng rng(grid.seed, govtrain::Stream::test);
  for (uint64_t i = blocks - 1; i > 0; --i) std::swap(order[i], order[rng.bits(i) % (i + 1)]);
  all_counts().push_back({});
  Counts& sum = all_counts().back();
  sum.kernel = grid.kernel;
  const auto one = [&](uint64_t i, Counts& counts) {
    const uint32_t n = order[i];
    const uint3 index{n % grid.grid.x, n / grid.grid.x % grid.grid.y, n / (grid.grid.x * grid.grid.y)};
    run_block(
        grid, index, [](void* f) { (*static_cast<std::function<void()>*>(f))(); }, &thread, counts);
  };
  if (grid.observed) {  // the record of accesses is not for several threads
    for (uint64_t i = 0; i < blocks; ++i) one(i, sum);
    return;
  }
  std::mutex adding;
  parallel_for(static_cast<int64_t>(blocks), [&](int64_t i) {
    Counts counts;
    one(static_cast<uint64_t>(i), counts);
    const std::lock_guard lock(adding);
    sum += counts;
  });
}

}  // namespace

Settings read_settings(const char* observe, const char* seed) {
  Settings s;
  if (observe != nullptr) {
    const std::string_view text = observe;
    if (text != "0" && text != "1") throw Error("simt", "GOVTRAIN_SIMT_OBSERVE is '{}'; expected 0 or 1", text);
    s.observe = text == "1";
  }
  if (seed != nullptr) {
    const std::string_view text = seed;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), s.seed);
    if (problem != std::errc() || end != text.data() + text.size())
      throw Error("simt", "GOVTRAIN_SIMT_SEED is '{}'; expected a whole number from 0 to 2^64 - 1", text);
  }
  return s;
}

void know_kernel(const char* name, const void* kernel, MakeThread make) { kernels()[kernel] = {name, make}; }

const KnownKernel* known_kernel(const void* kernel) {
  const auto it = kernels().find(kernel);
  return it == kernels().end() ? nullptr : &it->second;
}

Settings& settings() {
  static Settings s = read_settings(std::getenv("GOVTRAIN_SIMT_OBSERVE"), std::getenv("GOVTRAIN_SIMT_SEED"));
  return s;
}

std::vector<Counts> take_counts() { return std::exchange(all_counts(), {}); }

void allow_dynamic_shared(const void* kernel, size_t bytes) {
  if (bytes > kMaxShared) {
    throw Fault(FaultKind::launch, {"cudaFuncSetAttribute", {}, {}, false},
                fmt::format("{} bytes of dynamic shared memory; expected at most {}", bytes, kMaxShared));
  }
  allowed_shared()[kernel] = bytes;
}

void launch(const char* name, const void* kernel, dim3 grid, dim3 block, size_t dynamic_shared, cudaStream_t stream,
            std::function<void()> thread) {
  check_launch(name, kernel, grid, block, dynamic_shared);
  enqueue(stream, name, [=]() mutable {
    const Settings& how = settings();
    const Grid g{name, kernel, grid, block, dynamic_shared, how.observe, how.seed, current_operation()};
    if (!how.observe) trust_all_device();
    run_grid(g, thread);
    if (how.observe) check_redzones(name);
  });
}

}  // namespace govtrain::simt
