// Operands of mma.sync by way of shared memory: every register of every fragment holds the elements that the PTX manual
// puts there, rounded, and zeros beyond the edges of the matrix; no access has a bank conflict.
#include "kernels/cuda/mma_tile.h"
#include "tests/cuda/rounding.h"
#include "tests/cuda/support.h"
#include "tests/kernels/guarded.h"
#include "tests/simt/ptx_layout.h"

namespace govtrain::test {
namespace {

using cuda::Precision;
using cuda::SharedArray;
using cuda::Staged;
using cuda::store;

constexpr int kDepth = 32;

// Where the block's operand begins in the matrix, and how many rows of it count.
struct Corner {
  int row, rows, col;
};

// Fragments of the whole operand: [4 warps, steps of k, 32 lanes, 4 registers]. A warp takes 16 of the 64.
template <Precision precision, bool deep>
void take_fragments(View v, Corner at, unsigned* a, unsigned* b) {
  using S = Staged<precision, deep, kDepth>;
  __shared__ SharedArray<typename S::Element, S::size> s;
  cuda::Stager<precision, deep, kDepth> stager;
  stager.begin(v, at.row, at.rows, at.col, s.span());
  stager.end(s.span());
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int k = 0; k < kDepth; k += S::k) {
    unsigned fa[4];
    unsigned low[2];
    unsigned high[2];
    cuda::fragment_a<precision, deep, kDepth>(s.span(), 16 * warp, k, fa);
    cuda::fragments_b<precision, deep, kDepth>(s.span(), 16 * warp, k, low, high);
    const int to = ((warp * kDepth + k) / S::k * 32 + static_cast<int>(threadIdx.x) % 32) * 4;
    for (int r = 0; r < 4; ++r) {
      store(a + to + r, fa[r]);
      store(b + to + r, r < 2 ? low[r] : high[r - 2]);
    }
  }
}

// Register r of `lane` for a fragment whose element (row, col) is at(row, col).
template <class At>
unsigned expected_a(Precision precision, int lane, int r, const At& at) {
  if (precision == Precision::tf32)
    return std::bit_cast<unsigned>(simt::to_tf32(at(tf32_a_row(lane, r), tf32_a_col(lane, r))));
  unsigned bits = 0;
  for (int h = 0; h < 2; ++h) {
    const float x = at(bf16_a_row(lane, 2 * r + h), bf16_a_col(lane, 2 * r + h));
    bits |= static_cast<unsigned>(__float2bfloat16(x).bits) << (16 * h);
  }
  return bits;
}
template <class At>
unsigned expected_b(Precision precision, int lane, int r, const At& at) {
  if (precision == Precision::tf32) return std::bit_cast<unsigned>(simt::to_tf32(at(tf32_b_row(lane, r), b_col(lane))));
  unsigned bits = 0;
  for (int h = 0; h < 2; ++h) {
    bits |= static_cast<unsigned>(__float2bfloat16(at(bf16_b_row(lane, 2 * r + h), b_col(lane))).bits) << (16 * h);
  }
  return bits;
}

template <Precision precision, bool deep>
void check(int64_t rows, int64_t cols, int64_t pad, Corner at) {
  constexpr int kStep = Staged<precision, deep, kDepth>::k;
  INFO(name_of(precision) << (deep ? " deep" : "") << ", matrix " << rows << " x " << cols << ", from " << at.row
                          << ", " << at.col << ", pad " << pad);
  Guarded m(rows, cols, pad);
  m.randomise(static_cast<uint64_t>(rows + cols));
  const View host = m.cview();
  const DeviceBuffer<float> device(std::vector<float>(host.data, host.data + (rows - 1) * host.ld + cols));
  constexpr size_t kOut = 4 * kDepth / kStep * 32 * 4;
  const DeviceBuffer<unsigned> a(kOut);
  const DeviceBuffer<unsigned> b(kOut);
  simt::take_counts();
  cuda::launch("take_fragments", take_fragments<precision, deep>, 1, cuda::kTileThreads, 0, nullptr,
               View{device.get(), rows, cols, host.ld}, at, a.get(), b.get());
  CHECK(simt::take_counts()[0].bank_conflicts == 0);
  const auto got_a = a.host();
  const auto got_b = b.host();
  // Element (i of the 64, k of the depth) of the operand.
  const auto element = [&](int i, int k) {
    const int r = deep ? k : i;
    const int c = deep ? i : k;
    const bool inside = r < at.rows && at.row + r < rows && at.col + c < cols;
    return inside ? host.at(at.row + r, at.col + c) : 0.0f;
  };
  size_t wrong = 0;
  for (int warp = 0; warp < 4; ++warp) {
    for (int k = 0; k < kDepth; k += kStep) {
      for (int lane = 0; lane < 32; ++lane) {
        for (int r = 0; r < 4; ++r) {
          const auto i = static_cast<size_t>(((warp * kDepth + k) / kStep * 32 + lane) * 4 + r);
          const unsigned fa =
              expected_a(precision, lane, r, [&](int y, int x) { return element(16 * warp + y, k + x); });
          const unsigned fb = expected_b(precision, lane, r % 2,
                                         [&](int y, int x) { return element(16 * warp + 8 * (r / 2) + x, k + y); });
          wrong += got_a[i] != fa ? 1 : 0;
          wrong += got_b[i] != fb ? 1 : 0;
        }
      }
    }
  }
  CHECK(wrong == 0);
}

template <Precision precision>
void check_all() {
  check<precision, true>(32, 64, 0, {0, 32, 0});
  check<precision, true>(50, 100, 4, {32, 18, 64});
  check<precision, true>(50, 101, 2, {5, 20, 64});
  check<precision, false>(64, 32, 0, {0, 64, 0});
  check<precision, false>(100, 44, 4, {64, 36, 32});
  check<precision, false>(100, 43, 2, {64, 36, 32});
}

}  // namespace

TEST_CASE("fragments of tf32 hold what the PTX manual says") { check_all<Precision::tf32>(); }
TEST_CASE("fragments of bf16 hold what the PTX manual says") { check_all<Precision::bf16>(); }

}  // namespace govtrain::test
