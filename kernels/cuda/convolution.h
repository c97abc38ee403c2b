// Convolutions of images by cuDNN, and the patches over which the gradient of their filters is an outer factor. Rows
// are positions: a batch of images is [positions, channels], one image after another, line by line, and images may
// differ in size. A filter is a row of [filters, height * width * channels], in the order of a patch. All matrices are
// device memory in float32. Not here: bias and activation, which are ops of their own; the filters' gradient, which
// contract() makes of {dy, patches}, example by example.
#pragma once

#include <map>
#include <memory>
#include <span>

#include "core/view.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/precision.h"

namespace govtrain::cuda {

struct ImageSize {
  int height, width;
};

struct ConvolutionShape {
  int channels, filters;    // columns of x, of y
  int height, width;        // of the filter
  int stride[2] = {1, 1};   // along height, width; so the following
  int padding[2] = {0, 0};  // zeros on each side
  int dilation[2] = {1, 1};

  // Columns of the filter matrix and of the patches.
  int64_t patch() const { return int64_t{height} * width * channels; }
  // Of y, for an image of x. Throws Error when the filter does not fit into the padded image.
  ImageSize output(ImageSize input) const;
};

// Whether this build has cuDNN.
bool has_cudnn();

// Takes only algorithms that cuDNN calls deterministic. strict: one call for each image, so an image's bits depend on
// nothing else; fast: one call for neighbours of one size. fp32 multiplies float32; tf32 and bf16 both allow tf32, the
// only rounding of float32 images that cuDNN offers beside half precision. Constructors and methods throw Error for
// what cuDNN refuses, for matrices whose rows are not dense, and in a build that has no cuDNN.
class Convolution {
 public:
  Convolution(Device& device, const ConvolutionShape& shape, Precision precision, Determinism determinism);
  ~Convolution();
  Convolution(const Convolution&) = delete;
  Convolution& operator=(const Convolution&) = delete;

  // y = x * filter (a cross-correlation, as networks have it). Overwrites.
  void forward(View x, std::span<const ImageSize> images, View filter, MutView y);
  // dx: the gradient of x. `images`: sizes of x. Overwrites.
  void data_gradient(View dy, std::span<const ImageSize> images, View filter, MutView dx);

 private:
  class Library;
  struct Plan;
  Plan& plan_for(int count, ImageSize image);

  Device* device_;
  ConvolutionShape shape_;
  Determinism determinism_;
  std::unique_ptr<Library> library_;
  std::map<std::tuple<int, int, int>, std::unique_ptr<Plan>> plans_;  // by count, height, width
};

// out[positions of y, shape.patch()] = the values of x under the filter at each position: (line, column, channel) of
// the filter; 0 outside of the image. patches.cu.
void patches(Device& device, View x, std::span<const ImageSize> images, const ConvolutionShape& shape, MutView out);

}  // namespace govtrain::cuda
