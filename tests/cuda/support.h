// What tests of kernels need on a device and on the emulated one. The only file here that knows which of the two it is.
// Not here: what the emulator alone can tell (tests/simt/support.h, *_emulated_test.cpp).
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

#include "kernels/cuda/device.h"

namespace govtrain::test {

// Device memory that lives as long as the test.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t n) : size_(n) {
    void* p = nullptr;
    REQUIRE(cudaMalloc(&p, n * sizeof(T)) == cudaSuccess);
    data_ = static_cast<T*>(p);
  }
  explicit DeviceBuffer(const std::vector<T>& v) : DeviceBuffer(v.size()) {
    REQUIRE(cudaMemcpy(data_, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* get() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> v(size_);
    REQUIRE(cudaMemcpy(v.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return v;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

// The order of blocks and threads from now on: emulated, it follows the seed, and accesses are checked when `observe`;
// a device has its own, another one each time. Without `observe`, and after reset_schedule(), as the program was
// started (GOVTRAIN_SIMT_OBSERVE, GOVTRAIN_SIMT_SEED).
#ifdef GOVTRAIN_CUDA_TOOLKIT
inline void set_schedule(uint64_t, bool) {}
inline void set_schedule(uint64_t) {}
inline void reset_schedule() {}
#else
inline const simt::Settings& started_with() {
  static const simt::Settings settings = simt::settings();
  return settings;
}
inline void set_schedule(uint64_t seed, bool observe) {
  started_with();
  simt::settings() = {observe, seed};
}
inline void set_schedule(uint64_t seed) { set_schedule(seed, started_with().observe); }
inline void reset_schedule() { simt::settings() = started_with(); }
#endif

}  // namespace govtrain::test
