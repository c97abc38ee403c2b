// What right kernels do under the host execution layer: barriers, shuffles, votes, atomics, copies, graphs, counts, and
// the same bits for every order of blocks and threads.
#include "core/parallel.h"
#include "tests/simt/support.h"

namespace govtrain::test {
namespace {

using cuda::dynamic_shared;
using cuda::launch;
using cuda::load;
using cuda::SharedArray;
using cuda::store;

// Block sums by a tree in dynamic shared memory, then a warp.
void block_sum(const float* x, float* y, int n) {
  const auto s = dynamic_shared<float>(0, static_cast<int>(blockDim.x));
  const int t = static_cast<int>(threadIdx.x);
  const int i = static_cast<int>(blockIdx.x * blockDim.x) + t;
  s[t] = i < n ? load(x + i) : 0.0f;
  __syncthreads();
  for (int half = static_cast<int>(blockDim.x) / 2; half >= 32; half /= 2) {
    if (t < half) s[t] += s[t + half];
    __syncthreads();
  }
  if (t >= 32) return;
  float v = s[t];
  for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, bits);
  if (t == 0) store(y + blockIdx.x, v);
}

void warp_values(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  int* mine = out + 10 * t;
  store(mine + 0, __shfl_sync(0xFFFFFFFFu, t, 7));
  store(mine + 1, __shfl_up_sync(0xFFFFFFFFu, t, 3u, 8));
  store(mine + 2, __shfl_down_sync(0xFFFFFFFFu, t, 3u, 8));
  store(mine + 3, __shfl_xor_sync(0xFFFFFFFFu, t, 5));
  store(mine + 4, static_cast<int>(__ballot_sync(0xFFFFFFFFu, t % 3 == 0)));
  store(mine + 5, __all_sync(0xFFFFFFFFu, t < 32) + 2 * __any_sync(0xFFFFFFFFu, t == 31));
  store(mine + 6, static_cast<int>(__reduce_add_sync(0xFFFFFFFFu, static_cast<unsigned>(t))));
  // Two halves at once, each with its own mask.
  const unsigned half = t < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  store(mine + 7, static_cast<int>(__reduce_max_sync(half, static_cast<unsigned>(t))));
  store(mine + 8, static_cast<int>(__reduce_min_sync(half, static_cast<unsigned>(t))));
  store(mine + 9, __shfl_sync(0xFFFFFFFFu, t, t + 1, 16));
}

// Much memory of the host's thread, and a barrier in the middle.
void reversed(const float* x, float* y) {
  __shared__ SharedArray<float, 12000> s;
  const int t = static_cast<int>(threadIdx.x);
  s[t] = load(x + t);
  __syncthreads();
  store(y + blockIdx.x * blockDim.x + t, static_cast<float>(s[static_cast<int>(blockDim.x) - 1 - t]));
}

void votes(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int sum = __syncthreads_count(t % 5 == 0);
  const int all = __syncthreads_and(t < 100);
  const int any = __syncthreads_or(t == 99);
  if (t == 0) {
    store(out, sum);
    store(out + 1, all);
    store(out + 2, any);
  }
}

void atomics(int* out) {
  const int t = static_cast<int>(threadIdx.x + blockIdx.x * blockDim.x);
  atomicAdd(out, t);
  atomicMax(out + 1, t);
  atomicMin(out + 2, -t);
}

void staged_copy(const float* x, float* y, int n) {
  __shared__ SharedArray<float, 128> s;
  const int t = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 2; ++i) {
    const int valid = n - 64 * i - 4 * t < 0 ? 0 : n - 64 * i - 4 * t > 4 ? 4 : n - 64 * i - 4 * t;
    if (t < 16)
      __pipeline_memcpy_async(s.at(64 * i + 4 * t), x + 64 * i + 4 * t, 16, static_cast<size_t>(16 - 4 * valid));
    __pipeline_commit();
  }
  __pipeline_wait_prior(1);
  __syncthreads();
  for (int j = t; j < 64; j += 32) store(y + j, s[j]);
  __pipeline_wait_prior(0);
  __syncthreads();
  for (int j = t; j < 64; j += 32) store(y + 64 + j, s[64 + j]);
}

void warp_exchange(float* y) {
  __shared__ SharedArray<float, 32> s;
  const int t = static_cast<int>(threadIdx.x);
  s[t] = static_cast<float>(t);
  __syncwarp();
  store(y + t, s[31 - t]);
}

void strided(const float* x, float* y, int stride) {
  __shared__ SharedArray<float, 1024> s;
  const int t = static_cast<int>(threadIdx.x);
  s[t * stride % 1024] = load(x + t * stride);
  __syncwarp();
  store(y + t, __fmaf_rn(2.0f, s[t * stride % 1024], 1.0f));
}

void vectors(const float* x, float* y) {
  const auto t = threadIdx.x;
  const float4 v = load(reinterpret_cast<const float4*>(x) + t);
  store(reinterpret_cast<float4*>(y) + t, make_float4(v.w, v.z, v.y, v.x));
}

void add_one(float* x) { store(x + threadIdx.x, load(x + threadIdx.x) + 1.0f); }

std::vector<float> ramp(size_t n) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = 1.0f / static_cast<float>(i + 1);
  return v;
}

}  // namespace

TEST_CASE("32 schedules of blocks and threads give the same bits") {
  const DeviceBuffer<float> x(ramp(1000));
  std::vector<float> first;
  for (const bool observe : {true, false}) {
    simt::settings().observe = observe;
    for (uint64_t seed = 0; seed < 32; ++seed) {
      simt::settings().seed = seed;
      const DeviceBuffer<float> y(4);
      launch("block_sum", block_sum, 4, 256, 1024, nullptr, static_cast<const float*>(x.get()), y.get(), 1000);
      const auto got = y.host();
      if (first.empty()) first = got;
      CHECK(got == first);
    }
  }
  simt::settings() = {};
  double sum = 0;
  for (const float v : first) sum += static_cast<double>(v);
  double expected = 0;
  for (const float v : ramp(1000)) expected += static_cast<double>(v);
  CHECK(sum == Approx(expected).epsilon(1e-6));
}

TEST_CASE("blocks run on host threads that come and go") {
  simt::settings().observe = false;
  const int threads = thread_count();
  const std::vector<float> values = ramp(128), want(values.rbegin(), values.rend());
  std::vector<float> want_all;
  for (int block = 0; block < 12; ++block) want_all.insert(want_all.end(), want.begin(), want.end());
  const DeviceBuffer<float> x(values);
  for (int round = 0; round < 100; ++round) {
    set_thread_count(1 + round % 6);
    const DeviceBuffer<float> y(want_all.size());
    launch("reversed", reversed, 12, 128, 0, nullptr, static_cast<const float*>(x.get()), y.get());
    CHECK(y.host() == want_all);
  }
  set_thread_count(threads);
  simt::settings() = {};
}

TEST_CASE("schedules differ from seed to seed") {
  // A kernel that does depend on the order: the last writer of an atomic exchange.
  const DeviceBuffer<int> out(std::vector<int>{0});
  std::vector<int> seen;
  for (uint64_t seed = 0; seed < 16; ++seed) {
    simt::settings().seed = seed;
    launch(
        "last", +[](int* p) { atomicExch(p, static_cast<int>(threadIdx.x)); }, 1, 64, 0, nullptr, out.get());
    seen.push_back(out.host()[0]);
  }
  simt::settings() = {};
  std::sort(seen.begin(), seen.end());
  CHECK(std::unique(seen.begin(), seen.end()) - seen.begin() > 4);
}

TEST_CASE("shuffles, votes and reductions") {
  const DeviceBuffer<int> out(320);
  launch("warp_values", warp_values, 1, 32, 0, nullptr, out.get());
  const auto v = out.host();
  unsigned thirds = 0;
  for (int t = 0; t < 32; t += 3) thirds |= 1u << t;
  for (int t = 0; t < 32; ++t) {
    INFO("lane " << t);
    const int* mine = v.data() + 10 * t;
    CHECK(mine[0] == 7);
    CHECK(mine[1] == (t % 8 >= 3 ? t - 3 : t));
    CHECK(mine[2] == (t % 8 < 5 ? t + 3 : t));
    CHECK(mine[3] == (t ^ 5));
    CHECK(mine[4] == static_cast<int>(thirds));
    CHECK(mine[5] == 3);
    CHECK(mine[6] == 496);
    CHECK(mine[7] == (t < 16 ? 15 : 31));
    CHECK(mine[8] == (t < 16 ? 0 : 16));
    CHECK(mine[9] == t / 16 * 16 + (t + 1) % 16);
  }
  launch("votes", votes, 1, 128, 0, nullptr, out.get());
  const auto w = out.host();
  CHECK(w[0] == 26);
  CHECK(w[1] == 0);
  CHECK(w[2] == 1);
}

TEST_CASE("atomics of several blocks") {
  const DeviceBuffer<int> out(std::vector<int>{0, 0, 0});
  launch("atomics", atomics, 7, 64, 0, nullptr, out.get());
  CHECK(out.host() == std::vector<int>{447 * 448 / 2, 447, -447});
}

TEST_CASE("copies in groups, with zeros past the end") {
  const DeviceBuffer<float> x(ramp(101));
  const DeviceBuffer<float> y(128);
  launch("staged_copy", staged_copy, 1, 32, 0, nullptr, static_cast<const float*>(x.get()), y.get(), 101);
  auto expected = ramp(101);
  expected.resize(128, 0.0f);
  CHECK(y.host() == expected);
}

TEST_CASE("a warp barrier orders the lanes of a warp") {
  const DeviceBuffer<float> y(32);
  launch("warp_exchange", warp_exchange, 1, 32, 0, nullptr, y.get());
  CHECK(y.host()[0] == 31.0f);
}

TEST_CASE("vector loads move 16 bytes") {
  const DeviceBuffer<float> x(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
  const DeviceBuffer<float> y(8);
  launch("vectors", vectors, 1, 2, 0, nullptr, static_cast<const float*>(x.get()), y.get());
  CHECK(y.host() == std::vector<float>{4, 3, 2, 1, 8, 7, 6, 5});
}

TEST_CASE("sectors, bank conflicts and multiply-adds are counted") {
  const DeviceBuffer<float> x(ramp(1024));
  const DeviceBuffer<float> y(32);
  const float* from = x.get();
  simt::take_counts();
  for (const int stride : {1, 2, 32}) launch("strided", strided, 1, 32, 0, nullptr, from, y.get(), stride);
  const auto c = simt::take_counts();
  REQUIRE(c.size() == 3);
  CHECK(c[0].global_read == 128);      // 32 floats in 4 sectors
  CHECK(c[1].global_read == 256);      // every other float
  CHECK(c[2].global_read == 32 * 32);  // a sector for each
  for (const auto& k : c) {
    CHECK(k.kernel == "strided");
    CHECK(k.global_written == 128);
    CHECK(k.fma == 32);
    CHECK(k.shared_accesses == 2);
  }
  CHECK(c[0].bank_conflicts == 0);
  CHECK(c[1].bank_conflicts == 2);   // two words per bank, for the write and the read
  CHECK(c[2].bank_conflicts == 62);  // all in one bank
}

TEST_CASE("waits of the host are counted where there was something to wait for") {
  cudaStream_t s;
  cudaStreamCreate(&s);
  cudaEvent_t e;
  cudaEventCreate(&e);
  const DeviceBuffer<float> x(std::vector<float>(32, 1.0f));
  cudaDeviceSynchronize();
  simt::take_waits();
  cudaStreamSynchronize(s);
  CHECK(simt::take_waits() == 0);
  launch("add_one", add_one, 1, 32, 0, s, x.get());
  cudaEventRecord(e, s);
  launch("add_one", add_one, 1, 32, 0, s, x.get());
  cudaEventSynchronize(e);
  cudaEventSynchronize(e);
  CHECK(simt::take_waits() == 1);
  cudaStreamSynchronize(s);
  cudaEventSynchronize(e);
  CHECK(simt::take_waits() == 1);
  cudaEventDestroy(e);
  cudaStreamDestroy(s);
}

TEST_CASE("a kernel is launched by its address with arguments from memory, once it is known") {
  const DeviceBuffer<float> x(std::vector<float>(32, 1.0f));
  float* p = x.get();
  void* arguments[] = {&p};
  const auto unknown = [](float* y) { store(y + threadIdx.x, 0.0f); };
  const auto* kernel = reinterpret_cast<const void*>(+unknown);
  CHECK(cudaLaunchKernel(kernel, 1, 32, arguments, 0, nullptr) == cudaErrorInvalidDeviceFunction);
  CHECK(cudaGetLastError() == cudaErrorInvalidDeviceFunction);
  simt::know_kernel("clear", +unknown);
  CHECK(cudaLaunchKernel(kernel, 1, 32, arguments, 0, nullptr) == cudaSuccess);
  p = nullptr;  // the launch has its own
  CHECK(x.host() == std::vector<float>(32, 0.0f));
}

TEST_CASE("memory that a graph gives up is unwritten after each of its launches") {
  cudaStream_t s;
  cudaStreamCreate(&s);
  const DeviceBuffer<float> x(std::vector<float>(32, 1.0f));
  cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal);
  launch("add_one", add_one, 1, 32, 0, s, x.get());
  simt::forget_device(x.get(), 128, s);
  cudaGraph_t g;
  REQUIRE(cudaStreamEndCapture(s, &g) == cudaSuccess);
  cudaGraphExec_t exec;
  cudaGraphInstantiate(&exec, g);
  CHECK(x.host() == std::vector<float>(32, 1.0f));
  for (int i = 0; i < 2; ++i) {
    cudaMemset(x.get(), 0, 128);
    cudaDeviceSynchronize();
    cudaGraphLaunch(exec, s);
    cudaStreamSynchronize(s);
    expect_fault(simt::FaultKind::unwritten, {"device memory"}, [&] {
      float read = 0;
      cudaMemcpy(&read, x.get(), sizeof(read), cudaMemcpyDeviceToHost);
    });
  }
  cudaGraphDestroy(g);
  cudaGraphExecDestroy(exec);
  cudaStreamDestroy(s);
}

TEST_CASE("a captured graph does its work at every launch and none at capture") {
  cudaStream_t s;
  cudaStreamCreate(&s);
  const DeviceBuffer<float> x(32);
  cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal);
  cudaMemsetAsync(x.get(), 0, 128, s);
  launch("add_one", add_one, 1, 32, 0, s, x.get());
  launch("add_one", add_one, 1, 32, 0, s, x.get());
  CHECK(cudaStreamSynchronize(s) == cudaErrorStreamCaptureUnsupported);
  cudaGetLastError();
  cudaGraph_t g;
  REQUIRE(cudaStreamEndCapture(s, &g) == cudaSuccess);
  cudaMemset(x.get(), 0xFF, 128);
  cudaGraphExec_t exec;
  cudaGraphInstantiate(&exec, g);
  for (int i = 0; i < 2; ++i) {
    cudaGraphLaunch(exec, s);
    cudaStreamSynchronize(s);
    CHECK(x.host() == std::vector<float>(32, 2.0f));
  }
  cudaGraphDestroy(g);
  cudaGraphExecDestroy(exec);
  cudaStreamDestroy(s);
}

}  // namespace govtrain::test
