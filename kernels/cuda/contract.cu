// The routed dW kernel in float32. A block owns a tile of the gradient: it reads the tile once, walks over the batch,
// and writes the tile once; or, where examples are spread (contract_spread.cu), it has one example and writes its sum.
// A thread owns 8 x 4 elements: their sum over the example in hand and their share of the gradient both stay in
// registers.
#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/contract_common.h"

namespace govtrain::cuda {
namespace {

constexpr int kTall = 8;
constexpr int kBroad = 4;
constexpr int kPlainPitch = kContractTile;

// The 8 x 4 elements of the thread at (row, col) of `m`, added to or stored; what lies outside is 0 and not touched.
__device__ void read_part(const MutView& m, int row, int col, float (&v)[kTall][kBroad]) {
  for (int i = 0; i < kTall; ++i) {
    for (int j = 0; j < kBroad; ++j) {
      v[i][j] = row + i < m.rows && col + j < m.cols ? load(m.data + (row + i) * m.ld + col + j) : 0.0f;
    }
  }
}

__device__ void write_part(const MutView& m, int row, int col, const float (&v)[kTall][kBroad]) {
  for (int i = 0; i < kTall; ++i) {
    for (int j = 0; j < kBroad; ++j) {
      if (row + i < m.rows && col + j < m.cols) store(m.data + (row + i) * m.ld + col + j, v[i][j]);
    }
  }
}

__device__ bool wide_part(const MutView& m, int row, int col) {
  return m.ld % 4 == 0 && reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && row + kTall <= m.rows &&
         col + kBroad <= m.cols;
}

__device__ void read_tile(const MutView& m, int row, int col, float (&v)[kTall][kBroad]) {
  if (!wide_part(m, row, col)) return read_part(m, row, col, v);
  for (int i = 0; i < kTall; ++i) {
    const float4 q = load(reinterpret_cast<const float4*>(m.data + (row + i) * m.ld + col));
    v[i][0] = q.x, v[i][1] = q.y, v[i][2] = q.z, v[i][3] = q.w;
  }
}

__device__ void write_tile(const MutView& m, int row, int col, const float (&v)[kTall][kBroad]) {
  if (!wide_part(m, row, col)) return write_part(m, row, col, v);
  for (int i = 0; i < kTall; ++i) {
    store(reinterpret_cast<float4*>(m.data + (row + i) * m.ld + col), make_float4(v[i][0], v[i][1], v[i][2], v[i][3]));
  }
}

__device__ void add_scaled(float w, const float (&tile)[kTall][kBroad], float (&to)[kTall][kBroad]) {
  for (int i = 0; i < kTall; ++i) {
    for (int j = 0; j < kBroad; ++j) to[i][j] = __fmaf_rn(w, tile[i][j], to[i][j]);
  }
}

// tile += a^T b over the staged rows, ascending.
__device__ void multiply_step(SharedSpan<float> a, SharedSpan<float> b, int rows, int ty, int tx,
                              float (&tile)[kTall][kBroad]) {
  count_fma(rows * kTall * kBroad);
  float4 sum[kTall];
  for (int i = 0; i < kTall; ++i) sum[i] = pack(tile[i]);
  for (int k = 0; k < rows; ++k) {
    const auto* pa = reinterpret_cast<const float4*>(a.at(k * kPlainPitch + ty * kTall));
    const float4 low = load(pa);
    const float4 high = load(pa + 1);
    const float4 q = load(reinterpret_cast<const float4*>(b.at(k * kPlainPitch + tx * kBroad)));
    const float va[kTall] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    for (int i = 0; i < kTall; ++i) sum[i] = fused(va[i], q, sum[i]);
  }
  for (int i = 0; i < kTall; ++i) unpack(sum[i], tile[i]);
}

// tile += the rows of a scatter factor that fall into the thread's part, in sorted order.
__device__ void scatter_step(const OuterFactor& f, const Step& s, int row, int col, float (&tile)[kTall][kBroad]) {
  for (int k = s.row; k < s.row + s.rows; ++k) {
    const int at = load(f.index + k) - row;
    if (at < 0 || at >= kTall) continue;
    const float* from = f.dy.data + load(f.order + k) * f.dy.ld + col;
    for (int j = 0; j < kBroad; ++j) {
      const float v = col + j < f.dy.cols ? load(from + j) : 0.0f;
      for (int i = 0; i < kTall; ++i) {  // every element is written: the index of a register must be known
        const float sum = tile[i][j] + v;
        tile[i][j] = i == at ? sum : tile[i][j];
      }
    }
  }
}

template <bool withheld>
__global__ void __launch_bounds__(kContractThreads) contract_fp32_kernel(OuterContraction c) {
  __shared__ SharedArray<float, 2 * kStepRows * kPlainPitch> a;
  __shared__ SharedArray<float, 2 * kStepRows * kPlainPitch> b;
  __shared__ SharedArray<double, kContractThreads / 32> part;
  constexpr int kStepSize = kStepRows * kPlainPitch;
  const int row0 = static_cast<int>(blockIdx.y) * kContractTile;
  const int col0 = static_cast<int>(blockIdx.x) * kContractTile;
  const int ty = static_cast<int>(threadIdx.x) / (kContractTile / kBroad);
  const int tx = static_cast<int>(threadIdx.x) % (kContractTile / kBroad);
  const int row = row0 + ty * kTall;
  const int col = col0 + tx * kBroad;
  float grad[kTall][kBroad] = {};
  float kept[kTall][kBroad] = {};
  float tile[kTall][kBroad] = {};
  if (c.spread == nullptr) read_tile(c.grad, row, col, grad);
  if (withheld) read_tile(c.withheld_grad, row, col, kept);

  const auto fetch = [&](const Step& s, int buffer) {
    const OuterFactor& f = c.factors[s.factor];
    if (f.index != nullptr) return;
    stage(f.dy, s.row, s.rows, row0, a.span().sub(buffer * kStepSize, kStepSize), kPlainPitch);
    stage(f.x, s.row, s.rows, col0, b.span().sub(buffer * kStepSize, kStepSize), kPlainPitch);
  };
  Walk now = start_walk(c);
  const bool any = !done(c, now);
  if (any) fetch(now.step, 0);
  __pipeline_commit();
  for (int buffer = 0; !done(c, now); buffer ^= 1) {
    Walk next = now;
    advance(c, next);
    if (!done(c, next)) fetch(next.step, buffer ^ 1);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    const Step& s = now.step;
    if (s.first) {
      for (auto& line : tile) {
        for (float& v : line) v = 0.0f;
      }
    }
    if (c.factors[s.factor].index != nullptr) {
      scatter_step(c.factors[s.factor], s, row, col, tile);
    } else {
      multiply_step(a.span().sub(buffer * kStepSize, kStepSize), b.span().sub(buffer * kStepSize, kStepSize), s.rows,
                    ty, tx, tile);
    }
    const bool norm = s.last && s.weight != 0.0f && c.norm2 != nullptr;
    if (s.last) {
      if (withheld && s.withheld != 0.0f) add_scaled(s.withheld, tile, kept);
      if (s.weight != 0.0f) add_scaled(s.weight, tile, grad);
    }
    if (norm) {
      float square = 0.0f;
      for (const auto& line : tile) {
        for (const float v : line) square = __fmaf_rn(v, v, square);
      }
      share_sum(static_cast<double>(square), part.span());
    }
    __syncthreads();
    if (norm && threadIdx.x == 0)
      store(c.scratch + int64_t{tile_number()} * c.examples + s.example, block_sum(part.span()));
    now = next;
  }
  __pipeline_wait_prior(0);
  if (c.spread != nullptr) {
    if (any) write_tile(spread_part(c), row, col, tile);
    return;
  }
  write_tile(c.grad, row, col, grad);
  if (withheld) write_tile(c.withheld_grad, row, col, kept);
}

constexpr int kNormThreads = 64;

__global__ void __launch_bounds__(kNormThreads) add_norms_kernel(Norms n, int parts) {
  const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (e >= n.examples || load(n.weight + e) == 0.0f) return;
  double sum = load(n.norm2 + e);
  for (int t = 0; t < parts; ++t) sum += load(n.scratch + int64_t{t} * n.examples + e);
  store(n.norm2 + e, sum);
}

unsigned tiles_of(int64_t n) { return static_cast<unsigned>((n + kContractTile - 1) / kContractTile); }

}  // namespace

void add_norms(const Norms& n, int parts, Stream stream) {
  if (n.norm2 == nullptr) return;
  launch("add_norms", add_norms_kernel, static_cast<unsigned>((n.examples + kNormThreads - 1) / kNormThreads),
         kNormThreads, 0, stream, n, parts);
}

void contract_fp32(const OuterContraction& c, dim3 grid, Stream stream) {
  if (c.withheld == nullptr || c.spread != nullptr) {
    launch("contract_fp32", contract_fp32_kernel<false>, grid, kContractThreads, 0, stream, c);
  } else {
    launch("contract_fp32_withheld", contract_fp32_kernel<true>, grid, kContractThreads, 0, stream, c);
  }
}

int spread_examples(int64_t p, int64_t d, int64_t rows, int examples) {
  constexpr int64_t kFewTiles = 32;
  constexpr int64_t kShortest = 64;            // rows of an example, on average
  constexpr int64_t kMost = int64_t{1} << 20;  // floats
  const int64_t tiles = int64_t{tiles_of(p)} * tiles_of(d);
  if (tiles > kFewTiles || examples < 2 || rows < kShortest * examples) return 0;
  return static_cast<int>(std::min<int64_t>(examples, std::max<int64_t>(1, kMost / (p * d))));
}

int64_t contract_scratch(int64_t p, int64_t d, int examples) {
  return static_cast<int64_t>(tiles_of(p)) * tiles_of(d) * examples;
}

void contract_outer(const OuterContraction& what, Precision precision, Stream stream, TensorCores by) {
  if (what.count > kMaxFactors)
    throw std::invalid_argument("[contract] more factors of one parameter than the kernel takes");
  if (what.examples == 0 || what.count == 0 || what.grad.size() == 0) return;
  dim3 grid(tiles_of(what.grad.cols), tiles_of(what.grad.rows));
  const int tiles = static_cast<int>(grid.x * grid.y);
  const auto run = [&](const OuterContraction& c) {
    if (precision == Precision::fp32) {
      contract_fp32(c, grid, stream);
    } else if (by == TensorCores::mma) {
      contract_mma(c, precision, grid, stream);
    } else {
      contract_wmma(c, precision, grid, stream);
    }
  };
  OuterContraction part = what;
  if (by == TensorCores::wmma || part.spread_examples == 0) part.spread = nullptr;
  if (part.spread == nullptr) {
    run(part);
  } else {
    for (; part.first < part.examples; part.first += part.spread_examples) {
      const int count = std::min(part.spread_examples, part.examples - part.first);
      grid.z = static_cast<unsigned>(count);
      run(part);
      add_spread(part, count, stream);
    }
  }
  add_norms({what.weight, what.norm2, what.scratch, what.examples}, tiles, stream);
}

}  // namespace govtrain::cuda
