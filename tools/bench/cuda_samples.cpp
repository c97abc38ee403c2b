#include "tools/bench/cuda_samples.h"

#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/ops.h"

namespace govtrain::samples {
namespace {

using cuda::Precision;
constexpr int64_t kTile = cuda::kContractTile;

// Device memory for one sample, filled with one value.
class Memory {
 public:
  Memory() = default;
  ~Memory() {
    for (void* p : all_) cudaFree(p);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  template <class T>
  T* put(const std::vector<T>& v) {
    void* p = nullptr;
    if (cudaMalloc(&p, v.size() * sizeof(T)) != cudaSuccess) throw std::bad_alloc();
    all_.push_back(p);
    cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice);
    return static_cast<T*>(p);
  }
  template <class T>
  T* filled(int64_t n, T value) {
    return put(std::vector<T>(static_cast<size_t>(n), value));
  }
  MutView matrix(int64_t rows, int64_t cols, int64_t ld) { return {filled(rows * ld, 0.5f), rows, cols, ld}; }
  MutView matrix(int64_t rows, int64_t cols) { return matrix(rows, cols, cols); }

 private:
  std::vector<void*> all_;
};

// What the launches called `kernel` counted while `body` ran.
template <class Body>
Amount counted(const std::string& kernel, const Body& body) {
  simt::take_counts();
  body();
  Amount sum;
  bool found = false;
  for (const simt::Counts& c : simt::take_counts()) {
    if (c.kernel != kernel) continue;
    found = true;
    sum += {static_cast<double>(c.fma), static_cast<double>(c.mma), static_cast<double>(c.global_read),
            static_cast<double>(c.global_written)};
  }
  if (!found) throw std::runtime_error("cuda_model: nothing was launched as '" + kernel + "'");
  return sum;
}

double tiles(double rows, double cols) { return rows / kTile * (cols / kTile); }
// A short row that starts at the same place in a sector as one of `ld`.
int64_t short_ld(int64_t ld) { return kTile + ld % 8; }

// One tile of a product, its depth cut short: what is read and multiplied grows with it, what is written does not.
Amount product_tile(Precision precision, bool forward, int64_t depth, int64_t ld_a, int64_t ld_b, int64_t ld_c) {
  constexpr int64_t kDepth = 256;
  const int64_t sample = std::min(depth, kDepth);
  Memory m;
  const MutView a = m.matrix(kTile, sample, sample + (ld_a - sample) % 8);
  const MutView c = m.matrix(kTile, kTile, short_ld(ld_c));
  Amount one = forward ? counted("linear",
                                 [&] {
                                   const MutView b = m.matrix(kTile, sample, sample + (ld_b - sample) % 8);
                                   cuda::linear(a, b, nullptr, c, precision, nullptr);
                                 })
                       : counted("linear_dx", [&] {
                           const MutView b = m.matrix(sample, kTile, short_ld(ld_b));
                           cuda::linear_dx(a, b, c, false, precision, nullptr);
                         });
  const double longer = static_cast<double>(depth) / static_cast<double>(sample);
  one.fma *= longer;
  one.mma *= longer;
  one.read *= longer;
  return one;
}

// One tile of a gradient over `examples` of `length` rows.
Amount contract_tile(Precision precision, int examples, int length, int64_t p, int64_t d, bool scatter, bool spread) {
  Memory m;
  const int64_t rows = int64_t{examples} * length;
  std::vector<int32_t> offsets, index, order;
  for (int e = 0; e <= examples; ++e) offsets.push_back(e * length);
  for (int e = 0; e < examples; ++e) {
    for (int t = 0; t < length; ++t) {  // as a text: evenly over the table
      index.push_back(static_cast<int32_t>(int64_t{t} * p / length));
      order.push_back(e * length + t);
    }
  }
  cuda::OuterContraction c;
  c.factors[c.count++] = {m.matrix(rows, kTile, short_ld(p)), m.matrix(rows, kTile, short_ld(d))};
  if (scatter) c.factors[c.count++] = {m.matrix(rows, kTile, short_ld(d)), {}, m.put(index), m.put(order)};
  c.offsets = m.put(offsets);
  c.examples = examples;
  c.weight = m.filled(examples, 1.0f);
  c.grad = m.matrix(kTile, kTile, short_ld(d));
  c.norm2 = m.filled(examples, 0.0);
  c.scratch = m.filled(examples, 0.0);
  const std::string kernel = precision == Precision::fp32 ? "contract_fp32" : "contract_mma";
  const auto run = [&] { cuda::contract_outer(c, precision, nullptr); };
  if (!spread) return counted(kernel, run);
  c.spread_examples = examples;
  c.spread = m.filled(int64_t{examples} * kTile * kTile, 0.0f);
  return counted(kernel, run) + counted("add_spread", run);
}

Amount gain_columns(int examples, int length, int64_t d) {
  Memory m;
  const int64_t rows = int64_t{examples} * length;
  std::vector<int32_t> offsets;
  for (int e = 0; e <= examples; ++e) offsets.push_back(e * length);
  cuda::VectorContraction c;
  c.factors[c.count++] = {m.matrix(rows, d), m.matrix(rows, d), nullptr, m.filled(rows, 1.0f)};
  c.offsets = m.put(offsets);
  c.examples = examples;
  c.weight = m.filled(examples, 1.0f);
  c.grad = m.filled(d, 0.0f);
  c.columns = d;
  c.norm2 = m.filled(examples, 0.0);
  c.scratch = m.filled(cuda::contract_vector_scratch(d, examples), 0.0);
  return counted("contract_vector", [&] { cuda::contract_vector(c, nullptr); });
}

// f(examples, length) = base + examples * (each + length * row), from three samples.
template <class F>
Amount affine(int examples, int length, const F& f) {
  constexpr int kLength = 32;
  const Amount one = f(1, kLength);
  const Amount row = (f(1, 2 * kLength) - one) * (1.0 / kLength);
  const Amount example = f(2, kLength) - one;
  return one + example * (examples - 1) + row * (static_cast<double>(examples) * (length - kLength));
}

}  // namespace

Amount& Amount::operator+=(const Amount& o) {
  fma += o.fma;
  mma += o.mma;
  read += o.read;
  written += o.written;
  return *this;
}
Amount operator+(Amount a, const Amount& b) { return a += b; }
Amount operator-(const Amount& a, const Amount& b) { return a + b * -1.0; }
Amount operator*(const Amount& a, double f) { return {a.fma * f, a.mma * f, a.read * f, a.written * f}; }

Amount linear(Precision precision, double rows, int64_t d, int64_t p) {
  return product_tile(precision, true, d, d, d, p) * tiles(rows, static_cast<double>(p));
}
Amount linear_dx(Precision precision, double rows, int64_t d, int64_t p) {
  return product_tile(precision, false, p, p, d, d) * tiles(rows, static_cast<double>(d));
}

Amount contract(Precision precision, int examples, int length, int64_t p, int64_t d, bool scatter) {
  const bool spread = cuda::spread_examples(p, d, int64_t{examples} * length, examples) > 0;
  return affine(examples, length, [&](int e, int t) { return contract_tile(precision, e, t, p, d, scatter, spread); }) *
         tiles(static_cast<double>(p), static_cast<double>(d));
}

Amount contract_gain(int examples, int length, int64_t d) {
  return affine(examples, length, [&](int e, int t) { return gain_columns(e, t, d); });
}

Amount contract_positions(int examples, int length, int64_t d) {
  constexpr int kPositions = 4;
  Memory m;
  const MutView dy = m.matrix(int64_t{examples} * kPositions, d);
  std::vector<const float*> rows;
  std::vector<cuda::ScatterRun> runs;
  std::vector<cuda::ScatterSegment> segments;
  std::vector<int32_t> run_offsets{0};
  std::vector<int32_t> run_list;
  for (int32_t t = 0; t < kPositions; ++t) {
    const auto first = static_cast<int32_t>(runs.size());
    for (int32_t e = 0; e < examples; ++e) {
      const auto at = static_cast<int32_t>(rows.size());
      runs.push_back({at, at + 1, e});
      rows.push_back(dy.row(int64_t{e} * kPositions + t));
    }
    segments.push_back({first, static_cast<int32_t>(runs.size()), t});
  }
  for (int32_t e = 0; e < examples; ++e) {
    for (int32_t t = 0; t < kPositions; ++t) run_list.push_back(t * examples + e);
    run_offsets.push_back(static_cast<int32_t>(run_list.size()));
  }
  cuda::ScatterContraction c{};
  c.rows = m.put(rows);
  c.runs = m.put(runs);
  c.segments = m.put(segments);
  c.segment_count = kPositions;
  c.weight = m.filled(examples, 1.0f);
  c.grad = m.matrix(kPositions, d);
  c.norm2 = m.filled(examples, 0.0);
  c.run_offsets = m.put(run_offsets);
  c.run_list = m.put(run_list);
  c.scratch = m.filled(cuda::scatter_scratch(d, static_cast<int64_t>(runs.size())), 0.0);
  c.examples = examples;
  return counted("contract_scatter", [&] { cuda::contract_scatter(c, nullptr); }) *
         (static_cast<double>(length) / kPositions);
}

Attention attention(cuda::Precision precision, int length, int heads, int head_dim) {
  const int tile_rows = cuda::attention_tile(precision);
  // n tiles of queries take a n + b n (n + 1) / 2; from n = 2 and n = 4.
  const auto whole = [&](const Amount& two, const Amount& four) {
    const Amount b = (four - two * 2.0) * 0.25;
    const Amount a = (two - b * 3.0) * 0.5;
    const double n = static_cast<double>(length) / tile_rows;
    return a * n + b * (n * (n + 1.0) / 2.0);
  };
  const auto sample = [&](int tile_count) {
    Memory m;
    const int64_t rows = int64_t{tile_count} * tile_rows;
    const int64_t ld = int64_t{heads} * head_dim;
    std::vector<cuda::AttentionTile> list;
    for (int t = 0; t < tile_count; ++t) list.push_back({0, static_cast<int32_t>(rows), t * tile_rows});
    const cuda::AttentionShape shape{m.put(list), tile_count, 1, 1, head_dim, 0.1f};
    const auto head = [&] { return m.matrix(rows, head_dim, ld); };
    const MutView q = head(), k = head(), v = head(), out = head(), dout = head(), dq = head(), dk = head(),
                  dv = head();
    const MutView lse = m.matrix(rows, 1, heads);
    float* delta = m.filled(rows * heads, 0.0f);
    Attention a;
    const std::string kernel = precision == cuda::Precision::fp32 ? "attention" : "attention_mma";
    a.forward = counted(kernel, [&] { cuda::attention(q, k, v, shape, out, lse, precision, nullptr); });
    const auto back = [&] {
      cuda::attention_backward(q, k, v, out, lse, dout, shape, delta, dq, dk, dv, precision, nullptr);
    };
    a.delta = counted("attention_delta", back);
    a.dq = counted(kernel + "_dq", back);
    a.dkv = counted(kernel + "_dkv", back);
    return a;
  };
  const Attention two = sample(2);
  const Attention four = sample(4);
  return {whole(two.forward, four.forward), whole(two.delta, four.delta), whole(two.dq, four.dq),
          whole(two.dkv, four.dkv)};
}

namespace {
constexpr int64_t kRows = 4;  // of samples whose rows are alike
}

Amount norm(double rows, int64_t d, bool layer_norm) {
  Memory m;
  const MutView x = m.matrix(kRows, d), y = m.matrix(kRows, d);
  float* gain = m.filled(d, 1.0f);
  float* mean = m.filled(kRows, 0.0f);
  float* rstd = m.filled(kRows, 1.0f);
  const Amount some =
      layer_norm ? counted("layer_norm", [&] { cuda::layer_norm(x, gain, gain, 1e-5f, y, mean, rstd, nullptr); })
                 : counted("rms_norm", [&] { cuda::rms_norm(x, gain, 1e-5f, y, rstd, nullptr); });
  return some * (rows / kRows);
}

Amount norm_dx(double rows, int64_t d, bool layer_norm) {
  Memory m;
  const MutView x = m.matrix(kRows, d), dy = m.matrix(kRows, d), dx = m.matrix(kRows, d);
  float* gain = m.filled(d, 1.0f);
  float* mean = layer_norm ? m.filled(kRows, 0.0f) : nullptr;
  return counted(layer_norm ? "layer_norm_dx" : "rms_norm_dx",
                 [&] { cuda::norm_dx(dy, x, gain, mean, m.filled(kRows, 1.0f), dx, true, nullptr); }) *
         (rows / kRows);
}

Amount embedding(double rows, int64_t d) {
  Memory m;
  const MutView table = m.matrix(kRows, d), y = m.matrix(kRows, d);
  return counted("embedding",
                 [&] {
                   cuda::embedding(table, m.put(std::vector<int32_t>{3, 0, 2, 2}), y, false, nullptr);
                 }) *
         (rows / kRows);
}

Amount cross_entropy(double rows, int64_t vocab) {
  Memory m;
  const MutView logits = m.matrix(kRows, vocab);
  return counted(
             "cross_entropy",
             [&] { cuda::cross_entropy(logits, m.filled(kRows, 1), true, m.filled(kRows, 0.0), nullptr, nullptr); }) *
         (rows / kRows);
}

// A list of one piece of one block.
template <class Piece>
cuda::Pieces<Piece> alone(Memory& m, const Piece& piece) {
  return {m.put(std::vector<Piece>{piece}), m.put(std::vector<int32_t>{0, 1}), 1, 1};
}

Amount adam(double parameters) {
  constexpr int64_t n = cuda::kPart;
  Memory m;
  const AdamUpdate update{m.matrix(1, n),
                          m.filled(n, 1.0f),
                          m.filled(n, 0.0f),
                          m.filled(n, 0.0f),
                          {1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, true, 1}};
  const auto pieces = alone(m, cuda::piece_of(update));
  return counted("adam", [&] { cuda::adam(pieces, nullptr); }) * (parameters / n);
}

Amount squares_and_zeros(double parameters) {
  constexpr int64_t n = cuda::kPart;
  Memory m;
  const MutView x = m.matrix(1, n);
  const auto squared = alone(m, cuda::SquaresPiece{x});
  const cuda::SquareGroups group{m.put(std::vector<int32_t>{0, 1}), m.put(std::vector<int32_t>{0}), 1};
  const auto cleared = alone(m, cuda::FillPiece{x, 0.0f});
  return (counted("squares", [&] { cuda::add_squares(squared, group, m.filled(2, 0.0), m.filled(1, 0.0), nullptr); }) +
          counted("fill", [&] { cuda::fill(cleared, nullptr); })) *
         (parameters / n);
}

Amount rope(double rows, int heads, int head_dim) {
  Memory m;
  const int64_t d = int64_t{heads} * head_dim;
  const MutView x = m.matrix(kRows, d);
  const cuda::RopeTable table{m.filled(kRows * head_dim / 2, 1.0f), m.filled(kRows * head_dim / 2, 0.0f)};
  return counted("rope",
                 [&] {
                   cuda::rope(x, m.put(std::vector<int32_t>{0, 1, 2, 3}), table, head_dim, 1.0f, nullptr);
                 }) *
         (rows / kRows);
}

Amount pointwise(Pointwise what, double elements) {
  constexpr int64_t n = 512;
  Memory m;
  const MutView a = m.matrix(kRows, n), b = m.matrix(kRows, n), c = m.matrix(kRows, n), d = m.matrix(kRows, n),
                e = m.matrix(kRows, n);
  const auto one = [&] {
    switch (what) {
      case Pointwise::add:
        return counted("add", [&] { cuda::add(a, b, c, nullptr); });
      case Pointwise::gelu:
        return counted("activation", [&] { cuda::activation(Activation::gelu, a, c, nullptr); });
      case Pointwise::gelu_dx:
        return counted("activation_dx", [&] { cuda::activation_dx(Activation::gelu, a, b, c, nullptr); });
      case Pointwise::gated:
        return counted("gated", [&] { cuda::gated(Activation::silu, a, b, c, nullptr); });
      case Pointwise::gated_dx:
        return counted("gated_dx", [&] { cuda::gated_dx(Activation::silu, a, b, c, d, e, nullptr); });
    }
    return Amount{};
  };
  return one() * (elements / (kRows * n));
}

}  // namespace govtrain::samples
