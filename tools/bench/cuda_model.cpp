// The paper model of a training step on CUDA: for each kernel the floating-point operations and the bytes that it must
// do and move, what the emulator counted, their ratio, and the time that the public peaks of two devices allow. It
// predicts a bound, not a measurement: nothing here runs on a device.
//   bench_cuda_model
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/ops.h"
#include "tools/bench/cuda_samples.h"

namespace govtrain {
namespace {

using cuda::Precision;
using samples::Amount;
using samples::Pointwise;

// NVIDIA A100 Tensor Core GPU data sheet (SXM, 80 GB) and NVIDIA H100 Tensor Core GPU data sheet (SXM); multiprocessors
// from the architecture papers. Dense rates: the H100 sheet gives those of tensor cores with sparsity, twice as much.
struct Device {
  const char* name;
  double multiprocessors, fp32, tf32, bf16, bandwidth;
};
constexpr Device kDevices[] = {{"A100", 108, 19.5e12, 156e12, 312e12, 2.039e12},
                               {"H100", 132, 67e12, 494.5e12, 989.5e12, 3.35e12}};

struct Model {
  std::string name;
  int layers;
  int64_t width;
  int heads;
  int64_t mlp;
  bool llama;  // rmsnorm, rope, swiglu; else layernorm, learned positions, gelu
  int64_t vocab;
  int context, examples;
};

constexpr Precision kPrecisions[] = {Precision::fp32, Precision::tf32, Precision::bf16};
constexpr const char* kNames[] = {"fp32", "tf32", "bf16"};

struct Row {
  std::string name;
  double calls, flops, bytes;     // that one call must do and move
  std::array<double, 3> blocks;   // by precision
  bool product;                   // its operands follow the precision; everything else is float32
  std::array<Amount, 3> counted;  // of one call, by precision

  double work(size_t p) const { return 2.0 * (counted[p].fma + counted[p].mma); }
  double seconds(const Device& d, size_t p) const {
    const double tensor = 2.0 * counted[p].mma / (p == 1 ? d.tf32 : d.bf16);
    const double other = 2.0 * counted[p].fma / d.fp32;
    return calls * std::max({tensor, other, bytes / d.bandwidth}) / std::min(1.0, blocks[p] / d.multiprocessors);
  }
};

double tiles(double n) { return std::ceil(n / cuda::kContractTile); }

class Step {
 public:
  explicit Step(const Model& m) : m_(m), rows_(static_cast<double>(m.examples) * m.context) {
    const double d = static_cast<double>(m.width);
    const double layers = m.layers;
    add_linears();
    add_attention();
    add_vectors();
    const double elements = rows_ * static_cast<double>(m.mlp);
    if (m.llama) {
      point("gated", layers, 3, Pointwise::gated, elements);
      point("gated dx", layers, 5, Pointwise::gated_dx, elements);
    } else {
      point("gelu", layers, 2, Pointwise::gelu, elements);
      point("gelu dx", layers, 3, Pointwise::gelu_dx, elements);
    }
    point("add", 4 * layers, 3, Pointwise::add, rows_ * d);
    const auto v = static_cast<double>(m.vocab);
    put("cross entropy", 1, 0, 8 * rows_ * v, rows_, samples::cross_entropy(rows_, m.vocab));
    put("adam", 1, 0, 28 * parameters(), parameters() / 512, samples::adam(parameters()));
    put("norms and clearing", 1, 0, 8 * parameters(), parameters() / 8192, samples::squares_and_zeros(parameters()));
  }

  void print() const {
    fmt::print("{}: {} layers, width {}, {} heads, mlp {}, vocabulary {}; {} examples of {} rows\n\n", m_.name,
               m_.layers, m_.width, m_.heads, m_.mlp, m_.vocab, m_.examples, m_.context);
    fmt::print("{:<24}{:>6}{:>9}{:>9}{:>6}{:>6}{:>6}{:>9}{:>9}{:>7}{:>7}{:>7}{:>8}\n", "work", "calls", "GFLOP",
               "counted", "ratio", kNames[1], kNames[2], "MB", "counted", "ratio", kNames[1], kNames[2], "blocks");
    for (const Row& r : all_) {
      const auto flops = [&](size_t p) {
        return r.flops > 0 && (p == 0 || r.product) ? fmt::format("{:.2f}", r.work(p) / r.flops) : "";
      };
      const auto bytes = [&](size_t p) {
        return p == 0 || r.product ? fmt::format("{:.2f}", r.counted[p].bytes() / r.bytes) : "";
      };
      fmt::print("{:<24}{:>6.0f}{:>9.3f}{:>9.3f}{:>6}{:>6}{:>6}{:>9.1f}{:>9.1f}{:>7}{:>7}{:>7}{:>8.0f}\n", r.name,
                 r.calls, 1e-9 * r.flops * r.calls, 1e-9 * r.work(0) * r.calls, flops(0), flops(1), flops(2),
                 1e-6 * r.bytes * r.calls, 1e-6 * r.counted[0].bytes() * r.calls, bytes(0), bytes(1), bytes(2),
                 std::ceil(r.blocks[0]));
    }
    fmt::print("\n{:<24}", "ms, share");
    each([](const Device& d, size_t p) { fmt::print("{:>15}", fmt::format("{} {}", d.name, kNames[p])); });
    fmt::print("\n");
    for (const Row& r : all_) {
      fmt::print("{:<24}", r.name);
      each([&](const Device& d, size_t p) {
        fmt::print("{:>9.3f}{:>6}", 1e3 * r.seconds(d, p), fmt::format("{:.1f}%", 100 * r.seconds(d, p) / total(d, p)));
      });
      fmt::print("\n");
    }
    fmt::print("{:<24}", "step");
    each([&](const Device& d, size_t p) { fmt::print("{:>9.3f}{:>6}", 1e3 * total(d, p), ""); });
    fmt::print("\n\n");
  }

 private:
  template <class F>
  static void each(const F& f) {
    for (const Device& d : kDevices) {
      for (size_t p = 0; p < 3; ++p) f(d, p);
    }
  }
  void put(const std::string& name, double calls, double flops, double bytes, double blocks, const Amount& counted) {
    all_.push_back({name, calls, flops, bytes, {blocks, blocks, blocks}, false, {counted, counted, counted}});
  }
  // counted(precision): what the kernel of that precision takes.
  template <class F>
  void put_product(const std::string& name, double calls, double flops, double bytes, double blocks, const F& counted) {
    all_.push_back({name, calls, flops, bytes, {blocks, blocks, blocks}, true, {}});
    for (size_t p = 0; p < 3; ++p) all_.back().counted[p] = counted(kPrecisions[p]);
  }
  double total(const Device& d, size_t p) const {
    double sum = 0;
    for (const Row& r : all_) sum += r.seconds(d, p);
    return sum;
  }
  double parameters() const {
    const auto d = static_cast<double>(m_.width);
    const auto per_layer = d * (4 * d + (m_.llama ? 3 : 2) * static_cast<double>(m_.mlp) + 2);
    return m_.layers * per_layer + d * static_cast<double>(m_.vocab + (m_.llama ? 0 : m_.context));
  }

  void point(const std::string& name, double calls, double values, Pointwise what, double elements) {
    put(name, calls, 0, 4 * values * elements, elements / 512, samples::pointwise(what, elements));
  }

  void add_linear(const std::string& name, double calls, int64_t d, int64_t p, bool tied) {
    const auto depth = static_cast<double>(d);
    const auto out = static_cast<double>(p);
    const std::string shape = fmt::format(" {}x{}", p, d);
    const double flops = 2 * rows_ * depth * out;
    const double operands = 4 * (rows_ * depth + rows_ * out);
    put_product(name + shape, calls, flops, operands + 4 * depth * out, tiles(rows_) * tiles(out),
                [&](Precision precision) { return samples::linear(precision, rows_, d, p); });
    put_product(name + " dx" + shape, calls, flops, operands + 4 * depth * out, tiles(rows_) * tiles(depth),
                [&](Precision precision) { return samples::linear_dx(precision, rows_, d, p); });
    const int64_t rows = int64_t{m_.examples} * m_.context;
    const int at_once = std::max(1, cuda::spread_examples(p, d, rows, m_.examples));
    put_product(name + " dW" + shape, calls, flops, operands + 8 * depth * out + (tied ? 4 * rows_ * depth : 0),
                tiles(depth) * tiles(out) * at_once,
                [&](Precision precision) { return samples::contract(precision, m_.examples, m_.context, p, d, tied); });
  }

  void add_linears() {
    const double layers = m_.layers;
    add_linear("qkvo", 4 * layers, m_.width, m_.width, false);
    add_linear("up", (m_.llama ? 2 : 1) * layers, m_.width, m_.mlp, false);
    add_linear("down", layers, m_.mlp, m_.width, false);
    add_linear("head", 1, m_.width, m_.vocab, true);
  }

  void add_attention() {
    const auto head_dim = static_cast<int>(m_.width / m_.heads);
    const double all = static_cast<double>(m_.examples) * m_.heads;
    const double product = all * m_.context * (m_.context + 1.0) * head_dim;  // causal
    const double matrix = 4 * rows_ * static_cast<double>(m_.width);
    const double lse = 4 * rows_ * m_.heads;
    const double layers = m_.layers;
    std::array<samples::Attention, 3> one;
    std::array<double, 3> blocks{};
    for (size_t p = 0; p < 3; ++p) {
      one[p] = samples::attention(kPrecisions[p], m_.context, m_.heads, head_dim);
      blocks[p] = all * std::ceil(m_.context / static_cast<double>(cuda::attention_tile(kPrecisions[p])));
    }
    const auto put_attention = [&](const char* name, double flops, double bytes, const auto& counted) {
      all_.push_back({name, layers, flops, bytes, blocks, true, {}});
      for (size_t p = 0; p < 3; ++p) all_.back().counted[p] = counted(one[p]) * all;
    };
    put_attention("attention", 2 * product, 4 * matrix + lse, [](const auto& a) { return a.forward; });
    // Five products; q, k, v, out and dout are read.
    put_attention("attention backward", 5 * product, 8 * matrix + lse,
                  [](const auto& a) { return a.delta + a.dq + a.dkv; });
    if (!m_.llama) return;
    put("rope", 4 * layers, 0, 2 * matrix, rows_, samples::rope(rows_, m_.heads, head_dim));
  }

  void add_vectors() {
    const auto d = static_cast<double>(m_.width);
    const double norms = 2 * m_.layers + 1;
    const double matrix = 4 * rows_ * d;
    put("norm", norms, 0, 2 * matrix, rows_ / 4, samples::norm(rows_, m_.width, !m_.llama));
    put("norm dx", norms, 0, 4 * matrix, rows_ / 4, samples::norm_dx(rows_, m_.width, !m_.llama));
    put("norm gain", norms, 0, 2 * matrix, std::ceil(d / 8), samples::contract_gain(m_.examples, m_.context, m_.width));
    const double tables = m_.llama ? 1 : 2;
    put("embedding", tables, 0, 2 * matrix, rows_, samples::embedding(rows_, m_.width));
    if (m_.llama) return;
    put("position gradient", 1, 0, matrix + 8 * m_.context * d, m_.context * std::ceil(d / 128),
        samples::contract_positions(m_.examples, m_.context, m_.width));
  }

  Model m_;
  double rows_;
  std::vector<Row> all_;
};

}  // namespace
}  // namespace govtrain

int main() {
  try {
    for (const govtrain::Model& m : {govtrain::Model{"quickstart", 4, 192, 6, 512, true, 2048, 256, 16},
                                     govtrain::Model{"as GPT-2, 124M", 12, 768, 12, 3072, false, 50257, 1024, 8}}) {
      govtrain::Step(m).print();
    }
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
