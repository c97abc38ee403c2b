// How kernels are started: launch() packs the arguments and either gives them to the device or to who gathers launches
// (recorder.h). Included by device.h.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

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
  const size_t* sizes;
};

class LaunchHook {
 public:
  virtual ~LaunchHook() = default;
  // False: the launch is not for this hook and is to be started now.
  virtual bool take(const Launch& launch) = 0;
};
inline std::vector<LaunchHook*> launch_hooks;

inline void start_launch(const char* name, const void* kernel, dim3 grid, dim3 block, void** arguments, size_t dynamic,
                         cudaStream_t stream) {
  const cudaError_t e = cudaLaunchKernel(kernel, grid, block, arguments, dynamic, stream);
  if (e != cudaSuccess) throw std::runtime_error(std::string("[cuda] ") + name + ": " + cudaGetErrorString(e));
}

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
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic, cudaStream_t stream,
            A&&... arguments) {
  std::tuple<P...> all(std::forward<A>(arguments)...);
#if !defined(__CUDACC__) && !defined(GOVTRAIN_CUDA_TOOLKIT)
  simt::know_kernel(name, kernel);
#endif
  const void* address = reinterpret_cast<const void*>(kernel);
  std::apply(
      [&](P&... argument) {
        (clear_padding(argument), ...);
        const void* pointers[] = {&argument..., nullptr};
        const size_t sizes[] = {sizeof(P)..., 0};
        const Launch l{name, address, grid, block, dynamic, stream, sizeof...(P), pointers, sizes};
        for (LaunchHook* hook : launch_hooks) {
          if (hook->take(l)) return;
        }
        start_launch(name, address, grid, block, const_cast<void**>(pointers), dynamic, stream);
      },
      all);
}

}  // namespace govtrain::cuda
