#include "kernels/simt/runtime.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "kernels/simt/memory.h"
#include "kernels/simt/stream.h"

using govtrain::simt::Access;

namespace {

cudaError_t last_error = cudaSuccess;

cudaError_t result(cudaError_t e) {
  if (e != cudaSuccess) last_error = e;
  return e;
}

template <class T>
struct Known {
  std::set<std::unique_ptr<T>> all;
  T* add(std::unique_ptr<T> p) { return all.insert(std::move(p)).first->get(); }
  bool remove(T* p) {
    return std::erase_if(all, [&](const auto& q) { return q.get() == p; }) == 1;
  }
};
Known<govtrain::simt::Event> events;
Known<govtrain::simt::Graph> graphs;

// Waiting and host copies inside a capture are errors on a device.
bool capturing(cudaStream_t s) { return govtrain::simt::stream_of(s).capture != nullptr; }

void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s) {
  const uint32_t op = govtrain::simt::current_operation();
  const auto* source = static_cast<const unsigned char*>(from);
  const bool observe = govtrain::simt::settings().observe;
  if (observe && kind != cudaMemcpyHostToDevice) govtrain::simt::touch_device(from, bytes, Access::read, op);
  if (observe && kind != cudaMemcpyDeviceToHost) govtrain::simt::touch_device(to, bytes, Access::write, op);
  if (kind == cudaMemcpyDeviceToHost) {
    govtrain::simt::add_transfer(s, to, {source, source + bytes}, true);
    return;
  }
  std::memcpy(to, from, bytes);
  if (kind == cudaMemcpyHostToDevice) {
    govtrain::simt::add_transfer(s, const_cast<void*>(from), {source, source + bytes}, false);
  }
}

}  // namespace

namespace govtrain::simt {

void forget_device(void* p, size_t bytes, cudaStream_t stream) {
  if (capturing(stream)) return enqueue(stream, "forget_device", [=] { forget_device(p, bytes); });
  forget_device(p, bytes);
}

}  // namespace govtrain::simt

const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDeviceFunction:
      return "invalid device function";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unrecognized error code";
}

cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  *count = visible != nullptr && *visible == '\0' ? 0 : 1;
  return result(*count == 1 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return result(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return result(cudaErrorInvalidDevice);
  *p = {"emulated", size_t{8} << 30, 48 * 1024, 163 * 1024, 8, 0, 108, 32, 1024};
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  *p = bytes == 0 ? nullptr : govtrain::simt::allocate_device(bytes);
  return result(*p != nullptr || bytes == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  cudaDeviceSynchronize();
  return result(govtrain::simt::release_device(p) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  *p = std::malloc(bytes == 0 ? 1 : bytes);
  return result(*p != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  cudaDeviceSynchronize();
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s) {
  const bool from_device = govtrain::simt::is_device(from, 1);
  const bool to_device = govtrain::simt::is_device(to, 1);
  if (kind == cudaMemcpyDefault) {
    kind = from_device ? (to_device ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost) : cudaMemcpyHostToDevice;
  }
  if (bytes == 0) return cudaSuccess;
  const bool reads_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool writes_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyHostToHost || reads_device != from_device || writes_device != to_device ||
      (from_device && !govtrain::simt::is_device(from, bytes)) ||
      (to_device && !govtrain::simt::is_device(to, bytes))) {
    return result(cudaErrorInvalidValue);
  }
  govtrain::simt::enqueue(s, "cudaMemcpyAsync", [=] { copy(to, from, bytes, kind, s); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t e = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t s) {
  if (bytes == 0) return cudaSuccess;
  if (!govtrain::simt::is_device(p, bytes)) return result(cudaErrorInvalidValue);
  govtrain::simt::enqueue(s, "cudaMemsetAsync", [=] {
    if (govtrain::simt::settings().observe) {
      govtrain::simt::touch_device(p, bytes, Access::write, govtrain::simt::current_operation());
    }
    std::memset(p, value, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  govtrain::simt::create_stream(s, flags != cudaStreamNonBlocking);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  return result(govtrain::simt::destroy_stream(s) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  if (capturing(s)) return result(cudaErrorStreamCaptureUnsupported);
  govtrain::simt::host_waits(govtrain::simt::stream_of(s).clock);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  govtrain::simt::host_waits(govtrain::simt::everything());
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = events.add(std::make_unique<govtrain::simt::Event>());
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  return result(events.remove(e) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  govtrain::simt::enqueue(s, "cudaEventRecord", [=] {
    e->clock = govtrain::simt::stream_of(s).clock;
    e->recorded = true;
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  govtrain::simt::host_waits(e->clock);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  return govtrain::simt::host_knows(e->clock) ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  if (capturing(s)) return result(cudaErrorStreamCaptureUnsupported);
  govtrain::simt::join(govtrain::simt::stream_of(s).clock, e->clock);
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t dynamic_shared,
                             cudaStream_t s) {
  const auto* known = govtrain::simt::known_kernel(kernel);
  if (known == nullptr) return result(cudaErrorInvalidDeviceFunction);
  govtrain::simt::launch(known->name, kernel, grid, block, dynamic_shared, s, known->make(kernel, arguments));
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  if (s == nullptr || capturing(s)) return result(cudaErrorStreamCaptureUnsupported);
  s->capture = graphs.add(std::make_unique<govtrain::simt::Graph>());
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  if (s == nullptr || !capturing(s)) return result(cudaErrorInvalidValue);
  *g = std::exchange(s->capture, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t g, unsigned long long) {
  *exec = graphs.add(std::make_unique<govtrain::simt::Graph>(*g));
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  for (const auto& node : exec->nodes) govtrain::simt::enqueue(s, node.name, node.work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  return result(graphs.remove(g) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) { return cudaGraphDestroy(g); }
