// Matrix kernels on the CUDA device: the routed parameter gradient, with weights and norms, for examples of T rows,
// against the plain one of the same rows, and the forward and input-gradient products. Interleaved in one process;
// medians. Checks that all weights 1 give the plain gradient within the bound of its sums.
//   bench_cuda_dw [ROUNDS] [ROWS]
// In an emulated build the times are those of the emulator.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <vector>

#include "core/buffer.h"
#include "core/rng.h"
#include "core/tensor.h"
#include "kernels/cuda/backend.h"
#include "tools/bench/statistics.h"

namespace govtrain {
namespace {

struct Shape {
  int64_t p, d;
};

Tensor random_tensor(int64_t rows, int64_t cols, uint64_t seed, Allocator& allocator) {
  std::vector<float> v(static_cast<size_t>(rows * cols));
  const Rng rng(seed, Stream::test);
  for (size_t i = 0; i < v.size(); ++i) v[i] = rng.uniform(i) - 0.5f;
  return Tensor::of(rows, cols, v, allocator);
}

struct Kernel {
  std::string name;
  std::function<void()> run;
  std::vector<double> seconds;
};

// Waits for the device: its work is queued in order, and this reads the last result.
void wait(const Tensor& t) {
  float one = 0;
  Backend& b = cuda_backend();
  b.allocator().read(&one, t.data(), sizeof(one));
}

void check_same(const Tensor& plain, const Tensor& routed, int rows) {
  const Tensor a = plain.host();
  const Tensor b = routed.host();
  // Sums of `rows` products of magnitude 1/4, in two orders.
  const double bound = 2 * 4 * std::sqrt(static_cast<double>(rows)) * 0x1p-24 * 0.25 * rows;
  for (int64_t i = 0; i < a.size(); ++i) {
    if (std::abs(double{a.data()[i]} - double{b.data()[i]}) <= bound) continue;
    throw std::runtime_error(fmt::format("bench_cuda_dw: check failed: element {} is {} plain and {} routed; bound {}",
                                         i, a.data()[i], b.data()[i], bound));
  }
}

void measure(Shape s, int rows_total, int rounds) {
  Backend& b = cuda_backend();
  Allocator& memory = b.allocator();
  const Tensor x = random_tensor(rows_total, s.d, 1, memory);
  const Tensor w = random_tensor(s.p, s.d, 2, memory);
  const Tensor dy = random_tensor(rows_total, s.p, 3, memory);
  const Tensor y(rows_total, s.p, memory);
  const Tensor dx(rows_total, s.d, memory);
  const Tensor grad = Tensor::zeros(s.p, s.d, memory);
  const Factor factor{Factor::Kind::outer, dy.cview(), x.cview()};
  std::vector<Kernel> kernels;
  kernels.push_back({"linear",
                     [&] {
                       b.linear(x.cview(), w.cview(), {}, y.view());
                       wait(y);
                     },
                     {}});
  kernels.push_back({"dx",
                     [&] {
                       b.linear_dx(dy.cview(), w.cview(), dx.view(), false);
                       wait(dx);
                     },
                     {}});
  kernels.push_back({"plain",
                     [&] {
                       b.contract_plain({&factor, 1}, grad.view());
                       wait(grad);
                     },
                     {}});
  const Tensor plain = Tensor::zeros(s.p, s.d, memory);
  b.contract_plain({&factor, 1}, plain.view());
  for (const int length : {64, 256, 1024}) {
    if (length > rows_total) continue;
    const auto examples = static_cast<size_t>(rows_total / length);
    const Rows rows = Rows::of_lengths(std::vector<int32_t>(examples, length));
    const std::vector<float> weight(examples, 1.0f);
    const auto norm2 =
        std::make_shared<Buffer<double>>(std::span<const double>(std::vector<double>(examples, 0.0)), memory);
    const auto run = [&b, &factor, rows, weight, norm2](const Tensor& to) {
      b.contract({&factor, 1}, rows, {weight, norm2->span(), {}, {}}, to.view());
      wait(to);
    };
    const Tensor routed = Tensor::zeros(s.p, s.d, memory);
    run(routed);
    check_same(plain, routed, rows_total);
    kernels.push_back({fmt::format("T={}", length), [run, grad] { run(grad); }, {}});
  }
  for (int round = -1; round < rounds; ++round) {
    for (Kernel& k : kernels) {
      const auto begin = std::chrono::steady_clock::now();
      k.run();
      const double t = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (round >= 0) k.seconds.push_back(t);
    }
  }
  const double flops = 2.0 * rows_total * static_cast<double>(s.p * s.d);
  const double base = quantile(kernels[2].seconds, 0.5);
  fmt::print("{:>9}", fmt::format("{}x{}", s.p, s.d));
  for (size_t i = 0; i < kernels.size(); ++i) {
    const double t = quantile(kernels[i].seconds, 0.5);
    fmt::print("  {} {:.3f} ms {:.2f} TFLOP/s", kernels[i].name, 1e3 * t, 1e-12 * flops / t);
    if (i > 2) fmt::print(" {:.2f}x plain", t / base);
  }
  fmt::print("\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace govtrain

int main(int argc, char** argv) {
  using namespace govtrain;
  try {
    const int rounds = argc > 1 ? std::max(1, std::stoi(argv[1])) : 21;
    const int rows = argc > 2 ? std::max(64, std::stoi(argv[2])) : 8192;
    fmt::print("{}, {} rows; the gradient: plain, and routed for examples of T rows\n",
               cuda_backend().instruction_set(), rows);
    for (const Shape s : {Shape{192, 192}, Shape{768, 768}, Shape{3072, 768}, Shape{768, 3072}}) {
      measure(s, rows, rounds);
    }
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
