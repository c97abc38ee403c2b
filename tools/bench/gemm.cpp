// Matrix kernels as a share of this machine's FMA peak, measured in the same process between the kernels.
// Usage: bench_gemm [rounds] [quick] (quick: the first four shapes only). GOVTRAIN_ISA chooses the instruction set.
//
// Every round times the peak and each kernel once, in turn, so that a change of clock or load meets all of them. One
// thread is timed in its own CPU time (so that other programs disturb less), all threads in wall time. Printed: the
// median GFLOP/s of useful work, the median share of the peak of the same round, and the spread of that share
// (first and ninth decile). Results are checked against double before anything is timed.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/rng.h"
#include "core/tensor.h"
#include "kernels/backend.h"
#include "kernels/cpu/peak.h"
#include "tools/bench/statistics.h"

namespace govtrain {
namespace {

constexpr int kRows = 8192;

double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

Tensor random_tensor(int64_t rows, int64_t cols, uint64_t seed) {
  Tensor t(rows, cols);
  const Rng rng(seed, Stream::test);
  for (int64_t i = 0; i < t.size(); ++i) t.data()[i] = rng.uniform(static_cast<uint64_t>(i)) - 0.5f;
  return t;
}

struct Kernel {
  std::string name;
  std::function<void()> run;
  std::vector<double> rate, share;
};

struct Shape {
  int64_t p, d;
};

// The operands of one layer of [p,d] on kRows rows.
struct Layer {
  Tensor x, w, bias, y, dy, dx, grad;
  explicit Layer(Shape s)
      : x(random_tensor(kRows, s.d, 1)),
        w(random_tensor(s.p, s.d, 2)),
        bias(random_tensor(1, s.p, 3)),
        y(kRows, s.p),
        dy(random_tensor(kRows, s.p, 4)),
        dx(kRows, s.d),
        grad(Tensor::zeros(s.p, s.d)) {}
};

void check(const std::string& what, double got, double expected, double magnitude) {
  if (std::abs(got - expected) <= 4e-6 * magnitude) return;
  fmt::print(stderr, "wrong result: {} is {}, expected {}\n", what, got, expected);
  std::exit(1);
}

// Spot checks against double, of a few elements of each result.
void check_results(Shape s, Layer& l, const Factor& factor, const Rows& rows, Contraction how) {
  Backend& b = cpu_backend();
  b.linear(l.x.cview(), l.w.cview(), {l.bias.data(), static_cast<size_t>(s.p)}, l.y.view());
  b.linear_dx(l.dy.cview(), l.w.cview(), l.dx.view(), false);
  b.fill({l.grad.data(), static_cast<size_t>(l.grad.size())}, 0.0f);
  b.contract({&factor, 1}, rows, how, l.grad.view());
  const Rng pick(9, Stream::test);
  for (uint32_t i = 0; i < 50; ++i) {
    const int64_t t = pick.bits(3 * i) % kRows;
    const int64_t o = pick.bits(3 * i + 1) % static_cast<uint32_t>(s.p);
    const int64_t j = pick.bits(3 * i + 2) % static_cast<uint32_t>(s.d);
    double y = static_cast<double>(l.bias.data()[o]);
    double dx = 0.0;
    double dw = 0.0;
    for (int64_t k = 0; k < s.d; ++k) y += double{l.x.cview().at(t, k)} * double{l.w.cview().at(o, k)};
    for (int64_t k = 0; k < s.p; ++k) dx += double{l.dy.cview().at(t, k)} * double{l.w.cview().at(k, j)};
    for (int64_t k = 0; k < kRows; ++k) dw += double{l.dy.cview().at(k, o)} * double{l.x.cview().at(k, j)};
    check("y", double{l.y.cview().at(t, o)}, y, static_cast<double>(s.d));
    check("dx", double{l.dx.cview().at(t, j)}, dx, static_cast<double>(s.p));
    check("dw", double{l.grad.cview().at(o, j)}, dw, kRows);
  }
}

double peak_rate(bool one_thread) {
  const clockid_t clock = one_thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  constexpr int64_t kRounds = 300000;
  std::vector<int64_t> flops(static_cast<size_t>(thread_count()));
  const double begin = seconds(clock);
  parallel_for(thread_count(), [&](int64_t i) { flops[static_cast<size_t>(i)] = cpu::run_fma_chains(kRounds); });
  const double time = seconds(clock) - begin;
  double total = 0.0;
  for (const int64_t f : flops) total += static_cast<double>(f);
  return total / time;
}

void measure(Shape s, int rounds) {
  Layer l(s);
  Backend& b = cpu_backend();
  const Factor factor{Factor::Kind::outer, l.dy.cview(), l.x.cview()};
  std::vector<Kernel> kernels;
  kernels.push_back({"linear",
                     [&] {
                       b.linear(l.x.cview(), l.w.cview(), {l.bias.data(), static_cast<size_t>(s.p)}, l.y.view());
                     },
                     {},
                     {}});
  kernels.push_back({"dx", [&] { b.linear_dx(l.dy.cview(), l.w.cview(), l.dx.view(), false); }, {}, {}});
  kernels.push_back({"dW plain", [&] { b.contract_plain({&factor, 1}, l.grad.view()); }, {}, {}});
  struct Routed {
    Rows rows;
    std::vector<float> weight;
    std::vector<double> norm2;
  };
  std::vector<Routed> routed;
  const int lengths[] = {16, 64, 128, 256};
  routed.reserve(std::size(lengths));
  for (const int length : lengths) {
    const auto examples = static_cast<size_t>(kRows / length);
    routed.push_back({Rows::of_lengths(std::vector<int32_t>(examples, length)), std::vector<float>(examples, 1.0f),
                      std::vector<double>(examples, 0.0)});
    Routed& r = routed.back();
    kernels.push_back({fmt::format("dW T={}", length),
                       [&] {
                         b.contract({&factor, 1}, r.rows, {r.weight, r.norm2, {}, {}}, l.grad.view());
                       },
                       {},
                       {}});
    check_results(s, l, factor, r.rows, {r.weight, r.norm2, {}, {}});
  }
  const bool one = thread_count() == 1;
  const clockid_t clock = one ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  const double flops = 2.0 * kRows * static_cast<double>(s.p * s.d);
  std::vector<double> peaks;
  for (int round = 0; round < rounds; ++round) {
    for (Kernel& k : kernels) {
      const double peak = peak_rate(one);
      const double begin = seconds(clock);
      k.run();
      const double rate = flops / (seconds(clock) - begin);
      k.rate.push_back(rate);
      k.share.push_back(rate / peak);
      peaks.push_back(peak);
    }
  }
  fmt::print("{:>5}x{:<4} threads {}  peak {:6.1f}", s.p, s.d, thread_count(), quantile(peaks, 0.5) * 1e-9);
  for (const Kernel& k : kernels) {
    fmt::print("  {} {:.0f} {:.0f}% [{:.0f}-{:.0f}]", k.name, quantile(k.rate, 0.5) * 1e-9,
               100 * quantile(k.share, 0.5), 100 * quantile(k.share, 0.1), 100 * quantile(k.share, 0.9));
  }
  fmt::print("\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace govtrain

int main(int argc, char** argv) {
  using namespace govtrain;
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 11;
  const bool quick = argc > 2 && std::string(argv[2]) == "quick";
  const int all = thread_count();
  fmt::print("instruction set {}, {} rows; name GFLOP/s share-of-peak [decile 1-9]\n", cpu_backend().instruction_set(),
             kRows);
  const std::vector<Shape> shapes = {{192, 192}, {512, 192}, {192, 512}, {2048, 192},
                                     {256, 256}, {512, 512}, {768, 768}, {3072, 768}};
  for (const int threads : {1, all}) {
    set_thread_count(threads);
    for (size_t i = 0; i < (quick ? 4 : shapes.size()); ++i) measure(shapes[i], rounds);
    if (all == 1) break;
  }
  return 0;
}
