// The emulated slice of cuBLASLt: its results in the order that its header states, the arguments that it refuses, and
// what it says about memory and streams.
#include "kernels/simt/cublaslt.h"

#include <cmath>

#include "core/rng.h"
#include "tests/simt/support.h"

namespace govtrain::test {
namespace {

std::vector<float> numbers(size_t n, uint64_t seed) {
  const Rng rng(seed, Stream::test);
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = 2.0f * rng.uniform(i) - 1.0f;
  return v;
}

// D [m, n] = A [m, k] B [k, n], all column-major; A is given as its transpose.
struct Call {
  uint64_t m = 5, n = 7, k = 9;
  int64_t lda = 9, ldb = 9, ldd = 5;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  float alpha = 1.0f, beta = 0.0f;
  uint64_t workspace_limit = uint64_t{1} << 20;
  uint32_t alignment = 256;
  bool bias = false;
  cudaStream_t stream = nullptr;

  struct Descriptors {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulPreference_t preference;
    ~Descriptors() {
      CHECK(cublasLtMatmulPreferenceDestroy(preference) == CUBLAS_STATUS_SUCCESS);
      for (const auto l : {a, b, d}) CHECK(cublasLtMatrixLayoutDestroy(l) == CUBLAS_STATUS_SUCCESS);
      CHECK(cublasLtMatmulDescDestroy(desc) == CUBLAS_STATUS_SUCCESS);
      CHECK(cublasLtDestroy(handle) == CUBLAS_STATUS_SUCCESS);
    }
  };

  void open(Descriptors& x, const float* bias_at) const {
    REQUIRE(cublasLtCreate(&x.handle) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasLtMatmulDescCreate(&x.desc, compute, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
    const int32_t transposed = CUBLAS_OP_T;
    cublasLtMatmulDescSetAttribute(x.desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed));
    if (bias) {
      const uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      cublasLtMatmulDescSetAttribute(x.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
      cublasLtMatmulDescSetAttribute(x.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias_at, sizeof(bias_at));
    }
    cublasLtMatrixLayoutCreate(&x.a, CUDA_R_32F, k, m, lda);
    cublasLtMatrixLayoutCreate(&x.b, CUDA_R_32F, k, n, ldb);
    cublasLtMatrixLayoutCreate(&x.d, CUDA_R_32F, m, n, ldd);
    cublasLtMatmulPreferenceCreate(&x.preference);
    cublasLtMatmulPreferenceSetAttribute(x.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_limit,
                                         sizeof(workspace_limit));
    for (const auto which : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                             CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      cublasLtMatmulPreferenceSetAttribute(x.preference, which, &alignment, sizeof(alignment));
    }
  }

  // The heuristic, then the product with `lent` bytes of workspace (or what the algorithm asks for).
  cublasStatus_t run(const float* a, const float* b, float* d, const float* bias_at = nullptr,
                     int64_t lent = -1) const {
    Descriptors x;
    open(x, bias_at);
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(x.handle, x.desc, x.a, x.b, x.d, x.d, x.preference, 1, &found, &count);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    REQUIRE(count == 1);
    REQUIRE(found.workspaceSize <= workspace_limit);
    const DeviceBuffer<unsigned char> workspace(found.workspaceSize + 1);
    status = cublasLtMatmul(x.handle, x.desc, &alpha, a, x.a, b, x.b, &beta, d, x.d, d, x.d, &found.algo,
                            workspace.get(), lent < 0 ? found.workspaceSize : static_cast<size_t>(lent), stream);
    cudaDeviceSynchronize();
    return status;
  }
};

}  // namespace

TEST_CASE("emulated cuBLASLt sums as its header says, with bias and what was there before") {
  for (const auto compute : {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_16BF}) {
    Call c;
    c.m = 5, c.n = 7, c.k = 150;
    c.lda = 152, c.ldb = 151, c.ldd = 6;
    c.compute = compute;
    c.alpha = 0.5f;
    c.beta = -2.0f;
    c.bias = true;
    const auto a = numbers(152 * 5, 1);
    const auto b = numbers(151 * 7, 2);
    const auto d = numbers(6 * 7, 3);
    const auto bias = numbers(5, 4);
    const DeviceBuffer<float> da(a), db(b), dd(d), dbias(bias);
    REQUIRE(c.run(da.get(), db.get(), dd.get(), dbias.get()) == CUBLAS_STATUS_SUCCESS);
    const auto got = dd.host();
    const auto take = [&](float v) {
      if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return simt::to_tf32(v);
      return compute == CUBLAS_COMPUTE_32F_FAST_16BF ? __bfloat162float(__float2bfloat16(v)) : v;
    };
    for (size_t j = 0; j < 7; ++j) {
      for (size_t i = 0; i < 5; ++i) {
        // One tile and k = 150: four parts of 38.
        float sum = 0.0f;
        for (size_t part = 0; part < 4; ++part) {
          float chain = 0.0f;
          for (size_t l = 38 * part; l < std::min<size_t>(150, 38 * (part + 1)); ++l)
            chain = std::fmaf(take(a[i * 152 + l]), take(b[j * 151 + l]), chain);
          sum += chain;
        }
        CHECK(got[j * 6 + i] == std::fmaf(-2.0f, d[j * 6 + i], 0.5f * sum) + bias[i]);
      }
      CHECK(got[j * 6 + 5] == d[j * 6 + 5]);  // between the columns
    }
  }
}

TEST_CASE("emulated cuBLASLt refuses what the library refuses") {
  const DeviceBuffer<float> a(numbers(4096, 1)), b(numbers(4096, 2));
  const DeviceBuffer<float> d(numbers(4096, 3));
  const auto with = [&](const Call& c, int64_t lent = -1) { return c.run(a.get(), b.get(), d.get(), nullptr, lent); };
  CHECK(with({}) == CUBLAS_STATUS_SUCCESS);
  Call c;
  c.lda = 8;  // below the 9 rows
  CHECK(with(c) == CUBLAS_STATUS_INVALID_VALUE);
  c = {};
  c.ldd = 4;
  CHECK(with(c) == CUBLAS_STATUS_INVALID_VALUE);
  c = {};
  c.bias = true;  // and no pointer
  CHECK(with(c) == CUBLAS_STATUS_INVALID_VALUE);
  c = {};
  c.k = 200, c.lda = c.ldb = 200;
  CHECK(with(c) == CUBLAS_STATUS_SUCCESS);
  CHECK(with(c, 8) == CUBLAS_STATUS_INVALID_VALUE);  // less workspace than the algorithm asked for
  c.workspace_limit = 8;
  CHECK(with(c) == CUBLAS_STATUS_SUCCESS);  // one that asks for none

  Call::Descriptors x;
  Call().open(x, nullptr);
  const int32_t wide[2] = {CUBLAS_OP_T, 0};
  CHECK(cublasLtMatmulDescSetAttribute(x.desc, CUBLASLT_MATMUL_DESC_TRANSB, wide, 8) == CUBLAS_STATUS_INVALID_VALUE);
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  // B where A is expected: the shapes do not fit.
  CHECK(cublasLtMatmulAlgoGetHeuristic(x.handle, x.desc, x.b, x.b, x.d, x.d, x.preference, 1, &found, &count) ==
        CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasLtMatmulAlgoGetHeuristic(nullptr, x.desc, x.a, x.b, x.d, x.d, x.preference, 1, &found, &count) ==
        CUBLAS_STATUS_NOT_INITIALIZED);
  cublasLtMatrixLayout_t half = nullptr;
  cublasLtMatrixLayoutCreate(&half, CUDA_R_16F, 9, 5, 9);
  CHECK(cublasLtMatmulAlgoGetHeuristic(x.handle, x.desc, half, x.b, x.d, x.d, x.preference, 1, &found, &count) ==
        CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(cublasLtMatrixLayoutDestroy(half) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublasLtMatrixLayoutDestroy(half) == CUBLAS_STATUS_INVALID_VALUE);
}

TEST_CASE("emulated cuBLASLt finds wrong memory, unwritten memory and streams without an order") {
  using enum simt::FaultKind;
  const DeviceBuffer<float> a(numbers(64, 1)), b(numbers(64, 2));
  const DeviceBuffer<float> d(35), empty(64);
  const Call plain;
  expect_fault(out_of_bounds, {"cublasLtMatmul", "C: 140 bytes"}, [&] { plain.run(a.get(), b.get(), d.get() + 1); });
  std::vector<float> host(64);
  expect_fault(out_of_bounds, {"A"}, [&] { plain.run(host.data(), b.get(), d.get()); });
  expect_fault(unwritten, {"nobody"}, [&] { plain.run(empty.get(), b.get(), d.get()); });
  // A pointer that is less aligned than was promised to the heuristic.
  Call aligned;
  aligned.m = 4, aligned.n = 4, aligned.k = 4;
  aligned.lda = aligned.ldb = aligned.ldd = 4;
  expect_fault(misaligned, {"B"}, [&] { aligned.run(a.get(), b.get() + 1, d.get()); });
  aligned.alignment = 4;
  CHECK(aligned.run(a.get(), b.get() + 1, d.get()) == CUBLAS_STATUS_SUCCESS);

  cudaStream_t one, two;
  REQUIRE(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(d.get(), 0, 35 * sizeof(float), one) == cudaSuccess);
  Call other;
  other.stream = two;
  expect_fault(unsynchronised, {"cudaMemsetAsync", "cublasLtMatmul"}, [&] { other.run(a.get(), b.get(), d.get()); });
  cudaStreamSynchronize(one);
  CHECK(other.run(a.get(), b.get(), d.get()) == CUBLAS_STATUS_SUCCESS);
  cudaStreamDestroy(one);
  cudaStreamDestroy(two);
}

}  // namespace govtrain::test
