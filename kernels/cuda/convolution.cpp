#include "kernels/cuda/convolution.h"

#include <fmt/format.h>

#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/patches.h"

#if !defined(GOVTRAIN_CUDA_TOOLKIT)
#include "kernels/simt/cudnn.h"
#elif defined(GOVTRAIN_CUDNN)
#include <cudnn.h>
#endif

namespace govtrain::cuda {

ImageSize ConvolutionShape::output(ImageSize input) const {
  const auto along = [&](int size, int kernel, int i) {
    const int span = size + 2 * padding[i] - (dilation[i] * (kernel - 1) + 1);
    if (span < 0) {
      throw Error("convolution",
                  "an image of {} x {} with padding {} and {}; expected one that holds the filter of {} x {}",
                  input.height, input.width, padding[0], padding[1], height, width);
    }
    return 1 + span / stride[i];
  };
  return {along(input.height, height, 0), along(input.width, width, 1)};
}

void patches(Device& device, View x, std::span<const ImageSize> images, const ConvolutionShape& shape, MutView out) {
  std::vector<PatchOrigin> origins;
  origins.reserve(static_cast<size_t>(out.rows));
  int32_t first = 0;
  for (const ImageSize& image : images) {
    const ImageSize size = shape.output(image);
    for (int line = 0; line < size.height; ++line) {
      for (int column = 0; column < size.width; ++column) {
        origins.push_back({first, image.height, image.width, line * shape.stride[0] - shape.padding[0],
                           column * shape.stride[1] - shape.padding[1]});
      }
    }
    first += image.height * image.width;
  }
  Packet packet(device);
  const auto at = packet.add(origins);
  packet.send();
  gather_patches(x, packet.at(at), {shape.channels, shape.width, {shape.dilation[0], shape.dilation[1]}}, out,
                 device.stream);
}

#if !defined(GOVTRAIN_CUDA_TOOLKIT) || defined(GOVTRAIN_CUDNN)

bool has_cudnn() { return true; }

namespace {

constexpr size_t kMostWorkspace = size_t{256} << 20;

void check(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) throw Error("cudnn", "{}: {}", what, cudnnGetErrorString(status));
}

void expect_dense(const char* name, View m, int64_t rows, int64_t cols) {
  if (m.rows == rows && m.cols == cols && m.ld == cols) return;
  throw Error("convolution", "{}; expected a dense matrix of {} x {}, got {} x {} with rows {} apart", name, rows, cols,
              m.rows, m.cols, m.ld);
}

// A descriptor of the library; make and end are its functions for it.
template <class T, auto make, auto end>
class Descriptor {
 public:
  Descriptor() { check(make(&value_), "descriptor"); }
  ~Descriptor() { end(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator T() const { return value_; }  // NOLINT: stands for the handle

 private:
  T value_ = nullptr;
};
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;
using Handle = Descriptor<cudnnHandle_t, cudnnCreate, cudnnDestroy>;

// The first algorithm of those that the library proposes which is deterministic and keeps to the chosen mathematics.
template <class Perf>
Perf take(const std::vector<Perf>& proposed, cudnnMathType_t math, const char* what) {
  for (const Perf& p : proposed) {
    const bool exact = p.mathType == CUDNN_FMA_MATH || math != CUDNN_FMA_MATH;
    if (p.status == CUDNN_STATUS_SUCCESS && p.determinism == CUDNN_DETERMINISTIC && exact && p.memory <= kMostWorkspace)
      return p;
  }
  std::string seen;
  for (const Perf& p : proposed) {
    seen += fmt::format("{}{}: status {}, determinism {}, mathematics {}, {} bytes", seen.empty() ? "" : "; ",
                        static_cast<int>(p.algo), static_cast<int>(p.status), static_cast<int>(p.determinism),
                        static_cast<int>(p.mathType), p.memory);
  }
  throw Error("cudnn", "{}: expected a deterministic algorithm for this shape, got {}", what,
              seen.empty() ? "none" : seen);
}

}  // namespace

class Convolution::Library {
 public:
  Library(const Device& device, const ConvolutionShape& s, Precision precision)
      : math_(precision == Precision::fp32 ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH) {
    check(cudnnSetStream(handle, device.own), "stream");
    check(cudnnSetFilter4dDescriptor(filter, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, s.filters, s.channels, s.height,
                                     s.width),
          "filter");
    check(cudnnSetConvolution2dDescriptor(convolution, s.padding[0], s.padding[1], s.stride[0], s.stride[1],
                                          s.dilation[0], s.dilation[1], CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
          "convolution");
    check(cudnnSetConvolutionMathType(convolution, math_), "mathematics");
  }
  cudnnMathType_t math() const { return math_; }

  Handle handle;
  FilterDescriptor filter;
  ConvolutionDescriptor convolution;

 private:
  cudnnMathType_t math_;
};

struct Convolution::Plan {
  TensorDescriptor x, y;
  cudnnConvolutionFwdAlgoPerf_t forward;
  cudnnConvolutionBwdDataAlgoPerf_t data;
};

Convolution::Convolution(Device& device, const ConvolutionShape& shape, Precision precision, Determinism determinism)
    : device_(&device),
      shape_(shape),
      determinism_(determinism),
      library_(std::make_unique<Library>(device, shape, precision)) {}
Convolution::~Convolution() = default;

Convolution::Plan& Convolution::plan_for(int count, ImageSize image) {
  auto& plan = plans_[{count, image.height, image.width}];
  if (plan) return *plan;
  auto made = std::make_unique<Plan>();
  const ImageSize out = shape_.output(image);
  check(cudnnSetTensor4dDescriptor(made->x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, count, shape_.channels, image.height,
                                   image.width),
        "images");
  check(cudnnSetTensor4dDescriptor(made->y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, count, shape_.filters, out.height,
                                   out.width),
        "images");
  Library& l = *library_;
  constexpr int kMost = 16;
  int found = 0;
  std::vector<cudnnConvolutionFwdAlgoPerf_t> forward(kMost);
  check(cudnnGetConvolutionForwardAlgorithm_v7(l.handle, made->x, l.filter, l.convolution, made->y, kMost, &found,
                                               forward.data()),
        "algorithms of forward");
  forward.resize(static_cast<size_t>(found));
  made->forward = take(forward, l.math(), "forward");
  std::vector<cudnnConvolutionBwdDataAlgoPerf_t> data(kMost);
  check(cudnnGetConvolutionBackwardDataAlgorithm_v7(l.handle, l.filter, made->y, l.convolution, made->x, kMost, &found,
                                                    data.data()),
        "algorithms of the data gradient");
  data.resize(static_cast<size_t>(found));
  made->data = take(data, l.math(), "data gradient");
  plan = std::move(made);
  return *plan;
}

namespace {

// Calls f(count, image, row of x, row of y) for each group of images that goes into one call.
template <class F>
void for_groups(std::span<const ImageSize> images, const ConvolutionShape& shape, Determinism determinism, const F& f) {
  int64_t x = 0;
  int64_t y = 0;
  for (size_t i = 0; i < images.size();) {
    const ImageSize image = images[i];
    const ImageSize out = shape.output(image);
    int count = 1;
    const auto same = [&](const ImageSize& o) { return o.height == image.height && o.width == image.width; };
    while (determinism == Determinism::fast && i + static_cast<size_t>(count) < images.size() &&
           same(images[i + static_cast<size_t>(count)])) {
      ++count;
    }
    f(count, image, x, y);
    x += int64_t{count} * image.height * image.width;
    y += int64_t{count} * out.height * out.width;
    i += static_cast<size_t>(count);
  }
}

struct Positions {
  int64_t x = 0;
  int64_t y = 0;
};
Positions positions(std::span<const ImageSize> images, const ConvolutionShape& shape) {
  Positions p;
  for (const ImageSize& image : images) {
    const ImageSize out = shape.output(image);
    p.x += int64_t{image.height} * image.width;
    p.y += int64_t{out.height} * out.width;
  }
  return p;
}

constexpr float kOne = 1.0f;
constexpr float kZero = 0.0f;

}  // namespace

void Convolution::forward(View x, std::span<const ImageSize> images, View filter, MutView y) {
  const Positions p = positions(images, shape_);
  expect_dense("x", x, p.x, shape_.channels);
  expect_dense("y", y, p.y, shape_.filters);
  expect_dense("filter", filter, shape_.filters, shape_.patch());
  device_->recorder.flush();
  for_groups(images, shape_, determinism_, [&](int count, ImageSize image, int64_t from, int64_t to) {
    const Plan& plan = plan_for(count, image);
    const Scratch<unsigned char> workspace(*device_, static_cast<int64_t>(plan.forward.memory));
    check(cudnnConvolutionForward(library_->handle, &kOne, plan.x, x.row(from), library_->filter, filter.data,
                                  library_->convolution, plan.forward.algo, workspace.get(), plan.forward.memory,
                                  &kZero, plan.y, y.row(to)),
          "forward");
  });
}

void Convolution::data_gradient(View dy, std::span<const ImageSize> images, View filter, MutView dx) {
  const Positions p = positions(images, shape_);
  expect_dense("dx", dx, p.x, shape_.channels);
  expect_dense("dy", dy, p.y, shape_.filters);
  expect_dense("filter", filter, shape_.filters, shape_.patch());
  device_->recorder.flush();
  for_groups(images, shape_, determinism_, [&](int count, ImageSize image, int64_t to, int64_t from) {
    const Plan& plan = plan_for(count, image);
    const Scratch<unsigned char> workspace(*device_, static_cast<int64_t>(plan.data.memory));
    check(cudnnConvolutionBackwardData(library_->handle, &kOne, library_->filter, filter.data, plan.y, dy.row(from),
                                       library_->convolution, plan.data.algo, workspace.get(), plan.data.memory, &kZero,
                                       plan.x, dx.row(to)),
          "data gradient");
  });
}

#else  // a build for devices without cuDNN

bool has_cudnn() { return false; }

class Convolution::Library {};
struct Convolution::Plan {};

Convolution::Convolution(Device&, const ConvolutionShape&, Precision, Determinism) {
  throw Error("convolution", "this build has no cuDNN; expected cudnn.h and libcudnn where CMake looks for them");
}
Convolution::~Convolution() = default;
void Convolution::forward(View, std::span<const ImageSize>, View, MutView) {}
void Convolution::data_gradient(View, std::span<const ImageSize>, View, MutView) {}

#endif

}  // namespace govtrain::cuda
