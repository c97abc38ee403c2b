// Convolutions on the device against double, over batches of images of different sizes: forward, the gradient
// of the data, and the filters' gradient as a routed contraction over patches, with its norms by image.
#include "kernels/cuda/convolution.h"

#include <algorithm>
#include <cmath>

#include "core/buffer.h"
#include "kernels/cuda/contract_host.h"
#include "tests/cuda/rounding.h"
#include "tests/cuda/support.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {
namespace {

using cuda::Convolution;
using cuda::ConvolutionShape;
using cuda::Determinism;
using cuda::ImageSize;
using cuda::Precision;

struct Batch {
  ConvolutionShape shape;
  std::vector<ImageSize> images;
  std::vector<int32_t> in, out;  // offsets of the images' rows in x and in y

  Batch(const ConvolutionShape& s, std::vector<ImageSize> all) : shape(s), images(std::move(all)), in{0}, out{0} {
    for (const ImageSize& i : images) {
      const ImageSize o = shape.output(i);
      in.push_back(in.back() + i.height * i.width);
      out.push_back(out.back() + o.height * o.width);
    }
  }
  // Calls f(row of y, row of x or -1 for outside, tap of the filter) for image n.
  template <class F>
  void taps(size_t n, const F& f) const {
    const ImageSize i = images[n];
    const ImageSize o = shape.output(i);
    for (int r = 0; r < o.height * o.width; ++r) {
      for (int tap = 0; tap < shape.height * shape.width; ++tap) {
        const int y = r / o.width * shape.stride[0] - shape.padding[0] + tap / shape.width * shape.dilation[0];
        const int x = r % o.width * shape.stride[1] - shape.padding[1] + tap % shape.width * shape.dilation[1];
        const bool inside = y >= 0 && y < i.height && x >= 0 && x < i.width;
        f(out[n] + r, inside ? in[n] + y * i.width + x : -1, tap);
      }
    }
  }
};

std::vector<Batch> batches() {
  const ConvolutionShape same{3, 5, 3, 3, {1, 1}, {1, 1}, {1, 1}};
  const ConvolutionShape point{4, 2, 1, 1, {1, 1}, {0, 0}, {1, 1}};
  const ConvolutionShape odd{2, 6, 3, 2, {2, 1}, {1, 0}, {2, 1}};
  return {{same, {{5, 7}, {5, 7}, {3, 3}, {8, 4}}}, {point, {{1, 1}, {2, 3}}}, {odd, {{3, 3}, {9, 6}, {9, 6}, {3, 3}}}};
}

Guarded numbers(int64_t rows, int64_t cols, uint64_t seed) {
  Guarded g(rows, cols, 0);
  g.randomise(seed);
  return g;
}

struct Problem {
  Guarded x, filter, dy;
  explicit Problem(const Batch& b)
      : x(numbers(b.in.back(), b.shape.channels, 1)),
        filter(numbers(b.shape.filters, b.shape.patch(), 2)),
        dy(numbers(b.out.back(), b.shape.filters, 3)) {}
};

Buffer<float> on_device(cuda::Device& device, Guarded& g) {
  return Buffer<float>(std::span<const float>(g.span()), device.allocator);
}
Buffer<float> empty(cuda::Device& device, View like) {
  return Buffer<float>(std::vector<float>(static_cast<size_t>(like.size()), -7.0f), device.allocator);
}
View view(const Buffer<float>& b, View like) { return {b.span().data(), like.rows, like.cols}; }
MutView mutable_view(const Buffer<float>& b, View like) { return {b.span().data(), like.rows, like.cols}; }

struct Result {
  std::vector<float> y, dx;
};

Result run(const Batch& b, Problem& q, Precision precision, Determinism determinism) {
  cuda::Device device;
  Convolution convolution(device, b.shape, precision, determinism);
  const auto x = on_device(device, q.x);
  const auto filter = on_device(device, q.filter);
  const auto dy = on_device(device, q.dy);
  const auto y = empty(device, q.dy.cview());
  const auto dx = empty(device, q.x.cview());
  convolution.forward(view(x, q.x.cview()), b.images, view(filter, q.filter.cview()), mutable_view(y, q.dy.cview()));
  convolution.data_gradient(view(dy, q.dy.cview()), b.images, view(filter, q.filter.cview()),
                            mutable_view(dx, q.x.cview()));
  return {y.host(), dx.host()};
}

// Sums of products in double, and of their magnitudes.
struct Sums {
  std::vector<double> sum, magnitude;
  explicit Sums(int64_t n) : sum(static_cast<size_t>(n)), magnitude(static_cast<size_t>(n)) {}
  void add(int64_t at, double product) {
    sum[static_cast<size_t>(at)] += product;
    magnitude[static_cast<size_t>(at)] += std::abs(product);
  }
  // n terms, each sum rounded once or cut off (as of a tensor core), operands with a relative error of `unit`.
  void check(const std::vector<float>& got, double n, double unit) const {
    REQUIRE(got.size() == sum.size());
    size_t wrong = 0;
    for (size_t i = 0; i < sum.size(); ++i) {
      const double error = std::abs(static_cast<double>(got[i]) - sum[i]);
      wrong += error <= (2.0 * (n + 1) * 0x1p-23 + (2.0 + unit) * unit) * magnitude[i] ? 0 : 1;
    }
    CHECK(wrong == 0);
  }
};

// What cuDNN may make of an operand: in bf16 too it is a tf32.
double unit_of(Precision precision) { return precision == Precision::fp32 ? 0.0 : library_unit(Precision::tf32); }

}  // namespace

TEST_CASE("convolutions match double over images of different sizes") {
  if (!cuda::has_cudnn()) return;
  for (const Batch& b : batches()) {
    Problem q(b);
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      Sums y(q.dy.cview().size());
      Sums dx(q.x.cview().size());
      for (size_t n = 0; n < b.images.size(); ++n) {
        b.taps(n, [&](int to, int from, int tap) {
          if (from < 0) return;
          for (int k = 0; k < b.shape.filters; ++k) {
            for (int c = 0; c < b.shape.channels; ++c) {
              const double w = static_cast<double>(q.filter.cview().at(k, tap * b.shape.channels + c));
              y.add(int64_t{to} * b.shape.filters + k, w * static_cast<double>(q.x.cview().at(from, c)));
              dx.add(int64_t{from} * b.shape.channels + c, w * static_cast<double>(q.dy.cview().at(to, k)));
            }
          }
        });
      }
      for (const Determinism determinism : {Determinism::strict, Determinism::fast}) {
        const Result got = run(b, q, precision, determinism);
        y.check(got.y, static_cast<double>(b.shape.patch()), unit_of(precision));
        dx.check(got.dx, static_cast<double>(b.shape.height * b.shape.width * b.shape.filters), unit_of(precision));
      }
    }
  }
}

TEST_CASE("an image's bits do not depend on the others, nor on the schedule") {
  if (!cuda::has_cudnn()) return;
  for (const Batch& b : batches()) {
    Problem q(b);
    const Result whole = run(b, q, Precision::fp32, Determinism::strict);
    for (uint64_t seed = 2; seed <= 5; ++seed) {
      set_schedule(seed);
      const Result again = run(b, q, Precision::fp32, Determinism::strict);
      CHECK(again.y == whole.y);
      CHECK(again.dx == whole.dx);
    }
    reset_schedule();
    for (size_t n = 0; n < b.images.size(); ++n) {
      const Batch alone(b.shape, {b.images[n]});
      Problem one(alone);
      std::copy_n(q.x.cview().row(b.in[n]), one.x.cview().size(), one.x.view().data);
      std::copy_n(q.dy.cview().row(b.out[n]), one.dy.cview().size(), one.dy.view().data);
      const Result got = run(alone, one, Precision::fp32, Determinism::strict);
      CHECK(std::equal(got.y.begin(), got.y.end(), whole.y.begin() + b.out[n] * b.shape.filters));
      CHECK(std::equal(got.dx.begin(), got.dx.end(), whole.dx.begin() + b.in[n] * b.shape.channels));
    }
  }
}

TEST_CASE("the filters' gradient is a routed contraction over patches, with a norm for each image") {
  for (const Batch& b : batches()) {
    Problem q(b);
    cuda::Device device;
    const auto x = on_device(device, q.x);
    const auto dy = on_device(device, q.dy);
    const View like{nullptr, b.out.back(), b.shape.patch()};
    const auto patches = empty(device, like);
    cuda::patches(device, view(x, q.x.cview()), b.images, b.shape, mutable_view(patches, like));

    const auto gathered = patches.host();
    std::vector<float> expected(gathered.size(), 0.0f);
    const size_t size = static_cast<size_t>(q.filter.cview().size());
    std::vector<float> weight(b.images.size());
    std::vector<double> square(b.images.size());
    Sums grad(static_cast<int64_t>(size));
    for (size_t n = 0; n < b.images.size(); ++n) {
      weight[n] = n == 1 ? 0.0f : 0.5f + static_cast<float>(n);
      std::vector<double> mine(size);
      b.taps(n, [&](int to, int from, int tap) {
        if (from < 0) return;
        for (int c = 0; c < b.shape.channels; ++c) {
          const int64_t column = int64_t{tap} * b.shape.channels + c;
          expected[static_cast<size_t>(to * b.shape.patch() + column)] = q.x.cview().at(from, c);
          for (int k = 0; k < b.shape.filters; ++k) {
            const double product =
                static_cast<double>(q.dy.cview().at(to, k)) * static_cast<double>(q.x.cview().at(from, c));
            mine[static_cast<size_t>(k * b.shape.patch() + column)] += product;
            grad.add(k * b.shape.patch() + column, static_cast<double>(weight[n]) * product);
          }
        }
      });
      if (n != 1) {
        for (const double v : mine) square[n] += v * v;
      }
    }
    CHECK(gathered == expected);

    const Buffer<float> filter_grad(std::vector<float>(size, 0.0f), device.allocator);
    const Buffer<double> norm2(std::vector<double>(b.images.size(), 0.0), device.allocator);
    Factor f;
    f.dy = view(dy, q.dy.cview());
    f.x = view(patches, like);
    Contraction how;
    how.weight = weight;
    how.norm2 = norm2.span();
    cuda::contract(device, Precision::fp32, {&f, 1}, Rows(b.out), how, mutable_view(filter_grad, q.filter.cview()));
    grad.check(filter_grad.host(), static_cast<double>(b.out.back()) + static_cast<double>(b.images.size()), 0.0);
    const auto norms = norm2.host();
    for (size_t n = 0; n < norms.size(); ++n) CHECK(std::abs(norms[n] - square[n]) <= 1e-5 * square[n]);
  }
}

TEST_CASE("a convolution names what it cannot take") {
  if (!cuda::has_cudnn()) return;
  cuda::Device device;
  const ConvolutionShape shape{2, 3, 3, 3, {1, 1}, {0, 0}, {1, 1}};
  CHECK_THROWS_WITH(shape.output({5, 2}), Catch::Contains("5 x 2") && Catch::Contains("3 x 3"));
  Convolution convolution(device, shape, Precision::fp32, Determinism::strict);
  const std::vector<ImageSize> images{{4, 4}};
  Guarded x(16, 2, 0), filter(3, 18, 0), y(4, 3, 0);
  CHECK_THROWS_WITH(convolution.forward({x.cview().data, 16, 2, 5}, images, filter.cview(), y.view()),
                    Catch::Contains("x; expected a dense matrix of 16 x 2, got 16 x 2 with rows 5 apart"));
  CHECK_THROWS_WITH(convolution.forward(x.cview(), images, filter.cview(), {y.view().data, 3, 3}),
                    Catch::Contains("expected a dense matrix of 4 x 3"));
}

}  // namespace govtrain::test
