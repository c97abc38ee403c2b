// The routed dW kernel on tensor cores by mma.sync. A warp keeps 32 x 32 elements in accumulators: the sum over the
// example in hand and the gradient side by side. It knows which element each lane holds, so the gradient goes straight
// between registers and memory, and the rows of scatter factors are added where they belong.
#include "kernels/cuda/contract_common.h"
#include "kernels/cuda/mma_tile.h"

namespace govtrain::cuda {
namespace {

static_assert(kContractTile == kTile && kContractThreads == kTileThreads);

// tile += the rows of a scatter factor that fall into the warp's part, in sorted order; one chain per element.
__device__ __forceinline__ void scatter_step(const OuterFactor& f, const Step& s, int row, int col, Sums& tile) {
  for (int k = s.row; k < s.row + s.rows; ++k) {
    const int at = load(f.index + k) - row;
    if (at < 0 || at >= kWarpTile) continue;
    const float* from = f.dy.data + load(f.order + k) * f.dy.ld;
    for_pairs(tile, 0, col, [&](int r, int c, float* sum) {
      if (r != at) return;
      if (c < f.dy.cols) sum[0] += load(from + c);
      if (c + 1 < f.dy.cols) sum[1] += load(from + c + 1);
    });
  }
}

__device__ __forceinline__ void add_scaled(float w, const Sums& tile, Sums& to) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int e = 0; e < 4; ++e) to[i][j][e] = __fmaf_rn(w, tile[i][j][e], to[i][j][e]);
    }
  }
}

__device__ __forceinline__ float square(const Sums& tile) {
  float sum = 0.0f;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int e = 0; e < 4; ++e) sum = __fmaf_rn(tile[i][j][e], tile[i][j][e], sum);
    }
  }
  return sum;
}

__device__ __forceinline__ void clear(Sums& tile) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int e = 0; e < 4; ++e) tile[i][j][e] = 0.0f;
    }
  }
}

__device__ __forceinline__ void read_sums(const MutView& m, int row, int col, Sums& to) {
  const bool pairs = paired(m);
  for_pairs(to, row, col, [&](int r, int c, float* v) { read_pair(m, pairs, r, c, v); });
}
__device__ __forceinline__ void write_sums(const MutView& m, int row, int col, Sums& from) {
  const bool pairs = paired(m);
  for_pairs(from, row, col, [&](int r, int c, const float* v) { write_pair(m, pairs, r, c, v); });
}

template <Precision precision, bool withheld>
__global__ void __launch_bounds__(kContractThreads, 3) contract_mma_kernel(OuterContraction c) {
  using Operand = Staged<precision, true, kStepRows>;
  __shared__ SharedArray<typename Operand::Element, 2 * Operand::size> a;
  __shared__ SharedArray<typename Operand::Element, 2 * Operand::size> b;
  __shared__ SharedArray<double, 2 * kContractThreads / 32> part;
  const int row0 = static_cast<int>(blockIdx.y) * kContractTile;
  const int col0 = static_cast<int>(blockIdx.x) * kContractTile;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp / 2 * kWarpTile;
  const int col = warp % 2 * kWarpTile;
  Sums grad = {};
  Sums kept = {};
  Sums tile = {};
  if (c.spread == nullptr) read_sums(c.grad, row0 + row, col0 + col, grad);
  if (withheld) read_sums(c.withheld_grad, row0 + row, col0 + col, kept);

  const auto of_a = [&](int buffer) { return a.span().sub(buffer * Operand::size, Operand::size); };
  const auto of_b = [&](int buffer) { return b.span().sub(buffer * Operand::size, Operand::size); };
  Stager<precision, true, kStepRows> stage_a;
  Stager<precision, true, kStepRows> stage_b;
  const auto begin = [&](const Step& s, int buffer) {
    const OuterFactor& f = c.factors[s.factor];
    if (f.index != nullptr) return;
    stage_a.begin(f.dy, s.row, s.rows, row0, of_a(buffer));
    stage_b.begin(f.x, s.row, s.rows, col0, of_b(buffer));
  };
  const auto end = [&](const Step& s, int buffer) {
    if (c.factors[s.factor].index != nullptr) return;
    stage_a.end(of_a(buffer));
    stage_b.end(of_b(buffer));
  };
  Walk now = start_walk(c);
  const bool any = !done(c, now);
  if (any) {
    begin(now.step, 0);
    end(now.step, 0);
  }
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  for (int buffer = 0; !done(c, now); buffer ^= 1) {
    Walk next = now;
    advance(c, next);
    const bool more = !done(c, next);
    if (more) begin(next.step, buffer ^ 1);
    __pipeline_commit();
    const Step& s = now.step;
    if (s.first) clear(tile);
    if (c.factors[s.factor].index != nullptr) {
      scatter_step(c.factors[s.factor], s, row0 + row, col0 + col, tile);
    } else {
      multiply<precision, true, true, kStepRows>(of_a(buffer), of_b(buffer), row, col, tile);
    }
    const bool norm = s.last && s.weight != 0.0f && c.norm2 != nullptr;
    if (s.last) {
      if (withheld && s.withheld != 0.0f) add_scaled(s.withheld, tile, kept);
      if (s.weight != 0.0f) add_scaled(s.weight, tile, grad);
    }
    const auto shares = part.span().sub(buffer * (kContractThreads / 32), kContractThreads / 32);
    if (norm) share_sum(static_cast<double>(square(tile)), shares);
    if (more) end(next.step, buffer ^ 1);
    __pipeline_wait_prior(0);
    __syncthreads();
    if (norm && threadIdx.x == 0) store(c.scratch + int64_t{tile_number()} * c.examples + s.example, block_sum(shares));
    now = next;
  }
  if (c.spread != nullptr) {
    if (any) write_sums(spread_part(c), row0 + row, col0 + col, tile);
    return;
  }
  write_sums(c.grad, row0 + row, col0 + col, grad);
  if (withheld) write_sums(c.withheld_grad, row0 + row, col0 + col, kept);
}

template <Precision precision>
void launch_mma(const OuterContraction& c, dim3 grid, Stream stream) {
  if (c.withheld == nullptr || c.spread != nullptr) {
    launch("contract_mma", contract_mma_kernel<precision, false>, grid, kContractThreads, 0, stream, c);
  } else {
    launch("contract_mma_withheld", contract_mma_kernel<precision, true>, grid, kContractThreads, 0, stream, c);
  }
}

}  // namespace

void contract_mma(const OuterContraction& c, Precision precision, dim3 grid, Stream stream) {
  if (precision == Precision::tf32) {
    launch_mma<Precision::tf32>(c, grid, stream);
  } else {
    launch_mma<Precision::bf16>(c, grid, stream);
  }
}

}  // namespace govtrain::cuda
