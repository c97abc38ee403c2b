// Planted faults: one kernel for each way to be wrong, each caught and reported with kernel, block and thread.
#include <memory>

#include "tests/simt/support.h"

namespace govtrain::test {
namespace {

using cuda::dynamic_shared;
using cuda::launch;
using cuda::load;
using cuda::SharedArray;
using cuda::store;
using simt::FaultKind;

void half_barrier() {
  if (threadIdx.x < 32) __syncthreads();
}
void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
void lane_away() {
  if (threadIdx.x != 5) (void)__shfl_sync(0xFFFFFFFFu, 1.0f, 0);
}
void not_in_mask() { (void)__shfl_sync(0x0000FFFFu, 1.0f, 0); }
void reads_outside_mask() {
  if (threadIdx.x < 16) (void)__shfl_sync(0x0000FFFFu, 1.0f, 20);
}
void index_off_by_one(float* x, int n) { store(x + threadIdx.x + 1, static_cast<float>(n)); }
void before_begin(const float* x, float* y) { store(y, load(x - 1)); }
void shared_index(int i) {
  __shared__ SharedArray<float, 8> s;
  if (threadIdx.x == 3) s[i] = 1.0f;
}
void too_much_shared() { dynamic_shared<float>(0, 100)[0] = 1.0f; }
void misaligned(float* x) { (void)load(reinterpret_cast<const float4*>(x + 1)); }
void unwritten(const float* x, float* y) { store(y, load(x)); }
void unwritten_shared(float* y) {
  __shared__ SharedArray<float, 32> s;
  if (threadIdx.x < 31) s[static_cast<int>(threadIdx.x)] = 1.0f;
  __syncthreads();
  store(y + threadIdx.x, s[static_cast<int>(threadIdx.x)]);
}
void missing_barrier(float* y) {
  __shared__ SharedArray<float, 64> s;
  const int t = static_cast<int>(threadIdx.x);
  s[t] = 1.0f;
  if (blockIdx.x == 9) __syncthreads();
  store(y + t, s[t ^ 33]);
}
void overwritten_too_early(float* y) {
  __shared__ SharedArray<float, 32> s;
  const int t = static_cast<int>(threadIdx.x);
  s[t] = 1.0f;
  __syncthreads();
  store(y + t, s[t ^ 1]);
  s[t] = 2.0f;
}
void same_element(float* y) { store(y, 1.0f); }
void other_blocks_element(float* y) {
  if (blockIdx.x == 0) store(y, 1.0f);
  if (blockIdx.x == 1) (void)load(y);
}
void no_wait(const float* x, float* y) {
  __shared__ SharedArray<float, 32> s;
  const int t = static_cast<int>(threadIdx.x);
  __pipeline_memcpy_async(s.at(t), x + t, 4);
  __pipeline_commit();
  store(y + t, s[t]);
}
void wait_without_barrier(const float* x, float* y) {
  __shared__ SharedArray<float, 32> s;
  const int t = static_cast<int>(threadIdx.x);
  __pipeline_memcpy_async(s.at(t), x + t, 4);
  __pipeline_commit();
  __pipeline_wait_prior(0);
  store(y + t, s[t ^ 1]);
}
void wait_for_too_few(const float* x, float* y) {
  __shared__ SharedArray<float, 64> s;
  const int t = static_cast<int>(threadIdx.x);
  for (int g = 0; g < 2; ++g) {
    __pipeline_memcpy_async(s.at(32 * g + t), x + t, 4);
    __pipeline_commit();
  }
  __pipeline_wait_prior(1);
  store(y + t, s[32 + t]);
  __pipeline_wait_prior(0);
}
void never_waited(const float* x) {
  __shared__ SharedArray<float, 32> s;
  const int t = static_cast<int>(threadIdx.x);
  __pipeline_memcpy_async(s.at(t), x + t, 4);
  __pipeline_commit();
}
void not_rounded() {
  float d[4] = {};
  uint32_t a[4] = {0x3F800001u, 0, 0, 0};
  const uint32_t b[2] = {};
  cuda::mma_m16n8k8_tf32(d, a, b);
}
void half_a_warp() {
  float d[4] = {};
  const uint32_t a[4] = {};
  const uint32_t b[2] = {};
  if (threadIdx.x < 16) cuda::mma_m16n8k16_bf16(d, a, b);
}
void matrix_off_its_grid(float*) {
  using namespace nvcuda::wmma;  // NOLINT
  fragment<accumulator, 16, 16, 8, float> c;
  __shared__ SharedArray<float, 300> s;
  load_matrix_sync(c, s.at(1), 16, mem_row_major);
}
void writes(float* x, float v) { store(x + threadIdx.x, v); }

template <class... P, class... A>
auto one_block(int threads, void (*kernel)(P...), A... a) {
  return [=] { launch("planted", kernel, 1, static_cast<unsigned>(threads), 0, nullptr, a...); };
}

}  // namespace

TEST_CASE("a barrier that not every thread reaches is reported") {
  const auto f = expect_fault(FaultKind::divergent_barrier, {"planted", "fault_test.cpp", "has returned"},
                              one_block(64, half_barrier));
  CHECK(f.place().kernel == "planted");
  CHECK(f.place().in_thread);
  CHECK(f.place().thread.x < 32);
  expect_fault(FaultKind::divergent_barrier, {"waits at the barrier", "but thread"}, one_block(64, two_barriers));
}

TEST_CASE("a warp operation that a lane stays away from is reported") {
  expect_fault(FaultKind::divergent_warp, {"__shfl_sync", "for lane 5", "has returned"}, one_block(32, lane_away));
  expect_fault(FaultKind::divergent_warp, {"leaves out the calling lane"}, one_block(32, not_in_mask));
  expect_fault(FaultKind::divergent_warp, {"reads lane 20"}, one_block(32, reads_outside_mask));
  expect_fault(FaultKind::divergent_warp, {"mma.sync", "has returned"}, one_block(32, half_a_warp));
}

TEST_CASE("accesses outside memory are reported with the thread") {
  const DeviceBuffer<float> x(32);
  const DeviceBuffer<float> y(32);
  const auto f = expect_fault(FaultKind::out_of_bounds, {"0 bytes past the end of device memory of 128 bytes"},
                              one_block(32, index_off_by_one, x.get(), 1));
  CHECK(f.place().thread.x == 31);
  expect_fault(FaultKind::out_of_bounds, {"4 bytes before device memory of 128 bytes"},
               one_block(32, before_begin, static_cast<const float*>(x.get()), y.get()));
  const auto g = expect_fault(FaultKind::out_of_bounds, {"index 8 of an array of 8", "thread (3,0,0)"},
                              one_block(32, shared_index, 8));
  CHECK(g.place().thread.x == 3);
  expect_fault(FaultKind::out_of_bounds, {"index -1 of an array of 8"}, one_block(32, shared_index, -1));
  expect_fault(FaultKind::out_of_bounds, {"400 bytes of dynamic shared memory", "asked for 0"},
               one_block(1, too_much_shared));
}

TEST_CASE("an access between two pieces of memory is named after the nearer one") {
  std::vector<std::unique_ptr<DeviceBuffer<float>>> row(16);  // most lie side by side
  for (auto& x : row) x = std::make_unique<DeviceBuffer<float>>(32);
  const DeviceBuffer<float> y(32);
  for (const auto& x : row) {
    expect_fault(FaultKind::out_of_bounds, {"4 bytes before device memory of 128 bytes"},
                 one_block(32, before_begin, static_cast<const float*>(x->get()), y.get()));
    expect_fault(FaultKind::out_of_bounds, {"0 bytes past the end of device memory of 128 bytes"},
                 one_block(32, index_off_by_one, x->get(), 1));
  }
}

#if !defined(__SANITIZE_ADDRESS__)
namespace {
void raw_write(float* x, int n) {
  if (threadIdx.x == 0) x[n] = 1.0f;
}
}  // namespace

TEST_CASE("a write that nothing observes changes a redzone") {
  const DeviceBuffer<float> x(32);
  expect_fault(FaultKind::out_of_bounds, {"planted", "redzone 0 bytes past the end"},
               one_block(32, raw_write, x.get(), 32));
}
#endif

TEST_CASE("misaligned accesses are reported") {
  const DeviceBuffer<float> x(std::vector<float>(32, 1.0f));
  expect_fault(FaultKind::misaligned, {"16 bytes", "no multiple of 16"}, one_block(1, misaligned, x.get()));
  expect_fault(FaultKind::misaligned, {"multiple of 32 bytes"}, one_block(32, matrix_off_its_grid, x.get()));
}

TEST_CASE("reads of memory that nobody wrote are reported") {
  const DeviceBuffer<float> x(32);
  const DeviceBuffer<float> y(32);
  expect_fault(FaultKind::unwritten, {"device memory"},
               one_block(1, unwritten, static_cast<const float*>(x.get()), y.get()));
  const auto f = expect_fault(FaultKind::unwritten, {"shared memory"}, one_block(32, unwritten_shared, y.get()));
  CHECK(f.place().thread.x == 31);
  // An allocator that takes memory back makes it unwritten again.
  const DeviceBuffer<float> z(std::vector<float>(32, 1.0f));
  launch("reads", unwritten, 1, 1, 0, nullptr, static_cast<const float*>(z.get()), y.get());
  simt::forget_device(z.get(), 128, nullptr);
  expect_fault(FaultKind::unwritten, {"device memory"},
               one_block(1, unwritten, static_cast<const float*>(z.get()), y.get()));
}

TEST_CASE("accesses that nothing orders are races, under every schedule") {
  const DeviceBuffer<float> y(64);
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    simt::settings().seed = seed;
    // Without the barrier a read comes before or after the write: unwritten, or a race.
    try {
      one_block(64, missing_barrier, y.get())();
      FAIL("no fault");
    } catch (const simt::Fault& f) {
      CHECK((f.kind() == FaultKind::race || f.kind() == FaultKind::unwritten));
    }
    expect_fault(FaultKind::race, {"shared memory"}, one_block(32, overwritten_too_early, y.get()));
    expect_fault(FaultKind::race, {"device memory"}, one_block(2, same_element, y.get()));
  }
  simt::settings().seed = 1;
  cudaMemset(y.get(), 0, 256);
  expect_fault(FaultKind::race, {"block number"},
               [&] { launch("planted", other_blocks_element, 2, 1, 0, nullptr, y.get()); });
}

TEST_CASE("asynchronous copies arrive at their wait and not before") {
  const DeviceBuffer<float> x(std::vector<float>(32, 1.0f));
  const DeviceBuffer<float> y(32);
  const float* from = x.get();
  expect_fault(FaultKind::async_copy, {"still writing"}, one_block(32, no_wait, from, y.get()));
  expect_fault(FaultKind::async_copy, {"still writing"}, one_block(32, wait_for_too_few, from, y.get()));
  expect_fault(FaultKind::async_copy, {"in flight"}, one_block(32, never_waited, from));
  try {
    one_block(32, wait_without_barrier, from, y.get())();
    FAIL("no fault");
  } catch (const simt::Fault& f) {
    CHECK((f.kind() == FaultKind::race || f.kind() == FaultKind::async_copy || f.kind() == FaultKind::unwritten));
  }
}

TEST_CASE("operands and launches that a device would not take are reported") {
  const DeviceBuffer<float> y(32);
  expect_fault(FaultKind::operand, {"no tf32"}, one_block(32, not_rounded));
  expect_fault(FaultKind::launch, {"(1025,1,1) threads"}, one_block(1025, same_element, y.get()));
  expect_fault(FaultKind::launch, {"a grid of (0,1,1)"},
               [&] { launch("planted", same_element, 0, 1, 0, nullptr, y.get()); });
  // launch() asks for what is above 48 KiB; who launches by hand must.
  float* to = y.get();
  void* arguments[] = {&to};
  expect_fault(FaultKind::launch, {"50000 bytes of dynamic shared memory"},
               [&] { cudaLaunchKernel(reinterpret_cast<const void*>(same_element), 1, 1, arguments, 50000, nullptr); });
  launch("allowed", same_element, 1, 1, 50000, nullptr, y.get());
  expect_fault(FaultKind::launch, {"200000 bytes of dynamic shared memory"},
               [&] { launch("planted", same_element, 1, 1, 200000, nullptr, y.get()); });
}

TEST_CASE("streams that touch the same memory must be ordered") {
  cudaStream_t a;
  cudaStream_t b;
  cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
  cudaEvent_t e;
  cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
  const DeviceBuffer<float> x(32);
  launch("first", writes, 1, 32, 0, a, x.get(), 1.0f);
  expect_fault(FaultKind::unsynchronised, {"first in stream", "second in stream"},
               [&] { launch("second", writes, 1, 32, 0, b, x.get(), 2.0f); });
  cudaEventRecord(e, a);
  CHECK(cudaEventQuery(e) == cudaErrorNotReady);
  cudaStreamWaitEvent(b, e);
  launch("second", writes, 1, 32, 0, b, x.get(), 2.0f);
  // The host may not read before it has waited.
  std::vector<float> h(32);
  cudaMemcpyAsync(h.data(), x.get(), 128, cudaMemcpyDeviceToHost, b);
  CHECK(h[0] != 2.0f);
  cudaStreamSynchronize(b);
  CHECK(h[0] == 2.0f);
  CHECK(cudaEventQuery(e) == cudaSuccess);
  // Nor change what is still being copied.
  cudaMemcpyAsync(x.get(), h.data(), 128, cudaMemcpyHostToDevice, b);
  h[3] = 9.0f;
  expect_fault(FaultKind::host_memory, {"source of a copy of 128 bytes"}, [&] { cudaStreamSynchronize(b); });
  cudaMemcpyAsync(h.data(), x.get(), 128, cudaMemcpyDeviceToHost, b);
  h[3] = 9.0f;
  expect_fault(FaultKind::host_memory, {"destination of a copy"}, [&] { cudaStreamSynchronize(b); });
  cudaEventDestroy(e);
  cudaStreamDestroy(a);
  CHECK(cudaStreamDestroy(b) == cudaSuccess);
  CHECK(cudaStreamDestroy(b) == cudaErrorInvalidResourceHandle);
  CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
  CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("the emulated device stays usable after a fault") {
  const DeviceBuffer<float> x(64);
  expect_fault(FaultKind::divergent_barrier, {}, one_block(64, half_barrier));
  launch("good", writes, 1, 64, 0, nullptr, x.get(), 3.0f);
  CHECK(x.host() == std::vector<float>(64, 3.0f));
}

}  // namespace govtrain::test
