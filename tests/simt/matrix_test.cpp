// ldmatrix, mma.sync and wmma against the tables of ptx_layout.h; number conversions against nearest-value searches in
// double.
#include <cmath>

#include "core/rng.h"
#include "tests/simt/ptx_layout.h"
#include "tests/simt/support.h"

namespace govtrain::test {
namespace {

using cuda::launch;
using cuda::load;
using cuda::SharedArray;
using cuda::store;

std::vector<float> random(size_t n, uint64_t seed, bool whole) {
  const Rng rng(seed, Stream::test);
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) {
    const float u = 2.0f * rng.uniform(i) - 1.0f;
    v[i] = whole ? std::round(u * 9.0f) : __bfloat162float(__float2bfloat16(u));
  }
  return v;
}

// d = a b + d for one warp; a [16,k], b [k,8], d [16,8] in plain order.
template <int k>
void one_mma(const float* a, const float* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  float c[4];
  for (int i = 0; i < 4; ++i) c[i] = load(d + acc_row(lane, i) * 8 + acc_col(lane, i));
  uint32_t ra[4] = {};
  uint32_t rb[2] = {};
  if constexpr (k == 16) {
    for (int i = 0; i < 8; ++i) {
      const auto v = __float2bfloat16(load(a + bf16_a_row(lane, i) * k + bf16_a_col(lane, i)));
      ra[i / 2] |= static_cast<uint32_t>(v.bits) << (16 * (i % 2));
    }
    for (int i = 0; i < 4; ++i) {
      const auto v = __float2bfloat16(load(b + bf16_b_row(lane, i) * 8 + b_col(lane)));
      rb[i / 2] |= static_cast<uint32_t>(v.bits) << (16 * (i % 2));
    }
    cuda::mma_m16n8k16_bf16(c, ra, rb);
  } else {
    for (int i = 0; i < 4; ++i)
      ra[i] = std::bit_cast<uint32_t>(load(a + tf32_a_row(lane, i) * k + tf32_a_col(lane, i)));
    for (int i = 0; i < 2; ++i) rb[i] = std::bit_cast<uint32_t>(load(b + tf32_b_row(lane, i) * 8 + b_col(lane)));
    cuda::mma_m16n8k8_tf32(c, ra, rb);
  }
  for (int i = 0; i < 4; ++i) store(d + acc_row(lane, i) * 8 + acc_col(lane, i), c[i]);
}

// The same for [16,k] times [k,16] with wmma.
template <int k>
void one_wmma(const float* a, const float* b, float* d) {
  using namespace nvcuda::wmma;  // NOLINT
  using T = std::conditional_t<k == 16, __nv_bfloat16, precision::tf32>;
  using E = std::conditional_t<k == 16, __nv_bfloat16, float>;
  __shared__ SharedArray<E, 16 * k> sa;
  __shared__ SharedArray<E, 16 * k> sb;
  const auto put = [](SharedArray<E, 16 * k>& s, int i, float v) {
    if constexpr (k == 16) {
      s[i] = __float2bfloat16(v);
    } else {
      s[i] = v;
    }
  };
  for (int i = static_cast<int>(threadIdx.x); i < 16 * k; i += 32) {
    put(sa, i, load(a + i));
    put(sb, i, load(b + i));
  }
  __syncwarp();
  fragment<matrix_a, 16, 16, k, T, row_major> fa;
  fragment<matrix_b, 16, 16, k, T, row_major> fb;
  fragment<accumulator, 16, 16, k, float> fc;
  load_matrix_sync(fa, sa.at(0), k);
  load_matrix_sync(fb, sb.at(0), 16);
  load_matrix_sync(fc, d, 16, mem_row_major);
  mma_sync(fc, fa, fb, fc);
  for (float& x : fc.x) x *= 2.0f;
  store_matrix_sync(d, fc, 16, mem_row_major);
}

template <int k>
void check_mma() {
  const auto a = random(16 * k, 1, true);
  const auto b = random(k * 8, 2, true);
  const auto c = random(16 * 8, 3, true);
  const DeviceBuffer<float> da(a);
  const DeviceBuffer<float> db(b);
  const DeviceBuffer<float> dd(c);
  simt::take_counts();
  launch("one_mma", one_mma<k>, 1, 32, 0, nullptr, static_cast<const float*>(da.get()),
         static_cast<const float*>(db.get()), dd.get());
  CHECK(simt::take_counts()[0].mma == 16 * 8 * k);
  const auto d = dd.host();
  for (size_t i = 0; i < 16; ++i) {
    for (size_t j = 0; j < 8; ++j) {
      float sum = c[i * 8 + j];
      for (size_t l = 0; l < k; ++l) sum += a[i * k + l] * b[l * 8 + j];  // whole numbers: exact in any order
      CHECK(d[i * 8 + j] == sum);
    }
  }
}

// wmma on [16,16] = two mma on [16,8], bit for bit, on numbers whose sums do round.
template <int k>
void check_wmma() {
  const auto a = random(16 * k, 4, false);
  const auto b = random(k * 16, 5, false);
  const auto c = random(16 * 16, 6, false);
  const DeviceBuffer<float> da(a);
  const DeviceBuffer<float> db(b);
  const DeviceBuffer<float> dd(c);
  launch("one_wmma", one_wmma<k>, 1, 32, 0, nullptr, static_cast<const float*>(da.get()),
         static_cast<const float*>(db.get()), dd.get());
  const auto whole = dd.host();
  for (size_t half = 0; half < 2; ++half) {
    std::vector<float> b8(k * 8);
    std::vector<float> c8(16 * 8);
    for (size_t i = 0; i < b8.size(); ++i) b8[i] = b[i / 8 * 16 + half * 8 + i % 8];
    for (size_t i = 0; i < c8.size(); ++i) c8[i] = c[i / 8 * 16 + half * 8 + i % 8];
    const DeviceBuffer<float> db8(b8);
    const DeviceBuffer<float> dd8(c8);
    launch("one_mma", one_mma<k>, 1, 32, 0, nullptr, static_cast<const float*>(da.get()),
           static_cast<const float*>(db8.get()), dd8.get());
    const auto part = dd8.host();
    for (size_t i = 0; i < part.size(); ++i) CHECK(whole[i / 8 * 16 + half * 8 + i % 8] == 2.0f * part[i]);
  }
}

void four_matrices(const uint16_t* in, uint32_t* out) {
  __shared__ SharedArray<uint16_t, 256> s;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) s[i] = load(in + i);
  __syncwarp();
  uint32_t r[4];
  cuda::ldmatrix_x4(r, s.at(lane * 8));
  for (int i = 0; i < 4; ++i) store(out + 8 * lane + i, r[i]);
  cuda::ldmatrix_x4_trans(r, s.at(lane * 8));
  for (int i = 0; i < 4; ++i) store(out + 8 * lane + 4 + i, r[i]);
}

}  // namespace

TEST_CASE("mma.sync puts every element where the PTX manual says") {
  check_mma<16>();
  check_mma<8>();
}

TEST_CASE("wmma has the bits of mma.sync") {
  check_wmma<16>();
  check_wmma<8>();
}

TEST_CASE("ldmatrix hands out rows, and columns when transposed") {
  std::vector<uint16_t> in(256);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint16_t>(1000 + i);
  const DeviceBuffer<uint16_t> din(in);
  const DeviceBuffer<uint32_t> dout(256);
  launch("four_matrices", four_matrices, 1, 32, 0, nullptr, static_cast<const uint16_t*>(din.get()), dout.get());
  const auto out = dout.host();
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned m = 0; m < 4; ++m) {
      const unsigned first = 1000 + 64 * m + 8 * (lane / 4) + 2 * (lane % 4);
      CHECK(out[8 * lane + m] == (first | (first + 1) << 16));
      const unsigned down = 1000 + 64 * m + 8 * (2 * (lane % 4)) + lane / 4;
      CHECK(out[8 * lane + 4 + m] == (down | (down + 8) << 16));
    }
  }
}

TEST_CASE("bfloat16 and tf32 round to the nearest value") {
  const Rng rng(7, Stream::test);
  for (uint64_t i = 0; i < 20000; ++i) {
    // Every tenth pattern is a tie.
    const uint32_t bits = i % 10 == 0 ? (rng.bits(i) & 0xFFFF0000u) | 0x8000u : rng.bits(i);
    const float x = std::bit_cast<float>(bits);
    if (!std::isfinite(x)) continue;
    const float down = std::bit_cast<float>(bits & 0xFFFF0000u);
    const float up = std::bit_cast<float>((bits & 0xFFFF0000u) + 0x10000u);
    const float got = __bfloat162float(__float2bfloat16(x));
    const double to_down = std::abs(static_cast<double>(x) - static_cast<double>(down));
    const double to_up = std::isinf(up) ? 1e300 : std::abs(static_cast<double>(up) - static_cast<double>(x));
    CAPTURE(bits);
    if (std::isinf(got)) {
      CHECK(std::isinf(up));
    } else if (to_down != to_up) {
      CHECK(got == (to_down < to_up ? down : up));
    } else {
      CHECK((__float2bfloat16(x).bits & 1u) == 0);
    }
    const float t = simt::to_tf32(x);
    const float t_down = std::bit_cast<float>(bits & 0xFFFFE000u);
    const float t_up = std::bit_cast<float>((bits & 0xFFFFE000u) + 0x2000u);
    const double a = std::abs(static_cast<double>(x) - static_cast<double>(t_down));
    const double b = std::isinf(t_up) ? 1e300 : std::abs(static_cast<double>(t_up) - static_cast<double>(x));
    if (!std::isinf(t)) CHECK(t == (a < b ? t_down : t_up));  // ties away from zero
  }
  CHECK(std::isnan(__bfloat162float(__float2bfloat16(std::nanf("")))));
  CHECK(std::isnan(simt::to_tf32(std::bit_cast<float>(0x7F800001u))));
  CHECK(std::isinf(simt::to_tf32(HUGE_VALF)));
  CHECK(std::isinf(__bfloat162float(__float2bfloat16(HUGE_VALF))));
}

}  // namespace govtrain::test
