// How kernels are started: launch() packs the arguments and gives them to the device or, where its stream says so, to
// who gathers launches (recorder.h). Included by device.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace govtrain::cuda {

// One launch; `arguments` and `sizes` are valid during the call that takes it.
struct Launch {
  const char* name;
  const void* kernel;
  dim3 grid, block;
  size_t dynamic;
  cudaStream_t stream;
  int count;
  const void* const* arguments;
  const uint32_t* sizes;
};

// Takes launches in place of the device, and starts them when it sees fit.
class LaunchSink {
 public:
  virtual ~LaunchSink() = default;
  virtual void take(const Launch& launch) = 0;
};

// Where launches go: a stream of the device and, where they are gathered, who does it.
class Stream {
 public:
  Stream(cudaStream_t handle, LaunchSink* sink = nullptr) : handle_(handle), sink_(sink) {}  // NOLINT: a plain stream
  cudaStream_t handle() const { return handle_; }
  LaunchSink* sink() const { return sink_; }

 private:
  cudaStream_t handle_;
  LaunchSink* sink_;
};

inline void expect_launched(const char* name, cudaError_t e) {
  if (e != cudaSuccess) throw std::runtime_error(std::string("[cuda] ") + name + ": " + cudaGetErrorString(e));
}

inline void start_launch(const Launch& l) {
  expect_launched(l.name,
                  cudaLaunchKernel(l.kernel, l.grid, l.block, const_cast<void**>(l.arguments), l.dynamic, l.stream));
}

// A kernel gets more dynamic shared memory than this when it asks for it.
constexpr size_t kSharedUnasked = 48 * 1024;

// For arguments that hold arrays of structs and have no padding: GCC 12 clears wrong bytes of such.
template <class T>
constexpr bool has_no_padding = !std::is_class_v<T> || std::is_empty_v<T>;

// Bytes of an argument that hold no value are 0, so that equal launches are equal byte by byte.
template <class T>
void clear_padding([[maybe_unused]] T& value) {
#ifdef __has_builtin
#if __has_builtin(__builtin_clear_padding)
  if constexpr (!has_no_padding<T>) __builtin_clear_padding(&value);
#endif
#endif
}

// kernel<<<grid, block, dynamic, stream>>>(arguments...); `name` is for reports.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic, Stream stream,
            A&&... arguments) {
  std::tuple<P...> all(std::forward<A>(arguments)...);
  if (dynamic > kSharedUnasked) {
    expect_launched(
        name, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(dynamic)));
  }
#if !defined(__CUDACC__) && !defined(GOVTRAIN_CUDA_TOOLKIT)
  simt::know_kernel(name, kernel);
#endif
  const void* address = reinterpret_cast<const void*>(kernel);
  std::apply(
      [&](P&... argument) {
        (clear_padding(argument), ...);
        const void* pointers[] = {&argument..., nullptr};
        const uint32_t sizes[] = {uint32_t{sizeof(P)}..., 0};
        const Launch l{name, address, grid, block, dynamic, stream.handle(), sizeof...(P), pointers, sizes};
        if (stream.sink() != nullptr) {
          stream.sink()->take(l);
        } else {
          start_launch(l);
        }
      },
      all);
}

}  // namespace govtrain::cuda
