// determinism: strict and fast. Strict: an example's rows have the same bits in any batch. Fast: plain products by
// cuBLASLt, within the bound of the op cases, the same bits again for the same shapes, and routed gradients untouched.
#include "kernels/cuda/backend.h"
#include "tests/cuda/rounding.h"
#include "tests/kernels/op_case_checks.h"

namespace govtrain::test {
namespace {

using cuda::Determinism;
using cuda::Precision;

constexpr Precision kAll[] = {Precision::fp32, Precision::tf32, Precision::bf16};

std::vector<OpCase> product_cases() {
  std::vector<OpCase> all;
  for (OpCase& op : op_cases()) {
    if (op.products > 0.0) all.push_back(std::move(op));
  }
  return all;
}

// y = x w^T on the device, for the first `rows` rows of the same x.
std::vector<float> first_row(Backend& k, int64_t rows, int64_t d, int64_t p) {
  Guarded x(rows, d, 0), w(p, d, 0);
  x.randomise(5);
  w.randomise(6);
  const auto on_device = [&](std::span<const float> v) { return Buffer<float>(v, k.allocator()); };
  const auto dx = on_device(x.span());
  const auto dw = on_device(w.span());
  const auto dy = on_device(std::vector<float>(static_cast<size_t>(rows * p)));
  k.linear({dx.span().data(), rows, d}, {dw.span().data(), p, d}, {}, {dy.span().data(), rows, p});
  std::vector<float> y = dy.host();
  y.resize(static_cast<size_t>(p));
  return y;
}

}  // namespace

TEST_CASE("fast products match the double reference, in any precision, and repeat") {
  for (const OpCase& op : product_cases()) {
    for (const Precision precision : kAll) {
      Backend& fast = cuda_backend(precision, Determinism::fast);
      INFO(op.name << ", " << name_of(precision));
      const Batch b = batch_of({31, 2, 34});
      check_forward(fast, op, b, library_unit(precision));
      if (op.backward) check_gradient(fast, op, b, library_unit(precision));
      Run one = prepare(op, b, 300);
      execute(fast, op, b, one);
      Run two = prepare(op, b, 300);
      execute(fast, op, b, two);
      for (size_t i = 0; i < one.out.size(); ++i) CHECK(same_bits(one.out[i].cview(), two.out[i].cview()));
    }
  }
}

TEST_CASE("a row does not depend on the batch when strict; when fast it may") {
  for (const Precision precision : kAll) {
    INFO(name_of(precision));
    const int64_t d = 300;
    const int64_t p = 70;
    Backend& strict = cuda_backend(precision, Determinism::strict);
    Backend& fast = cuda_backend(precision, Determinism::fast);
    CHECK(first_row(strict, 1, d, p) == first_row(strict, 200, d, p));
    // What a device's library does with these shapes is its own affair; the emulated one cuts k by the shape.
    if (cuda_is_emulated()) CHECK(first_row(fast, 1, d, p) != first_row(fast, 200, d, p));
  }
}

TEST_CASE("routed gradients have the same bits in strict and fast") {
  for (const Precision precision : kAll) {
    const Rows rows = Rows::of_lengths({20, 33, 5});
    const std::vector<float> weight = {1.0f, 0.0f, 0.5f};
    Guarded dy(58, 70, 0), x(58, 50, 0);
    dy.randomise(1);
    x.randomise(2);
    std::vector<std::vector<float>> grads;
    for (const Determinism determinism : {Determinism::strict, Determinism::fast}) {
      Backend& k = cuda_backend(precision, determinism);
      const auto on_device = [&](std::span<const float> v) { return Buffer<float>(v, k.allocator()); };
      const auto device_dy = on_device(dy.span());
      const auto device_x = on_device(x.span());
      const auto grad = on_device(std::vector<float>(70 * 50, 0.25f));
      const Factor f = outer({device_dy.span().data(), 58, 70}, {device_x.span().data(), 58, 50});
      Contraction how;
      how.weight = weight;
      k.contract({&f, 1}, rows, how, {grad.span().data(), 70, 50});
      grads.push_back(grad.host());
    }
    CHECK(grads[0] == grads[1]);
  }
}

}  // namespace govtrain::test
