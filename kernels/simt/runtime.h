// The used slice of the CUDA runtime API, on the host. Streams run what they are given at once, in the order of the
// host's calls, but keep to the promises of a device only: what nothing orders is a fault when it touches the same
// memory (memory.h); a copy to the host arrives when the host waits for it, and until then the destination holds
// poison; a copy from the host fails when its source changes before the host has waited. The host side is one thread.
// Graphs are captured from one stream and replayed in their order. Not here: textures, peer access, unified memory,
// timing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/simt/block.h"
#include "kernels/simt/fault.h"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDefault = 0, cudaEventDisableTiming = 2;

namespace govtrain::simt {
struct Stream;
struct Event;
struct Graph;
}  // namespace govtrain::simt
using cudaStream_t = govtrain::simt::Stream*;
using cudaEvent_t = govtrain::simt::Event*;
using cudaGraph_t = govtrain::simt::Graph*;
using cudaGraphExec_t = govtrain::simt::Graph*;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
  int major, minor, multiProcessorCount, warpSize, maxThreadsPerBlock;
};

const char* cudaGetErrorString(cudaError_t e);
// The last error that a call returned; Get clears it.
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

// None when CUDA_VISIBLE_DEVICES is there and empty, as on a device.
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device);

cudaError_t cudaMalloc(void** p, size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaMallocHost(void** p, size_t bytes);
cudaError_t cudaFreeHost(void* p);
template <class T>
cudaError_t cudaMalloc(T** p, size_t bytes) {
  void* raw = nullptr;
  const cudaError_t e = cudaMalloc(&raw, bytes);
  *p = static_cast<T*>(raw);
  return e;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void* p, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream = nullptr);

cudaError_t cudaStreamCreate(cudaStream_t* s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags = 0);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaEventCreate(cudaEvent_t* e);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
// cudaErrorNotReady until the host has waited for it in some way: what a program may rely on.
cudaError_t cudaEventQuery(cudaEvent_t e);

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t g, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g);

namespace govtrain::simt {

// How launches run from now on. observe: see observe.h; off, blocks run on all threads and nothing is checked but
// barriers, launches and redzones. seed: the order of blocks and threads. A program starts with what the environment
// variables GOVTRAIN_SIMT_OBSERVE (0 or 1) and GOVTRAIN_SIMT_SEED say.
struct Settings {
  bool observe = true;
  uint64_t seed = 1;
};
Settings& settings();

// What the launches counted since the last call, one entry per launch, in order. Empty entries for launches that were
// not observed.
std::vector<Counts> take_counts();

// Runs `body(argument)` for every thread of the grid, in stream order. `arguments` is kept for graphs.
void launch(const char* name, const void* kernel, dim3 grid, dim3 block, size_t dynamic_shared, cudaStream_t stream,
            std::function<void()> thread);
// Dynamic shared memory beyond 48 KiB must be asked for, as on a device.
void allow_dynamic_shared(const void* kernel, size_t bytes);
// For allocators that keep freed device memory: what stands there now may not be read any more.
void forget_device(void* p, size_t bytes);

}  // namespace govtrain::simt

template <class K>
cudaError_t cudaFuncSetAttribute(K* kernel, cudaFuncAttribute, int bytes) {
  govtrain::simt::allow_dynamic_shared(reinterpret_cast<const void*>(kernel), static_cast<size_t>(bytes));
  return cudaSuccess;
}

namespace govtrain::cuda {

// kernel<<<grid, block, dynamic_shared, stream>>>(arguments...); `name` is for reports. The same function under nvcc.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic_shared, cudaStream_t stream,
            A&&... arguments) {
  std::tuple<P...> all(std::forward<A>(arguments)...);
  simt::launch(name, reinterpret_cast<const void*>(kernel), grid, block, dynamic_shared, stream,
               [kernel, all] { std::apply(kernel, all); });
}

}  // namespace govtrain::cuda
