// LayerNorm and RMSNorm: a warp per row. The gradients of gain and bias are parameter gradients (contract_vector.cu).
#include "kernels/cuda/map.h"
#include "kernels/cuda/math.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;

struct Norm {
  View x;
  const float* gain;
  const float* bias;  // null: none
  float eps;
  MutView y;
  float* mean;  // null: RMSNorm
  float* rstd;
};

__device__ int64_t my_row() { return int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; }

__global__ void __launch_bounds__(kThreads) norm_kernel(Norm n) {
  const int64_t r = my_row();
  if (r >= n.x.rows) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto d = static_cast<float>(n.x.cols);
  float mean = 0.0f;
  if (n.mean != nullptr) {
    float sum = 0.0f;
    for (int64_t c = lane; c < n.x.cols; c += 32) sum += element(n.x, r, c);
    mean = warp_sum(sum) / d;
  }
  float squares = 0.0f;
  for (int64_t c = lane; c < n.x.cols; c += 32) {
    const float v = element(n.x, r, c) - mean;
    squares = __fmaf_rn(v, v, squares);
  }
  const float rstd = 1.0f / sqrtf(warp_sum(squares) / d + n.eps);
  for (int64_t c = lane; c < n.x.cols; c += 32) {
    const float hat = (element(n.x, r, c) - mean) * rstd;
    const float g = load(n.gain + c);
    put(n.y, r, c, n.bias == nullptr ? hat * g : __fmaf_rn(hat, g, load(n.bias + c)));
  }
  if (lane != 0) return;
  if (n.mean != nullptr) store(n.mean + r, mean);
  store(n.rstd + r, rstd);
}

struct NormDx {
  View dy, x;
  const float* gain;
  const float* mean;  // null: RMSNorm
  const float* rstd;
  MutView dx;
  bool add;
};

// dx (+)= rstd * (g - mean(g) - hat * mean(g * hat)), g = dy * gain; RMSNorm has no mean(g).
__global__ void __launch_bounds__(kThreads) norm_dx_kernel(NormDx n) {
  const int64_t r = my_row();
  if (r >= n.x.rows) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto d = static_cast<float>(n.x.cols);
  const float mean = n.mean == nullptr ? 0.0f : load(n.mean + r);
  const float rstd = load(n.rstd + r);
  float sum = 0.0f;
  float dot = 0.0f;
  for (int64_t c = lane; c < n.x.cols; c += 32) {
    const float g = element(n.dy, r, c) * load(n.gain + c);
    const float hat = (element(n.x, r, c) - mean) * rstd;
    sum += g;
    dot = __fmaf_rn(g, hat, dot);
  }
  const float m0 = n.mean == nullptr ? 0.0f : warp_sum(sum) / d;
  const float m1 = warp_sum(dot) / d;
  for (int64_t c = lane; c < n.x.cols; c += 32) {
    const float g = element(n.dy, r, c) * load(n.gain + c);
    const float hat = (element(n.x, r, c) - mean) * rstd;
    const float v = rstd * __fmaf_rn(-hat, m1, g - m0);
    put(n.dx, r, c, n.add ? element(n.dx, r, c) + v : v);
  }
}

unsigned blocks_of(int64_t rows) { return static_cast<unsigned>((rows + kWarps - 1) / kWarps); }

}  // namespace

void layer_norm(View x, const float* gain, const float* bias, float eps, MutView y, float* mean, float* rstd,
                Stream stream) {
  if (x.size() == 0) return;
  launch("layer_norm", norm_kernel, blocks_of(x.rows), kThreads, 0, stream, Norm{x, gain, bias, eps, y, mean, rstd});
}

void rms_norm(View x, const float* gain, float eps, MutView y, float* rstd, Stream stream) {
  if (x.size() == 0) return;
  launch("rms_norm", norm_kernel, blocks_of(x.rows), kThreads, 0, stream,
         Norm{x, gain, nullptr, eps, y, nullptr, rstd});
}

void norm_dx(View dy, View x, const float* gain, const float* mean, const float* rstd, MutView dx, bool add,
             Stream stream) {
  if (x.size() == 0) return;
  launch(mean == nullptr ? "rms_norm_dx" : "layer_norm_dx", norm_dx_kernel, blocks_of(x.rows), kThreads, 0, stream,
         NormDx{dy, x, gain, mean, rstd, dx, add});
}

}  // namespace govtrain::cuda
