// What every file here includes: CUDA C++ by nvcc, or by the host compiler on kernels/simt, under the same names.
// Kernels reach memory through load(), store(), SharedArray and SharedSpan only: plain accesses on a device, checked
// and counted when emulated. Not here: Eigen, fmt, or anything of the host side but launch().
#pragma once

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>
#include <mma.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cuda/ptx.h"

// Before a loop over an array that must stay in registers, where nvcc does not unroll it by itself.
#define GOVTRAIN_UNROLL _Pragma("unroll")

namespace govtrain::cuda {

template <class T>
__device__ __forceinline__ T load(const T* p) {
  return *p;
}
template <class T, class U>
__device__ __forceinline__ void store(T* p, U value) {
  *p = static_cast<T>(value);
}

// One rounding, as __fmaf_rn, for inner loops: what they do is counted by count_fma, once for many.
__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ float4 fused(float a, float4 b, float4 c) {
  return make_float4(fused(a, b.x, c.x), fused(a, b.y, c.y), fused(a, b.z, c.z), fused(a, b.w, c.w));
}
__device__ __forceinline__ void count_fma(int) {}

template <class T>
class SharedSpan {
 public:
  __device__ __forceinline__ SharedSpan(T* data, int size) : data_(data), size_(size) {}
  __device__ __forceinline__ T& operator[](int i) const { return data_[i]; }
  __device__ __forceinline__ T* at(int i) const { return data_ + i; }
  __device__ __forceinline__ SharedSpan sub(int begin, int size) const { return {data_ + begin, size}; }
  __device__ __forceinline__ int size() const { return size_; }

 private:
  T* data_;
  int size_;
};

template <class T, int N>
struct SharedArray {
  __align__(128) T data[N];
  __device__ __forceinline__ T& operator[](int i) { return data[i]; }
  __device__ __forceinline__ T* at(int i) { return data + i; }
  __device__ __forceinline__ SharedSpan<T> span() { return {data, N}; }
};

// Says that the kernel is launched with `bytes` of dynamic shared memory, once, before dynamic_shared(): a remark in
// the PTX, where tools/kernel_report finds it; emulated, the launch is held to it.
template <int bytes>
__device__ __forceinline__ void expect_dynamic_shared() {
  asm volatile("// dynamic shared memory: %0" ::"n"(bytes));
}

// `count` elements of the dynamic shared memory, from byte `offset` on.
template <class T>
__device__ __forceinline__ SharedSpan<T> dynamic_shared(int offset, int count) {
  extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[];
  return {reinterpret_cast<T*>(dynamic_shared_bytes + offset), count};
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic, cudaStream_t stream,
            A... arguments) {
  kernel<<<grid, block, dynamic, stream>>>(arguments...);
  const cudaError_t e = cudaGetLastError();
  if (e != cudaSuccess) throw std::runtime_error(std::string("[cuda] ") + name + ": " + cudaGetErrorString(e));
}

}  // namespace govtrain::cuda

#elif defined(GOVTRAIN_CUDA_TOOLKIT)  // host code of a build for devices: the runtime alone

#include <cuda_runtime.h>

#else

#include "kernels/simt/simt.h"

#define GOVTRAIN_UNROLL

namespace govtrain::cuda {

using simt::count_fma;
using simt::fused;
using simt::load;
using simt::SharedArray;
using simt::SharedSpan;
using simt::store;

template <int bytes>
void expect_dynamic_shared() {
  if (simt::dynamic_shared_size() == size_t{bytes}) return;
  simt::fail(simt::FaultKind::launch, std::to_string(simt::dynamic_shared_size()) +
                                          " bytes of dynamic shared memory; the kernel expects " +
                                          std::to_string(bytes));
}

template <class T>
SharedSpan<T> dynamic_shared(int offset, int count) {
  const auto end = static_cast<size_t>(offset) + sizeof(T) * static_cast<size_t>(count);
  if (end > simt::dynamic_shared_size()) {
    simt::fail(simt::FaultKind::out_of_bounds, std::to_string(end) +
                                                   " bytes of dynamic shared memory; the launch asked for " +
                                                   std::to_string(simt::dynamic_shared_size()));
  }
  return {reinterpret_cast<T*>(simt::dynamic_shared() + offset), count};
}

}  // namespace govtrain::cuda

#endif

#if defined(__CUDACC__) || !defined(GOVTRAIN_CUDA_TOOLKIT)

namespace govtrain::cuda {

// Four floats as one value for fused(), and back.
__device__ __forceinline__ float4 pack(const float* v) { return make_float4(v[0], v[1], v[2], v[3]); }
__device__ __forceinline__ void unpack(float4 v, float* to) { to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w; }

}  // namespace govtrain::cuda

#endif
