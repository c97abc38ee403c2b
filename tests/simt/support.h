// Small helpers for tests of the host execution layer: device buffers, and the fault that a piece of code must cause.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"

namespace govtrain::test {

// Device memory that lives as long as the test.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t n) : size_(n) { REQUIRE(cudaMalloc(&data_, n * sizeof(T)) == cudaSuccess); }
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

// Runs `body`, which must end in a fault of `kind` that says all of `words`.
template <class F>
simt::Fault expect_fault(simt::FaultKind kind, const std::vector<std::string>& words, const F& body) {
  try {
    body();
  } catch (const simt::Fault& f) {
    INFO(f.what());
    CHECK(f.kind() == kind);
    for (const std::string& w : words) {
      INFO("expected: " << w);
      CHECK(std::string(f.what()).find(w) != std::string::npos);
    }
    return f;
  }
  FAIL("no fault, expected " << simt::name_of(kind));
  throw std::logic_error("unreachable");
}

}  // namespace govtrain::test
