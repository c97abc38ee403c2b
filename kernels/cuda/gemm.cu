// Matrix products in float32. A block owns 64 x 64 elements of the product, a thread 8 rows x 4 columns that lie 16
// apart. Steps of 16 of k come into shared memory by cp.async while the ones before are multiplied.
#include <cstdint>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gemm_product.h"

namespace govtrain::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kThreads = 128;
constexpr int kTall = 8;
constexpr int kBroad = 4;
constexpr int kAcross = kTile / kBroad;
constexpr int kPitch = kDepth + 4;  // along k: 16-byte aligned rows, eight lanes on eight groups of banks
constexpr int kBuffer = kTile * kPitch;
static_assert(kDepth * kTile <= kBuffer);

// Rows [row, row+height) and columns [col, col+width) of `v` into `to` with `pitch`; what lies outside becomes 0.
__device__ void stage(const View& v, int row, int height, int col, int width, SharedSpan<float> to, int pitch) {
  const bool wide = v.ld % 4 == 0 && reinterpret_cast<uintptr_t>(v.data) % 16 == 0 && col + width <= v.cols;
  const int step = wide ? 4 : 1;
  const int across = width / step;
  const bool narrow = across == 4;
  for (int i = static_cast<int>(threadIdx.x); i < height * across; i += kThreads) {
    // Narrow rows: eight lanes write to eight rows, on eight groups of banks.
    const int r = narrow ? i / 32 * 8 + i % 8 : i / across;
    const int j = (narrow ? i / 8 % 4 : i % across) * step;
    const bool inside = row + r < v.rows && col + j < v.cols;
    const float* from = inside ? v.data + (row + r) * v.ld + col + j : v.data;
    const unsigned zeros = inside ? 0u : static_cast<unsigned>(step) * 4u;
    if (wide) {
      __pipeline_memcpy_async(to.at(r * pitch + j), from, 16, zeros);
    } else {
      __pipeline_memcpy_async(to.at(r * pitch + j), from, 4, zeros);
    }
  }
}

// sum += a b over `depth` values of k, ascending; nothing is added for k beyond.
template <bool transposed>
__device__ void multiply_step(SharedSpan<float> a, SharedSpan<float> b, int depth, int ty, int tx,
                              float (&sum)[kTall][kBroad]) {
  count_fma(depth * kTall * kBroad);
  float4 rows[kTall];
  for (int i = 0; i < kTall; ++i) rows[i] = pack(sum[i]);
  for (int k0 = 0; k0 < depth; k0 += 4) {
    float va[kTall][4];
    float4 vb[4];  // of each k, the thread's columns
    for (int i = 0; i < kTall; ++i) {
      unpack(load(reinterpret_cast<const float4*>(a.at((ty * kTall + i) * kPitch + k0))), va[i]);
    }
    if (transposed) {
      float4 q[kBroad];
      for (int j = 0; j < kBroad; ++j) {
        q[j] = load(reinterpret_cast<const float4*>(b.at((tx + kAcross * j) * kPitch + k0)));
      }
      vb[0] = make_float4(q[0].x, q[1].x, q[2].x, q[3].x);
      vb[1] = make_float4(q[0].y, q[1].y, q[2].y, q[3].y);
      vb[2] = make_float4(q[0].z, q[1].z, q[2].z, q[3].z);
      vb[3] = make_float4(q[0].w, q[1].w, q[2].w, q[3].w);
    } else {
      for (int k = 0; k < 4; ++k) {
        float line[kBroad];
        for (int j = 0; j < kBroad; ++j) line[j] = b[(k0 + k) * kTile + tx + kAcross * j];
        vb[k] = pack(line);
      }
    }
    for (int k = 0; k < 4; ++k) {
      if (k0 + k >= depth) break;
      for (int i = 0; i < kTall; ++i) rows[i] = fused(va[i][k], vb[k], rows[i]);
    }
  }
  for (int i = 0; i < kTall; ++i) unpack(rows[i], sum[i]);
}

template <bool transposed>
__global__ void __launch_bounds__(kThreads) product_kernel(Product p) {
  __shared__ SharedArray<float, 2 * kBuffer> a;
  __shared__ SharedArray<float, 2 * kBuffer> b;
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int col0 = static_cast<int>(blockIdx.x) * kTile;
  const int ty = static_cast<int>(threadIdx.x) / kAcross;
  const int tx = static_cast<int>(threadIdx.x) % kAcross;
  const int depth = static_cast<int>(p.a.cols);
  float sum[kTall][kBroad];
  for (int i = 0; i < kTall; ++i) {
    for (int j = 0; j < kBroad; ++j) {
      const int row = row0 + ty * kTall + i;
      const int col = col0 + tx + kAcross * j;
      const bool inside = row < p.c.rows && col < p.c.cols;
      sum[i][j] = 0.0f;
      if (inside && p.bias != nullptr) sum[i][j] = load(p.bias + col);
      if (inside && p.add) sum[i][j] = load(p.c.data + row * p.c.ld + col);
    }
  }
  const auto fetch = [&](int k, int buffer) {
    if (k < depth) {
      stage(p.a, row0, kTile, k, kDepth, a.span().sub(buffer * kBuffer, kBuffer), kPitch);
      const auto to = b.span().sub(buffer * kBuffer, kBuffer);
      if (transposed) {
        stage(p.b, col0, kTile, k, kDepth, to, kPitch);
      } else {
        stage(p.b, k, kDepth, col0, kTile, to, kTile);
      }
    }
    __pipeline_commit();
  };
  fetch(0, 0);
  for (int k = 0, buffer = 0; k < depth; k += kDepth, buffer ^= 1) {
    fetch(k + kDepth, buffer ^ 1);
    __pipeline_wait_prior(1);
    __syncthreads();
    multiply_step<transposed>(a.span().sub(buffer * kBuffer, kBuffer), b.span().sub(buffer * kBuffer, kBuffer),
                              depth - k < kDepth ? depth - k : kDepth, ty, tx, sum);
    __syncthreads();
  }
  for (int i = 0; i < kTall; ++i) {
    for (int j = 0; j < kBroad; ++j) {
      const int row = row0 + ty * kTall + i;
      const int col = col0 + tx + kAcross * j;
      if (row < p.c.rows && col < p.c.cols) store(p.c.data + row * p.c.ld + col, sum[i][j]);
    }
  }
}

dim3 grid_of(const MutView& c) {
  return {static_cast<unsigned>((c.cols + kTile - 1) / kTile), static_cast<unsigned>((c.rows + kTile - 1) / kTile), 1};
}

}  // namespace

void linear(View x, View w, const float* bias, MutView y, Precision precision, Stream stream) {
  if (y.size() == 0) return;
  const Product p{x, w, y, bias, false};
  if (precision != Precision::fp32) return tensor_product("linear", p, true, precision, stream);
  launch("linear", product_kernel<true>, grid_of(y), kThreads, 0, stream, p);
}

void linear_dx(View dy, View w, MutView dx, bool add, Precision precision, Stream stream) {
  if (dx.size() == 0) return;
  const Product p{dy, w, dx, nullptr, add};
  if (precision != Precision::fp32) return tensor_product("linear_dx", p, false, precision, stream);
  launch("linear_dx", product_kernel<false>, grid_of(dx), kThreads, 0, stream, p);
}

}  // namespace govtrain::cuda
