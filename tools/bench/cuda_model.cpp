// The paper model of a training step on CUDA: for each kernel the floating-point operations and the bytes that it must
// do and move, what the emulator counted, their ratio, and the time that the public peaks of two devices allow. It
// predicts a bound, not a measurement: nothing here runs on a device.
//   bench_cuda_model
#include <fmt/format.h>

#include <algorithm>
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

struct Row {
  std::string name;
  double calls, flops, bytes;  // that one call must do and move
  Amount counted;              // of one call
  double blocks;
  Precision precision = Precision::fp32;
  bool alternative = false;  // to another row: no part of the step

  double work() const { return 2.0 * (counted.fma + counted.mma); }
  double seconds(const Device& d) const {
    const double peak = precision == Precision::fp32 ? d.fp32 : precision == Precision::tf32 ? d.tf32 : d.bf16;
    return calls * std::max(work() / peak, bytes / d.bandwidth) / std::min(1.0, blocks / d.multiprocessors);
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
    put({"cross entropy", 1, 0, 8 * rows_ * v, samples::cross_entropy(rows_, m.vocab), rows_});
    put({"adam", 1, 0, 28 * parameters(), samples::adam(parameters()), parameters() / 512});
    put({"norms and clearing", 1, 0, 8 * parameters(), samples::squares_and_zeros(parameters()), parameters() / 8192});
  }

  void print() const {
    fmt::print("{}: {} layers, width {}, {} heads, mlp {}, vocabulary {}; {} examples of {} rows\n\n", m_.name,
               m_.layers, m_.width, m_.heads, m_.mlp, m_.vocab, m_.examples, m_.context);
    fmt::print("{:<26}{:>6}{:>9}{:>9}{:>7}{:>9}{:>9}{:>7}{:>9}", "kernel", "calls", "GFLOP", "counted", "ratio", "MB",
               "counted", "ratio", "blocks");
    for (const Device& d : kDevices) fmt::print("{:>9}{:>7}", std::string(d.name) + " ms", "share");
    fmt::print("\n");
    for (const Row& r : all_) {
      fmt::print("{:<26}{:>6.0f}{:>9.3f}{:>9.3f}{:>7}{:>9.1f}{:>9.1f}{:>7.2f}{:>9.0f}", r.name, r.calls,
                 1e-9 * r.flops * r.calls, 1e-9 * r.work() * r.calls,
                 r.flops > 0 ? fmt::format("{:.2f}", r.work() / r.flops) : "-", 1e-6 * r.bytes * r.calls,
                 1e-6 * r.counted.bytes() * r.calls, r.counted.bytes() / r.bytes, std::ceil(r.blocks));
      for (const Device& d : kDevices) {
        fmt::print("{:>9.3f}{:>7}", 1e3 * r.seconds(d),
                   r.alternative ? "" : fmt::format("{:.1f}%", 100 * r.seconds(d) / total(d)));
      }
      fmt::print("\n");
    }
    fmt::print("{:<91}", "step");
    for (const Device& d : kDevices) fmt::print("{:>9.3f}{:>7}", 1e3 * total(d), "");
    fmt::print("\n\n");
  }

 private:
  void put(Row r) { all_.push_back(std::move(r)); }
  double total(const Device& d) const {
    double sum = 0;
    for (const Row& r : all_) sum += r.alternative ? 0.0 : r.seconds(d);
    return sum;
  }
  double parameters() const {
    const auto d = static_cast<double>(m_.width);
    const auto per_layer = d * (4 * d + (m_.llama ? 3 : 2) * static_cast<double>(m_.mlp) + 2);
    return m_.layers * per_layer + d * static_cast<double>(m_.vocab + (m_.llama ? 0 : m_.context));
  }

  void point(const std::string& name, double calls, double values, Pointwise what, double elements) {
    put({name, calls, 0, 4 * values * elements, samples::pointwise(what, elements), elements / 512});
  }

  void add_linear(const std::string& name, double calls, int64_t d, int64_t p, bool tied) {
    const auto depth = static_cast<double>(d);
    const auto out = static_cast<double>(p);
    const std::string shape = fmt::format(" {}x{}", p, d);
    const double flops = 2 * rows_ * depth * out;
    const double operands = 4 * (rows_ * depth + rows_ * out);
    put({name + shape, calls, flops, operands + 4 * depth * out, samples::linear(rows_, d, p),
         tiles(rows_) * tiles(out)});
    put({name + " dx" + shape, calls, flops, operands + 4 * depth * out, samples::linear_dx(rows_, d, p),
         tiles(rows_) * tiles(depth)});
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      const bool fp32 = precision == Precision::fp32;
      if (tied && !fp32) continue;
      const std::string word = fp32 ? "" : precision == Precision::tf32 ? " tf32" : " bf16";
      put({name + " dW" + shape + word, calls, flops, operands + 8 * depth * out + (tied ? 4 * rows_ * depth : 0),
           samples::contract(precision, m_.examples, m_.context, p, d, tied), tiles(depth) * tiles(out), precision,
           !fp32});
    }
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
    const auto one = samples::attention(m_.context, m_.heads, head_dim);
    const double all = static_cast<double>(m_.examples) * m_.heads;
    const double product = all * m_.context * (m_.context + 1.0) * head_dim;  // causal
    const double matrix = 4 * rows_ * static_cast<double>(m_.width);
    const double lse = 4 * rows_ * m_.heads;
    const double blocks = all * std::ceil(m_.context / static_cast<double>(cuda::kAttentionTile));
    const double layers = m_.layers;
    put({"attention", layers, 2 * product, 4 * matrix + lse, one.forward * all, blocks});
    // Five products; q, k, v, out and dout are read.
    put({"attention backward", layers, 5 * product, 8 * matrix + lse, (one.delta + one.dq + one.dkv) * all, blocks});
    if (!m_.llama) return;
    put({"rope", 4 * layers, 0, 2 * matrix, samples::rope(rows_, m_.heads, head_dim), rows_});
  }

  void add_vectors() {
    const auto d = static_cast<double>(m_.width);
    const double norms = 2 * m_.layers + 1;
    const double matrix = 4 * rows_ * d;
    put({"norm", norms, 0, 2 * matrix, samples::norm(rows_, m_.width, !m_.llama), rows_ / 4});
    put({"norm dx", norms, 0, 4 * matrix, samples::norm_dx(rows_, m_.width, !m_.llama), rows_ / 4});
    put({"norm gain", norms, 0, 2 * matrix, samples::contract_gain(m_.examples, m_.context, m_.width),
         std::ceil(d / 8)});
    const double tables = m_.llama ? 1 : 2;
    put({"embedding", tables, 0, 2 * matrix, samples::embedding(rows_, m_.width), rows_});
    if (m_.llama) return;
    put({"position gradient", 1, 0, matrix + 8 * m_.context * d,
         samples::contract_positions(m_.examples, m_.context, m_.width), m_.context * std::ceil(d / 128)});
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
