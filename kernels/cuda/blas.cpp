#include "kernels/cuda/blas.h"

#include <algorithm>
#include <utility>

namespace govtrain::cuda {
namespace {

constexpr uint64_t kMostWorkspace = uint64_t{32} << 20;

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error("cublaslt", "{}: {}", what, cublasLtGetStatusString(status));
}

cublasComputeType_t compute_type(Precision precision) {
  if (precision == Precision::tf32) return CUBLAS_COMPUTE_32F_FAST_TF32;
  return precision == Precision::bf16 ? CUBLAS_COMPUTE_32F_FAST_16BF : CUBLAS_COMPUTE_32F;
}

uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  return static_cast<uint32_t>(std::min<uintptr_t>(address & (~address + 1), 256));
}

// A row-major matrix is its transpose in the library's order.
class Layout {
 public:
  explicit Layout(View m) {
    check(cublasLtMatrixLayoutCreate(&layout_, CUDA_R_32F, static_cast<uint64_t>(m.cols), static_cast<uint64_t>(m.rows),
                                     m.ld),
          "matrix layout");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  operator cublasLtMatrixLayout_t() const { return layout_; }  // NOLINT: stands for the handle

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

class Operation {
 public:
  explicit Operation(Precision precision) {
    check(cublasLtMatmulDescCreate(&desc_, compute_type(precision), CUDA_R_32F), "operation");
  }
  ~Operation() { cublasLtMatmulDescDestroy(desc_); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  operator cublasLtMatmulDesc_t() const { return desc_; }  // NOLINT: stands for the handle

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    check(cublasLtMatmulDescSetAttribute(desc_, attribute, &value, sizeof(value)), "operation");
  }

 private:
  cublasLtMatmulDesc_t desc_ = nullptr;
};

}  // namespace

Blas::Blas(Device& device) : device_(&device) {
  check(cublasLtCreate(&handle_), "start");
  check(cublasLtMatmulPreferenceCreate(&preference_), "preference");
  check(cublasLtMatmulPreferenceSetAttribute(preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kMostWorkspace,
                                             sizeof(kMostWorkspace)),
        "preference");
}

Blas::~Blas() {
  cublasLtMatmulPreferenceDestroy(preference_);
  cublasLtDestroy(handle_);
}

void Blas::linear(View x, View w, const float* bias, MutView y, Precision precision) {
  multiply({x, false}, {w, true}, y, false, bias, precision);
}
void Blas::linear_dx(View dy, View w, MutView dx, bool add, Precision precision) {
  multiply({dy, false}, {w, false}, dx, add, nullptr, precision);
}
void Blas::outer(View dy, View x, MutView grad, Precision precision) {
  if (x.rows > 0) multiply({dy, true}, {x, false}, grad, true, nullptr, precision);
}

void Blas::multiply(const Operand& a, const Operand& b, MutView c, bool add, const float* bias, Precision precision) {
  if (c.size() == 0) return;
  // c^T = b^T a^T: the library's A is b.
  Operation operation(precision);
  operation.set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
  operation.set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<int32_t>(a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N));
  if (bias != nullptr) {
    operation.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(CUBLASLT_EPILOGUE_BIAS));
    operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  const Layout first(b.m), second(a.m), result(c);
  const std::pair<cublasLtMatmulPreferenceAttributes_t, const void*> aligned[] = {
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b.m.data},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a.m.data},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c.data},
      {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c.data}};
  for (const auto& [attribute, p] : aligned) {
    const uint32_t bytes = alignment_of(p);
    check(cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &bytes, sizeof(bytes)), "preference");
  }
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  check(
      cublasLtMatmulAlgoGetHeuristic(handle_, operation, first, second, result, result, preference_, 1, &found, &count),
      "algorithm");
  if (count == 0)
    throw Error("cublaslt", "no algorithm for a product of {} x {} x {}", c.rows, c.cols, a.m.size() / c.rows);
  device_->recorder.flush();
  const Scratch<unsigned char> workspace(*device_, static_cast<int64_t>(found.workspaceSize));
  const float alpha = 1.0f;
  const float beta = add ? 1.0f : 0.0f;
  check(cublasLtMatmul(handle_, operation, &alpha, b.m.data, first, a.m.data, second, &beta, c.data, result, c.data,
                       result, &found.algo, workspace.get(), found.workspaceSize, device_->own),
        "product");
}

}  // namespace govtrain::cuda
