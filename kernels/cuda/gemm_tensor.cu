// Matrix products on tensor cores. A block owns 64 x 64 elements and walks over k in steps of 32 that end in zeros, so
// an element is one chain of mma.sync in ascending k wherever it falls, and its bits do not depend on the batch. Bias,
// and what is added to, come last, in float32.
#include "kernels/cuda/gemm_product.h"
#include "kernels/cuda/mma_tile.h"

namespace govtrain::cuda {
namespace {

constexpr int kDepth = 32;

template <Precision precision, bool transposed>
__global__ void __launch_bounds__(kTileThreads, 4) tensor_product_kernel(Product p) {
  using A = Staged<precision, false, kDepth>;
  using B = Staged<precision, !transposed, kDepth>;
  __shared__ SharedArray<typename A::Element, 2 * A::size> a;
  __shared__ SharedArray<typename B::Element, 2 * B::size> b;
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int col0 = static_cast<int>(blockIdx.x) * kTile;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp / 2 * kWarpTile;
  const int col = warp % 2 * kWarpTile;
  const int depth = static_cast<int>(p.a.cols);
  const int tall = static_cast<int>(p.a.rows) - row0;
  const int broad = static_cast<int>(p.c.cols) - col0;
  Sums sums = {};
  const auto of_a = [&](int buffer) { return a.span().sub(buffer * A::size, A::size); };
  const auto of_b = [&](int buffer) { return b.span().sub(buffer * B::size, B::size); };
  Stager<precision, false, kDepth> stage_a;
  Stager<precision, !transposed, kDepth> stage_b;
  const auto begin = [&](int k, int buffer) {
    stage_a.begin(p.a, row0, tall, k, of_a(buffer));
    if (transposed) {
      stage_b.begin(p.b, col0, broad, k, of_b(buffer));
    } else {
      stage_b.begin(p.b, k, depth - k, col0, of_b(buffer));
    }
  };
  const auto end = [&](int buffer) {
    stage_a.end(of_a(buffer));
    stage_b.end(of_b(buffer));
  };
  if (depth > 0) {
    begin(0, 0);
    end(0);
  }
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  for (int k = 0, buffer = 0; k < depth; k += kDepth, buffer ^= 1) {
    const bool more = k + kDepth < depth;
    if (more) begin(k + kDepth, buffer ^ 1);
    __pipeline_commit();
    multiply<precision, false, !transposed, kDepth>(of_a(buffer), of_b(buffer), row, col, sums);
    if (more) end(buffer ^ 1);
    __pipeline_wait_prior(0);
    __syncthreads();
  }
  const bool pairs = paired(p.c);
  for_pairs(sums, row0 + row, col0 + col, [&](int r, int c, float* v) {
    if (p.bias != nullptr) {
      if (c < p.c.cols) v[0] += load(p.bias + c);
      if (c + 1 < p.c.cols) v[1] += load(p.bias + c + 1);
    }
    if (p.add) {
      float before[2];
      read_pair(p.c, pairs, r, c, before);
      v[0] += before[0];
      v[1] += before[1];
    }
    write_pair(p.c, pairs, r, c, v);
  });
}

}  // namespace

void tensor_product(const char* name, const Product& p, bool transposed, Precision precision, Stream stream) {
  const dim3 grid(static_cast<unsigned>((p.c.cols + kTile - 1) / kTile),
                  static_cast<unsigned>((p.c.rows + kTile - 1) / kTile));
  const bool half = precision == Precision::bf16;
  const auto kernel =
      half
          ? (transposed ? tensor_product_kernel<Precision::bf16, true> : tensor_product_kernel<Precision::bf16, false>)
          : (transposed ? tensor_product_kernel<Precision::tf32, true> : tensor_product_kernel<Precision::tf32, false>);
  launch(name, kernel, grid, kTileThreads, 0, stream, p);
}

}  // namespace govtrain::cuda
