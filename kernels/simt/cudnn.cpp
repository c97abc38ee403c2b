#include "kernels/simt/cudnn.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "kernels/simt/library.h"
#include "kernels/simt/stream.h"

namespace govtrain::simt {

struct DnnHandle {
  cudaStream_t stream = nullptr;
};
struct ImageTensor {
  cudnnTensorFormat_t format;
  cudnnDataType_t type;
  int n, c, h, w;
  size_t size() const {
    return static_cast<size_t>(n) * static_cast<size_t>(c) * static_cast<size_t>(h) * static_cast<size_t>(w);
  }
};
struct ImageFilter {
  cudnnTensorFormat_t format;
  cudnnDataType_t type;
  int k, c, h, w;
  size_t size() const {
    return static_cast<size_t>(k) * static_cast<size_t>(c) * static_cast<size_t>(h) * static_cast<size_t>(w);
  }
};
struct ConvolutionDesc {
  int pad[2], stride[2], dilation[2];
  cudnnConvolutionMode_t mode;
  cudnnDataType_t compute;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

namespace {

Known<DnnHandle> handles;
Known<ImageTensor> tensors;
Known<ImageFilter> filters;
Known<ConvolutionDesc> convolutions;

struct Convolution {
  ImageTensor x, y;
  ImageFilter w;
  ConvolutionDesc desc;
};

int output_size(int size, int kernel, int pad, int stride, int dilation) {
  const int span = size + 2 * pad - (dilation * (kernel - 1) + 1);
  return span < 0 ? 0 : 1 + span / stride;
}

cudnnStatus_t check(const Convolution& c) {
  const auto& d = c.desc;
  const int height = output_size(c.x.h, c.w.h, d.pad[0], d.stride[0], d.dilation[0]);
  const int width = output_size(c.x.w, c.w.w, d.pad[1], d.stride[1], d.dilation[1]);
  if (c.x.c != c.w.c || c.y.c != c.w.k || c.y.n != c.x.n || c.y.h != height || c.y.w != width)
    return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
  const bool images =
      c.x.format == CUDNN_TENSOR_NHWC && c.y.format == CUDNN_TENSOR_NHWC && c.w.format == CUDNN_TENSOR_NHWC;
  const bool single = c.x.type == CUDNN_DATA_FLOAT && c.y.type == CUDNN_DATA_FLOAT && c.w.type == CUDNN_DATA_FLOAT &&
                      d.compute == CUDNN_DATA_FLOAT;
  return images && single && d.mode == CUDNN_CROSS_CORRELATION ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

// False when one of them was never created.
bool known(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
           cudnnTensorDescriptor_t y) {
  return tensors.has(x) && tensors.has(y) && filters.has(w) && convolutions.has(conv);
}

Rounding rounding_of(const ConvolutionDesc& d) { return d.math == CUDNN_FMA_MATH ? Rounding::none : Rounding::tf32; }

// Calls f(y position, x position, tap) for every tap of the filter that stands inside, all within one image.
template <class F>
void for_taps(const Convolution& c, const F& f) {
  for (int oy = 0; oy < c.y.h; ++oy) {
    for (int ox = 0; ox < c.y.w; ++ox) {
      for (int ky = 0; ky < c.w.h; ++ky) {
        for (int kx = 0; kx < c.w.w; ++kx) {
          const int iy = oy * c.desc.stride[0] - c.desc.pad[0] + ky * c.desc.dilation[0];
          const int ix = ox * c.desc.stride[1] - c.desc.pad[1] + kx * c.desc.dilation[1];
          if (iy < 0 || iy >= c.x.h || ix < 0 || ix >= c.x.w) continue;
          f(oy * c.y.w + ox, iy * c.x.w + ix, ky * c.w.w + kx);
        }
      }
    }
  }
}

std::vector<float> operand(const void* p, size_t n, Rounding how) {
  const auto* from = static_cast<const float*>(p);
  std::vector<float> out(from, from + n);
  for (float& v : out) v = rounded(v, how);
  return out;
}

void put(float* to, const std::vector<float>& sums, float alpha, float beta) {
  for (size_t i = 0; i < sums.size(); ++i) {
    to[i] = beta == 0.0f ? alpha * sums[i] : __builtin_fmaf(beta, to[i], alpha * sums[i]);
  }
}

void forward(const Convolution& c, float alpha, const void* x, const void* w, float beta, float* y) {
  touch(x, c.x.size() * sizeof(float), Access::read);
  touch(w, c.w.size() * sizeof(float), Access::read);
  if (beta != 0.0f) touch(y, c.y.size() * sizeof(float), Access::read);
  const auto a = operand(x, c.x.size(), rounding_of(c.desc));
  const auto b = operand(w, c.w.size(), rounding_of(c.desc));
  std::vector<float> sums(c.y.size(), 0.0f);
  const int taps = c.w.h * c.w.w;
  for (int n = 0; n < c.x.n; ++n) {
    for_taps(c, [&](int to, int from, int tap) {
      const float* in = &a[static_cast<size_t>((n * c.x.h * c.x.w + from) * c.x.c)];
      float* out = &sums[static_cast<size_t>((n * c.y.h * c.y.w + to) * c.y.c)];
      for (int k = 0; k < c.w.k; ++k) {
        const float* f = &b[static_cast<size_t>((k * taps + tap) * c.w.c)];
        for (int ch = 0; ch < c.w.c; ++ch) out[k] = __builtin_fmaf(in[ch], f[ch], out[k]);
      }
    });
  }
  put(y, sums, alpha, beta);
  touch(y, c.y.size() * sizeof(float), Access::write);
}

void backward(const Convolution& c, bool down, float alpha, const void* w, const void* dy, float beta, float* dx) {
  touch(dy, c.y.size() * sizeof(float), Access::read);
  touch(w, c.w.size() * sizeof(float), Access::read);
  if (beta != 0.0f) touch(dx, c.x.size() * sizeof(float), Access::read);
  const auto a = operand(dy, c.y.size(), rounding_of(c.desc));
  const auto b = operand(w, c.w.size(), rounding_of(c.desc));
  std::vector<float> sums(c.x.size(), 0.0f);
  const int taps = c.w.h * c.w.w;
  // By tap first, so that the chain of an element runs over taps in order.
  for (int t = 0; t < taps; ++t) {
    const int wanted = down ? taps - 1 - t : t;
    for (int n = 0; n < c.x.n; ++n) {
      for_taps(c, [&](int from, int to, int tap) {
        if (tap != wanted) return;
        const float* in = &a[static_cast<size_t>((n * c.y.h * c.y.w + from) * c.y.c)];
        float* out = &sums[static_cast<size_t>((n * c.x.h * c.x.w + to) * c.x.c)];
        for (int i = 0; i < c.w.k; ++i) {
          const int k = down ? c.w.k - 1 - i : i;
          const float* f = &b[static_cast<size_t>((k * taps + tap) * c.w.c)];
          for (int ch = 0; ch < c.w.c; ++ch) out[ch] = __builtin_fmaf(in[k], f[ch], out[ch]);
        }
      });
    }
  }
  put(dx, sums, alpha, beta);
  touch(dx, c.x.size() * sizeof(float), Access::write);
}

// What a device finds out only when it runs.
void check_memory(const char* call, const char* name, const void* p, size_t elements) {
  if (is_device(p, elements * sizeof(float))) return;
  throw Fault(
      FaultKind::out_of_bounds, {call, {}, {}, false},
      fmt::format("{}: {} bytes that are not in one allocation of device memory", name, elements * sizeof(float)));
}

// The precomputed indices of the implicit product, and the gathered gradient of the data.
size_t forward_workspace(const Convolution& c, cudnnConvolutionFwdAlgo_t algo) {
  if (algo != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) return 0;
  return static_cast<size_t>(c.y.h * c.y.w) * sizeof(int);
}
size_t backward_workspace(const Convolution& c, cudnnConvolutionBwdDataAlgo_t algo) {
  return algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 ? c.x.size() * sizeof(float) : 0;
}

cudnnStatus_t check_call(const Convolution& c, size_t needed, const void* workspace, size_t bytes) {
  if (const cudnnStatus_t status = check(c); status != CUDNN_STATUS_SUCCESS) return status;
  if (bytes < needed) return CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT;
  return needed > 0 && !is_device(workspace, needed) ? CUDNN_STATUS_BAD_PARAM : CUDNN_STATUS_SUCCESS;
}

float value(const void* p) {
  float v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

}  // namespace
}  // namespace govtrain::simt

namespace simt = govtrain::simt;

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT:
      return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH:
      return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = simt::handles.add({});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  return simt::handles.remove(handle) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_INITIALIZED;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  if (!simt::handles.has(handle)) return CUDNN_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* t) {
  *t = simt::tensors.add({});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t t) {
  return simt::tensors.remove(t) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t t, cudnnTensorFormat_t format, cudnnDataType_t type,
                                         int n, int c, int h, int w) {
  if (!simt::tensors.has(t) || n < 1 || c < 1 || h < 1 || w < 1) return CUDNN_STATUS_BAD_PARAM;
  *t = {format, type, n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* f) {
  *f = simt::filters.add({});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t f) {
  return simt::filters.remove(f) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t f, cudnnDataType_t type, cudnnTensorFormat_t format,
                                         int k, int c, int h, int w) {
  if (!simt::filters.has(f) || k < 1 || c < 1 || h < 1 || w < 1) return CUDNN_STATUS_BAD_PARAM;
  *f = {format, type, k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* c) {
  *c = simt::convolutions.add({});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t c) {
  return simt::convolutions.remove(c) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t c, int pad_h, int pad_w, int u, int v,
                                              int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
  if (!simt::convolutions.has(c) || pad_h < 0 || pad_w < 0 || u < 1 || v < 1 || dilation_h < 1 || dilation_w < 1)
    return CUDNN_STATUS_BAD_PARAM;
  *c = {{pad_h, pad_w}, {u, v}, {dilation_h, dilation_w}, mode, compute, c->math};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t c, cudnnMathType_t math) {
  if (!simt::convolutions.has(c)) return CUDNN_STATUS_BAD_PARAM;
  c->math = math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                                                     cudnnTensorDescriptor_t y, int requested, int* returned,
                                                     cudnnConvolutionFwdAlgoPerf_t* results) {
  if (!simt::handles.has(handle)) return CUDNN_STATUS_NOT_INITIALIZED;
  if (!simt::known(x, w, conv, y) || requested < 1) return CUDNN_STATUS_BAD_PARAM;
  const simt::Convolution c{*x, *y, *w, *conv};
  if (const cudnnStatus_t status = simt::check(c); status != CUDNN_STATUS_SUCCESS) return status;
  const cudnnConvolutionFwdAlgo_t all[] = {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD,
                                           CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
                                           CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM};
  *returned = 0;
  for (const auto algo : all) {
    if (*returned == requested) break;
    const bool able = algo != CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD;  // not in NHWC
    results[(*returned)++] = {algo,
                              able ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED,
                              0.0f,
                              simt::forward_workspace(c, algo),
                              CUDNN_DETERMINISTIC,
                              c.desc.math,
                              {}};
  }
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t handle, cudnnFilterDescriptor_t w,
                                                          cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv,
                                                          cudnnTensorDescriptor_t dx, int requested, int* returned,
                                                          cudnnConvolutionBwdDataAlgoPerf_t* results) {
  if (!simt::handles.has(handle)) return CUDNN_STATUS_NOT_INITIALIZED;
  if (!simt::known(dx, w, conv, dy) || requested < 1) return CUDNN_STATUS_BAD_PARAM;
  const simt::Convolution c{*dx, *dy, *w, *conv};
  if (const cudnnStatus_t status = simt::check(c); status != CUDNN_STATUS_SUCCESS) return status;
  *returned = 0;
  for (const auto algo : {CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1}) {
    if (*returned == requested) break;
    const bool fixed = algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
    results[(*returned)++] = {algo,
                              CUDNN_STATUS_SUCCESS,
                              0.0f,
                              simt::backward_workspace(c, algo),
                              fixed ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC,
                              c.desc.math,
                              {}};
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc,
                                      const void* x, cudnnFilterDescriptor_t w_desc, const void* w,
                                      cudnnConvolutionDescriptor_t conv, cudnnConvolutionFwdAlgo_t algo,
                                      void* workspace, size_t workspace_bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_desc, void* y) {
  if (!simt::handles.has(handle)) return CUDNN_STATUS_NOT_INITIALIZED;
  if (!simt::known(x_desc, w_desc, conv, y_desc)) return CUDNN_STATUS_BAD_PARAM;
  if (algo == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD) return CUDNN_STATUS_NOT_SUPPORTED;
  const simt::Convolution c{*x_desc, *y_desc, *w_desc, *conv};
  const auto status = simt::check_call(c, simt::forward_workspace(c, algo), workspace, workspace_bytes);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  simt::check_memory("cudnnConvolutionForward", "x", x, c.x.size());
  simt::check_memory("cudnnConvolutionForward", "w", w, c.w.size());
  simt::check_memory("cudnnConvolutionForward", "y", y, c.y.size());
  simt::enqueue(handle->stream, "cudnnConvolutionForward", [=, a = simt::value(alpha), b = simt::value(beta)] {
    simt::forward(c, a, x, w, b, static_cast<float*>(y));
  });
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha, cudnnFilterDescriptor_t w_desc,
                                           const void* w, cudnnTensorDescriptor_t dy_desc, const void* dy,
                                           cudnnConvolutionDescriptor_t conv, cudnnConvolutionBwdDataAlgo_t algo,
                                           void* workspace, size_t workspace_bytes, const void* beta,
                                           cudnnTensorDescriptor_t dx_desc, void* dx) {
  if (!simt::handles.has(handle)) return CUDNN_STATUS_NOT_INITIALIZED;
  if (!simt::known(dx_desc, w_desc, conv, dy_desc)) return CUDNN_STATUS_BAD_PARAM;
  const simt::Convolution c{*dx_desc, *dy_desc, *w_desc, *conv};
  const auto status = simt::check_call(c, simt::backward_workspace(c, algo), workspace, workspace_bytes);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  simt::check_memory("cudnnConvolutionBackwardData", "dy", dy, c.y.size());
  simt::check_memory("cudnnConvolutionBackwardData", "w", w, c.w.size());
  simt::check_memory("cudnnConvolutionBackwardData", "dx", dx, c.x.size());
  const bool down = algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 && simt::settings().seed % 2 == 0;
  simt::enqueue(handle->stream, "cudnnConvolutionBackwardData", [=, a = simt::value(alpha), b = simt::value(beta)] {
    simt::backward(c, down, a, w, dy, b, static_cast<float*>(dx));
  });
  return CUDNN_STATUS_SUCCESS;
}
