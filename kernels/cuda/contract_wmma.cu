// The routed dW kernel on tensor cores by nvcuda::wmma: what contract_mma.cu is held to. A block of four warps owns a
// tile of the gradient, each warp a quarter of it in accumulator fragments: the sum over the example in hand and the
// gradient side by side. Norm and weighting are elementwise on fragments, so nothing here knows which element a lane
// holds.
#include "kernels/cuda/contract_common.h"

namespace govtrain::cuda {
namespace {

namespace wmma = nvcuda::wmma;

constexpr int kBf16Pitch = 80;  // elements: 32-byte aligned rows
constexpr int kStepSize = kStepRows * kPitch;
constexpr int kQuarter = 32;

template <Precision precision>
struct Operand;
template <>
struct Operand<Precision::tf32> {
  using Element = float;
  using Type = wmma::precision::tf32;
  static constexpr int k = 8;
  static constexpr int pitch = kPitch;
};
template <>
struct Operand<Precision::bf16> {
  using Element = __nv_bfloat16;
  using Type = __nv_bfloat16;
  static constexpr int k = 16;
  static constexpr int pitch = kBf16Pitch;
};

template <int k>
using Accumulator = wmma::fragment<wmma::accumulator, 16, 16, k, float>;

// The block's tile of `m` into shared memory [64, kPitch], 0 outside; and back.
__device__ void tile_in(const MutView& m, int row0, int col0, SharedSpan<float> s) {
  for (int i = static_cast<int>(threadIdx.x); i < kContractTile * kContractTile; i += kContractThreads) {
    const int r = i / kContractTile;
    const int j = i % kContractTile;
    const bool inside = row0 + r < m.rows && col0 + j < m.cols;
    s[r * kPitch + j] = inside ? load(m.data + (row0 + r) * m.ld + col0 + j) : 0.0f;
  }
}
__device__ void tile_out(const MutView& m, int row0, int col0, SharedSpan<float> s) {
  for (int i = static_cast<int>(threadIdx.x); i < kContractTile * kContractTile; i += kContractThreads) {
    const int r = i / kContractTile;
    const int j = i % kContractTile;
    const float v = s[r * kPitch + j];
    if (row0 + r < m.rows && col0 + j < m.cols) store(m.data + (row0 + r) * m.ld + col0 + j, v);
  }
}

// As stage(), but rounded to bfloat16 on the way.
__device__ void stage_bf16(const View& v, int row, int rows, int col, SharedSpan<__nv_bfloat16> to) {
  for (int i = static_cast<int>(threadIdx.x); i < kStepRows * kContractTile; i += kContractThreads) {
    const int r = i / kContractTile;
    const int j = i % kContractTile;
    const bool inside = r < rows && col + j < v.cols;
    to[r * kBf16Pitch + j] = __float2bfloat16(inside ? load(v.data + (row + r) * v.ld + col + j) : 0.0f);
  }
}

template <int k>
__device__ void read_fragments(SharedSpan<float> s, int row, int col, Accumulator<k> (&f)[2][2]) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      wmma::load_matrix_sync(f[i][j], s.at((row + 16 * i) * kPitch + col + 16 * j), kPitch, wmma::mem_row_major);
    }
  }
}
template <int k>
__device__ void write_fragments(SharedSpan<float> s, int row, int col, Accumulator<k> (&f)[2][2]) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      wmma::store_matrix_sync(s.at((row + 16 * i) * kPitch + col + 16 * j), f[i][j], kPitch, wmma::mem_row_major);
    }
  }
}

template <int k>
__device__ void add_scaled(float w, Accumulator<k> (&tile)[2][2], Accumulator<k> (&to)[2][2]) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int n = 0; n < tile[i][j].num_elements; ++n) {
        to[i][j].x[n] = __fmaf_rn(w, tile[i][j].x[n], to[i][j].x[n]);
      }
    }
  }
}

template <int k>
__device__ float square(Accumulator<k> (&tile)[2][2]) {
  float sum = 0.0f;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int n = 0; n < tile[i][j].num_elements; ++n) sum = __fmaf_rn(tile[i][j].x[n], tile[i][j].x[n], sum);
    }
  }
  return sum;
}

// tile += a^T b over the staged rows; rows beyond the step's are 0.
template <Precision precision, int k = Operand<precision>::k>
__device__ void multiply_step(SharedSpan<typename Operand<precision>::Element> a,
                              SharedSpan<typename Operand<precision>::Element> b, int row, int col,
                              Accumulator<k> (&tile)[2][2]) {
  using Type = typename Operand<precision>::Type;
  constexpr int pitch = Operand<precision>::pitch;
  for (int r = 0; r < kStepRows; r += k) {
    wmma::fragment<wmma::matrix_a, 16, 16, k, Type, wmma::col_major> fa[2];
    wmma::fragment<wmma::matrix_b, 16, 16, k, Type, wmma::row_major> fb[2];
    for (int i = 0; i < 2; ++i) {
      wmma::load_matrix_sync(fa[i], a.at(r * pitch + row + 16 * i), pitch);
      wmma::load_matrix_sync(fb[i], b.at(r * pitch + col + 16 * i), pitch);
      if constexpr (precision == Precision::tf32) {
        for (float& v : fa[i].x) v = wmma::__float_to_tf32(v);
        for (float& v : fb[i].x) v = wmma::__float_to_tf32(v);
      }
    }
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 2; ++j) wmma::mma_sync(tile[i][j], fa[i], fb[j], tile[i][j]);
    }
  }
}

// Dynamic shared memory: two buffers of two operands, or, before and after the walk, one tile of float32; and a tile
// for scatter factors.
constexpr int kWalkBytes = 4 * kStepSize * static_cast<int>(sizeof(float));
constexpr int kSharedBytes = kWalkBytes + kContractTile * kPitch * static_cast<int>(sizeof(float));
static_assert(kContractTile * kPitch <= 4 * kStepSize);
static_assert(kStepRows * kBf16Pitch * 2 <= kStepSize * 4);

// tile += the rows of a scatter factor that fall into it, in sorted order, by way of shared memory: there every element
// has one thread that adds to it.
template <int k>
__device__ void scatter_step(const OuterFactor& f, const Step& s, int row0, int col0, int row, int col,
                             Accumulator<k> (&tile)[2][2]) {
  const auto whole = dynamic_shared<float>(kWalkBytes, kContractTile * kPitch);
  write_fragments(whole, row, col, tile);
  __syncthreads();
  const int j = static_cast<int>(threadIdx.x) % kContractTile;
  const int parity = static_cast<int>(threadIdx.x) / kContractTile;
  for (int t = s.row; t < s.row + s.rows; ++t) {
    const int at = load(f.index + t) - row0;
    if (at < 0 || at >= kContractTile || at % 2 != parity || col0 + j >= f.dy.cols) continue;
    whole[at * kPitch + j] += load(f.dy.data + load(f.order + t) * f.dy.ld + col0 + j);
  }
  __syncthreads();
  read_fragments(whole, row, col, tile);
}

template <Precision precision, bool withheld>
__global__ void __launch_bounds__(kContractThreads) contract_wmma_kernel(OuterContraction c) {
  using Element = typename Operand<precision>::Element;
  constexpr int k = Operand<precision>::k;
  expect_dynamic_shared<kSharedBytes>();
  __shared__ SharedArray<double, kContractThreads / 32> part;
  const auto whole = dynamic_shared<float>(0, kContractTile * kPitch);
  const auto operand = [](int buffer, int which) {
    return dynamic_shared<Element>((2 * buffer + which) * kStepSize * static_cast<int>(sizeof(float)),
                                   kStepRows * Operand<precision>::pitch);
  };
  const int row0 = static_cast<int>(blockIdx.y) * kContractTile;
  const int col0 = static_cast<int>(blockIdx.x) * kContractTile;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp / 2 * kQuarter;
  const int col = warp % 2 * kQuarter;
  Accumulator<k> grad[2][2];
  Accumulator<k> kept[2][2];
  Accumulator<k> tile[2][2];
  tile_in(c.grad, row0, col0, whole);
  __syncthreads();
  read_fragments(whole, row, col, grad);
  __syncthreads();
  if (withheld) {
    tile_in(c.withheld_grad, row0, col0, whole);
    __syncthreads();
    read_fragments(whole, row, col, kept);
    __syncthreads();
  }

  const auto fetch = [&](const Step& s, int buffer) {
    const OuterFactor& f = c.factors[s.factor];
    if (f.index != nullptr) {
      // a scatter factor is read where it is added
    } else if constexpr (precision == Precision::bf16) {
      stage_bf16(f.dy, s.row, s.rows, row0, operand(buffer, 0));
      stage_bf16(f.x, s.row, s.rows, col0, operand(buffer, 1));
    } else {
      stage(f.dy, s.row, s.rows, row0, operand(buffer, 0), kPitch);
      stage(f.x, s.row, s.rows, col0, operand(buffer, 1), kPitch);
    }
    __pipeline_commit();
  };
  Walk now = start_walk(c);
  if (!done(c, now)) fetch(now.step, 0);
  for (int buffer = 0; !done(c, now); buffer ^= 1) {
    Walk next = now;
    advance(c, next);
    if (done(c, next)) {
      __pipeline_wait_prior(0);
    } else {
      fetch(next.step, buffer ^ 1);
      __pipeline_wait_prior(1);
    }
    __syncthreads();
    const Step& s = now.step;
    if (s.first) {
      for (auto& line : tile) {
        for (auto& f : line) wmma::fill_fragment(f, 0.0f);
      }
    }
    if (c.factors[s.factor].index != nullptr) {
      scatter_step(c.factors[s.factor], s, row0, col0, row, col, tile);
    } else {
      multiply_step<precision>(operand(buffer, 0), operand(buffer, 1), row, col, tile);
    }
    const bool norm = s.last && s.weight != 0.0f && c.norm2 != nullptr;
    if (s.last) {
      if (withheld && s.withheld != 0.0f) add_scaled(s.withheld, tile, kept);
      if (s.weight != 0.0f) add_scaled(s.weight, tile, grad);
    }
    if (norm) share_sum(static_cast<double>(square(tile)), part.span());
    __syncthreads();
    if (norm && threadIdx.x == 0)
      store(c.scratch + int64_t{tile_number()} * c.examples + s.example, block_sum(part.span()));
    now = next;
  }
  write_fragments(whole, row, col, grad);
  __syncthreads();
  tile_out(c.grad, row0, col0, whole);
  if (!withheld) return;
  __syncthreads();
  write_fragments(whole, row, col, kept);
  __syncthreads();
  tile_out(c.withheld_grad, row0, col0, whole);
}

template <Precision precision>
void launch_wmma(const OuterContraction& c, dim3 grid, Stream stream) {
  if (c.withheld == nullptr) {
    launch("contract_wmma", contract_wmma_kernel<precision, false>, grid, kContractThreads, kSharedBytes, stream, c);
  } else {
    launch("contract_wmma_withheld", contract_wmma_kernel<precision, true>, grid, kContractThreads, kSharedBytes,
           stream, c);
  }
}

}  // namespace

void contract_wmma(const OuterContraction& c, Precision precision, dim3 grid, Stream stream) {
  if (precision == Precision::tf32) {
    launch_wmma<Precision::tf32>(c, grid, stream);
  } else {
    launch_wmma<Precision::bf16>(c, grid, stream);
  }
}

}  // namespace govtrain::cuda
