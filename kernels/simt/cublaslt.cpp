#include "kernels/simt/cublaslt.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "kernels/simt/library.h"
#include "kernels/simt/stream.h"

namespace govtrain::simt {

struct BlasHandle {};
struct MatmulDesc {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  int32_t trans_a = CUBLAS_OP_N;
  int32_t trans_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const float* bias = nullptr;
};
struct MatrixLayout {
  cudaDataType_t type;
  uint64_t rows, cols;
  int64_t ld;
};
struct MatmulPreference {
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D
};

namespace {

Known<BlasHandle> handles;
Known<MatmulDesc> descs;
Known<MatrixLayout> layouts;
Known<MatmulPreference> preferences;

struct Product {
  uint64_t m, n, k;
};

bool known(cublasLtMatmulDesc_t desc, std::initializer_list<cublasLtMatrixLayout_t> all) {
  return descs.has(desc) && std::all_of(all.begin(), all.end(), [](auto l) { return layouts.has(l); });
}

bool well_formed(const MatrixLayout& l) { return l.rows > 0 && l.cols > 0 && l.ld >= static_cast<int64_t>(l.rows); }

// None when the shapes do not fit.
std::optional<Product> product_of(const MatmulDesc& desc, const MatrixLayout& a, const MatrixLayout& b,
                                  const MatrixLayout& c, const MatrixLayout& d) {
  const bool ta = desc.trans_a == CUBLAS_OP_T;
  const bool tb = desc.trans_b == CUBLAS_OP_T;
  const Product p{ta ? a.cols : a.rows, tb ? b.rows : b.cols, ta ? a.rows : a.cols};
  const bool fits = (tb ? b.cols : b.rows) == p.k && c.rows == p.m && c.cols == p.n && d.rows == p.m && d.cols == p.n;
  if (!fits || !well_formed(a) || !well_formed(b) || !well_formed(c) || !well_formed(d)) return std::nullopt;
  return p;
}

bool supported(const MatmulDesc& desc, const MatrixLayout& a, const MatrixLayout& b, const MatrixLayout& c,
               const MatrixLayout& d) {
  const auto single = [](const MatrixLayout& l) { return l.type == CUDA_R_32F; };
  return desc.scale == CUDA_R_32F && single(a) && single(b) && single(c) && single(d);
}

// What an algorithm is: how k is cut, and which alignment it counts on.
struct Algorithm {
  uint64_t splits;
  uint64_t alignment;  // of every operand, in bytes
  Product product;     // that it was chosen for

  size_t workspace() const { return splits == 1 ? 0 : splits * product.m * product.n * sizeof(float); }
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

Algorithm choose(const Product& p, const MatrixLayout* const (&all)[4], const MatmulPreference& how) {
  Algorithm a{1, 16, p};
  for (int i = 0; i < 4; ++i) {
    if (how.alignment[i] < 16 || all[i]->ld % 4 != 0) a.alignment = sizeof(float);
  }
  const uint64_t tiles = ((p.m + 63) / 64) * ((p.n + 63) / 64);
  while (a.splits < 4 && a.splits * tiles < 8 && p.k >= 64 * a.splits) a.splits *= 2;
  while (a.workspace() > how.workspace) a.splits /= 2;
  return a;
}

struct Call {
  MatmulDesc desc;
  MatrixLayout layout[4];
  float alpha, beta;
  const float* in[3];  // A, B, C
  float* out;
  Algorithm algorithm;
  float* workspace;
};

void touch_matrix(const float* p, const MatrixLayout& l, Access access) {
  for (uint64_t j = 0; j < l.cols; ++j) touch(p + static_cast<int64_t>(j) * l.ld, l.rows * sizeof(float), access);
}

Rounding rounding_of(cublasComputeType_t compute) {
  if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return Rounding::tf32;
  return compute == CUBLAS_COMPUTE_32F_FAST_16BF ? Rounding::bf16 : Rounding::none;
}

// op(m) as a dense matrix in which neighbours in k lie side by side: [outer, k].
std::vector<float> operand(const float* p, const MatrixLayout& l, bool k_is_row, Rounding how) {
  std::vector<float> out(l.rows * l.cols);
  for (uint64_t c = 0; c < l.cols; ++c) {
    for (uint64_t r = 0; r < l.rows; ++r) {
      const float x = rounded(p[static_cast<int64_t>(c) * l.ld + static_cast<int64_t>(r)], how);
      out[k_is_row ? c * l.rows + r : r * l.cols + c] = x;
    }
  }
  return out;
}

void multiply(const Call& call) {
  const auto& [m, n, k] = call.algorithm.product;
  const bool uses_c = call.beta != 0.0f;
  touch_matrix(call.in[0], call.layout[0], Access::read);
  touch_matrix(call.in[1], call.layout[1], Access::read);
  if (uses_c) touch_matrix(call.in[2], call.layout[2], Access::read);
  const float* bias = call.desc.epilogue == CUBLASLT_EPILOGUE_BIAS ? call.desc.bias : nullptr;
  if (bias != nullptr) touch(bias, m * sizeof(float), Access::read);
  const Rounding how = rounding_of(call.desc.compute);
  const auto a = operand(call.in[0], call.layout[0], call.desc.trans_a == CUBLAS_OP_T, how);
  const auto b = operand(call.in[1], call.layout[1], call.desc.trans_b == CUBLAS_OP_N, how);
  const uint64_t splits = call.algorithm.splits;
  const uint64_t part = (k + splits - 1) / splits;
  if (splits > 1) touch(call.workspace, call.algorithm.workspace(), Access::write);
  for (uint64_t j = 0; j < n; ++j) {
    for (uint64_t i = 0; i < m; ++i) {
      float sum = 0.0f;
      for (uint64_t s = 0; s < splits; ++s) {
        float chain = 0.0f;
        for (uint64_t l = s * part; l < std::min(k, (s + 1) * part); ++l)
          chain = __builtin_fmaf(a[i * k + l], b[j * k + l], chain);
        if (splits > 1) call.workspace[(s * n + j) * m + i] = chain;
        sum += chain;
      }
      sum *= call.alpha;
      const auto at = static_cast<int64_t>(j);
      const auto row = static_cast<int64_t>(i);
      if (uses_c) sum = __builtin_fmaf(call.beta, call.in[2][at * call.layout[2].ld + row], sum);
      if (bias != nullptr) sum += bias[i];
      call.out[at * call.layout[3].ld + row] = sum;
    }
  }
  touch_matrix(call.out, call.layout[3], Access::write);
}

// What a device finds out only when it runs.
void check_memory(const Call& call) {
  const char* names = "ABCD";
  for (int i = 0; i < 4; ++i) {
    const float* p = i < 3 ? call.in[i] : call.out;
    const MatrixLayout& l = call.layout[i];
    const auto bytes = (static_cast<size_t>(l.ld) * (l.cols - 1) + l.rows) * sizeof(float);
    if (!is_device(p, bytes)) {
      throw Fault(FaultKind::out_of_bounds, {"cublasLtMatmul", {}, {}, false},
                  fmt::format("{}: {} bytes that are not in one allocation of device memory", names[i], bytes));
    }
    if (reinterpret_cast<uintptr_t>(p) % call.algorithm.alignment != 0) {
      throw Fault(FaultKind::misaligned, {"cublasLtMatmul", {}, {}, false},
                  fmt::format("{}: the algorithm was asked for with an alignment of {} bytes", names[i],
                              call.algorithm.alignment));
    }
  }
}

uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  return static_cast<uint32_t>(std::min<uintptr_t>(address & (~address + 1), 256));
}

}  // namespace
}  // namespace govtrain::simt

namespace simt = govtrain::simt;

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = simt::handles.add({});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return simt::handles.remove(handle) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  simt::MatmulDesc made{};
  made.compute = compute;
  made.scale = scale;
  *desc = simt::descs.add(made);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  return simt::descs.remove(desc) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  if (!simt::descs.has(desc) || value == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  void* to = nullptr;
  size_t size = 4;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      to = &desc->trans_a;
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      to = &desc->trans_b;
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      to = &desc->epilogue;
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      to = &desc->bias;
      size = sizeof(desc->bias);
      break;
  }
  if (to == nullptr || bytes != size) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, value, size);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
  *layout = simt::layouts.add({type, rows, cols, ld});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return simt::layouts.remove(layout) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = simt::preferences.add({});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return simt::preferences.remove(preference) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  if (!simt::preferences.has(preference) || value == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    if (bytes != sizeof(preference->workspace)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&preference->workspace, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  }
  const int i = attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
  if (i < 0 || i > 3 || bytes != sizeof(uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&preference->alignment[i], value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
  if (!simt::handles.has(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!simt::known(desc, {a, b, c, d}) || !simt::preferences.has(preference) || requested < 1)
    return CUBLAS_STATUS_INVALID_VALUE;
  *returned = 0;
  const auto product = simt::product_of(*desc, *a, *b, *c, *d);
  if (!product) return CUBLAS_STATUS_INVALID_VALUE;
  if (!simt::supported(*desc, *a, *b, *c, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const simt::Algorithm chosen = simt::choose(*product, {a, b, c, d}, *preference);
  results[0] = {{}, chosen.workspace(), CUBLAS_STATUS_SUCCESS, 1.0f, {}};
  std::memcpy(results[0].algo.data, &chosen, sizeof(chosen));
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* A,
                              cublasLtMatrixLayout_t a, const void* B, cublasLtMatrixLayout_t b, const void* beta,
                              const void* C, cublasLtMatrixLayout_t c, void* D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  if (!simt::handles.has(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!simt::known(desc, {a, b, c, d}) || alpha == nullptr || beta == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const auto product = simt::product_of(*desc, *a, *b, *c, *d);
  const bool bias = desc->epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (!product || (bias && desc->bias == nullptr)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!simt::supported(*desc, *a, *b, *c, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  simt::Call call{*desc, {*a, *b, *c, *d}, 0.0f, 0.0f, {}, static_cast<float*>(D), {}, static_cast<float*>(workspace)};
  std::memcpy(&call.alpha, alpha, sizeof(float));
  std::memcpy(&call.beta, beta, sizeof(float));
  const void* in[] = {A, B, C};
  for (int i = 0; i < 3; ++i) call.in[i] = static_cast<const float*>(in[i]);
  // In place means one layout; C that only overlaps D would be read half written.
  if (C == D && (c->ld != d->ld)) return CUBLAS_STATUS_INVALID_VALUE;
  if (algo != nullptr) {
    std::memcpy(&call.algorithm, algo->data, sizeof(call.algorithm));
    const auto& p = call.algorithm.product;
    if (p.m != product->m || p.n != product->n || p.k != product->k) return CUBLAS_STATUS_INVALID_VALUE;
  } else {
    const simt::MatmulPreference how{
        workspace_bytes, {simt::alignment_of(A), simt::alignment_of(B), simt::alignment_of(C), simt::alignment_of(D)}};
    call.algorithm = simt::choose(*product, {a, b, c, d}, how);
  }
  const size_t needed = call.algorithm.workspace();
  if (needed > workspace_bytes || (needed > 0 && reinterpret_cast<uintptr_t>(workspace) % 16 != 0))
    return CUBLAS_STATUS_INVALID_VALUE;
  simt::check_memory(call);
  simt::enqueue(stream, "cublasLtMatmul", [call] { simt::multiply(call); });
  return CUBLAS_STATUS_SUCCESS;
}
