// The emulated slice of cuDNN: the arguments that it refuses, what it proposes, and what it says about memory and
// streams. Its sums are tested where they are used (tests/cuda/convolution_test.cpp).
#include "kernels/simt/cudnn.h"

#include "tests/simt/support.h"

namespace govtrain::test {
namespace {

// One image of 4 x 5 with 2 channels, 3 filters of 3 x 3, padding 1.
struct Call {
  cudnnHandle_t handle;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t conv;
  static constexpr size_t kX = 40, kW = 54, kY = 60;

  Call() {
    REQUIRE(cudnnCreate(&handle) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnCreateTensorDescriptor(&x) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnCreateTensorDescriptor(&y) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnCreateFilterDescriptor(&w) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnCreateConvolutionDescriptor(&conv) == CUDNN_STATUS_SUCCESS);
    cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 2, 4, 5);
    cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 3, 4, 5);
    cudnnSetFilter4dDescriptor(w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, 3, 2, 3, 3);
    cudnnSetConvolution2dDescriptor(conv, 1, 1, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
  }
  ~Call() {
    CHECK(cudnnDestroyConvolutionDescriptor(conv) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnDestroyFilterDescriptor(w) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnDestroyTensorDescriptor(y) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnDestroyTensorDescriptor(x) == CUDNN_STATUS_SUCCESS);
    CHECK(cudnnDestroy(handle) == CUDNN_STATUS_SUCCESS);
  }
  cudnnStatus_t forward(const float* px, const float* pw, float* py, void* workspace, size_t bytes,
                        cudnnConvolutionFwdAlgo_t algo = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) const {
    const float one = 1.0f;
    const float zero = 0.0f;
    return cudnnConvolutionForward(handle, &one, x, px, w, pw, conv, algo, workspace, bytes, &zero, y, py);
  }
};

std::vector<float> ones(size_t n) { return std::vector<float>(n, 1.0f); }

}  // namespace

TEST_CASE("emulated cuDNN refuses what the library refuses") {
  Call c;
  const DeviceBuffer<float> x(ones(Call::kX)), w(ones(Call::kW)), y(Call::kY);
  const DeviceBuffer<unsigned char> workspace(80);
  CHECK(c.forward(x.get(), w.get(), y.get(), workspace.get(), 80) == CUDNN_STATUS_SUCCESS);
  CHECK(y.host()[0] == 8.0f);  // a corner: four of nine taps, two channels
  CHECK(c.forward(x.get(), w.get(), y.get(), workspace.get(), 79) == CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
  CHECK(c.forward(x.get(), w.get(), y.get(), nullptr, 80) == CUDNN_STATUS_BAD_PARAM);
  CHECK(c.forward(x.get(), w.get(), y.get(), nullptr, 0, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM) ==
        CUDNN_STATUS_SUCCESS);
  CHECK(c.forward(x.get(), w.get(), y.get(), nullptr, 0, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD) ==
        CUDNN_STATUS_NOT_SUPPORTED);
  cudnnSetTensor4dDescriptor(c.y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 3, 4, 4);
  CHECK(c.forward(x.get(), w.get(), y.get(), workspace.get(), 80) == CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  cudnnSetTensor4dDescriptor(c.y, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 3, 4, 5);
  CHECK(c.forward(x.get(), w.get(), y.get(), workspace.get(), 80) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(cudnnSetTensor4dDescriptor(c.y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 0, 3, 4, 5) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetConvolution2dDescriptor(c.conv, 0, 0, 0, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetStream(nullptr, nullptr) == CUDNN_STATUS_NOT_INITIALIZED);
}

TEST_CASE("emulated cuDNN proposes first what a caller may not take") {
  const Call c;
  int found = 0;
  cudnnConvolutionFwdAlgoPerf_t forward[4];
  REQUIRE(cudnnGetConvolutionForwardAlgorithm_v7(c.handle, c.x, c.w, c.conv, c.y, 4, &found, forward) ==
          CUDNN_STATUS_SUCCESS);
  REQUIRE(found == 3);
  CHECK(forward[0].status == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(forward[1].status == CUDNN_STATUS_SUCCESS);
  cudnnConvolutionBwdDataAlgoPerf_t data[1];
  REQUIRE(cudnnGetConvolutionBackwardDataAlgorithm_v7(c.handle, c.w, c.y, c.conv, c.x, 1, &found, data) ==
          CUDNN_STATUS_SUCCESS);
  REQUIRE(found == 1);
  CHECK(data[0].determinism == CUDNN_NON_DETERMINISTIC);
}

TEST_CASE("emulated cuDNN finds wrong memory, unwritten memory and streams without an order") {
  using enum simt::FaultKind;
  const Call c;
  const DeviceBuffer<float> x(ones(Call::kX)), w(ones(Call::kW)), y(Call::kY), empty(Call::kX);
  const auto run = [&](const float* px, float* py) {
    return c.forward(px, w.get(), py, nullptr, 0, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM);
  };
  expect_fault(out_of_bounds, {"cudnnConvolutionForward", "y: 240 bytes"}, [&] { run(x.get(), y.get() + 1); });
  const auto host = ones(Call::kX);
  expect_fault(out_of_bounds, {"x: 160 bytes"}, [&] { run(host.data(), y.get()); });
  expect_fault(unwritten, {"nobody"}, [&] { run(empty.get(), y.get()); });

  cudaStream_t one, two;
  REQUIRE(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(y.get(), 0, Call::kY * sizeof(float), one) == cudaSuccess);
  REQUIRE(cudnnSetStream(c.handle, two) == CUDNN_STATUS_SUCCESS);
  expect_fault(unsynchronised, {"cudaMemsetAsync", "cudnnConvolutionForward"}, [&] { run(x.get(), y.get()); });
  cudaStreamSynchronize(one);
  CHECK(run(x.get(), y.get()) == CUDNN_STATUS_SUCCESS);
  cudaDeviceSynchronize();
  cudaStreamDestroy(one);
  cudaStreamDestroy(two);
}

}  // namespace govtrain::test
