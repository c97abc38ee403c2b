// Attention on tensor cores: what its kernels share. A block owns 64 rows of a head, each of its four warps 16 of them,
// and walks over the other side in tiles of 32 rows. Scores, probabilities and results are float32 in registers, in the
// lane layout of mma.sync; a tile of weights becomes an operand there, by way of no memory (Dao 2023,
// FlashAttention-2). Private to kernels/cuda. Not here: the walks (attention_mma.cu, attention_mma_backward.cu).
#pragma once

#include "kernels/cuda/attention_common.h"
#include "kernels/cuda/mma_tile.h"

namespace govtrain::cuda {

static_assert(kAttentionThreads == kTileThreads);
constexpr int kOwnRows = attention_tile(Precision::bf16);
constexpr int kWarpRows = kOwnRows / 4;
constexpr int kOtherRows = 32;

// Rows of a head in shared memory, whichever operand they are. In tf32 the pitch keeps both ways to read them free of
// bank conflicts.
template <Precision precision, int width, int rows>
using HeadRows = Staged<precision, false, width, rows>;
template <Precision precision, int width>
using HeadSpan = SharedSpan<typename HeadRows<precision, width, kOtherRows>::Element>;
template <Precision precision, int width, int rows>
constexpr int kHeadBytes = HeadRows<precision, width, rows>::size* static_cast<int>(
    sizeof(typename HeadRows<precision, width, rows>::Element));

// Dynamic shared memory: `owned` tiles of own rows, then two of others.
template <Precision precision, int width, int owned>
constexpr int kMmaShared = owned* kHeadBytes<precision, width, kOwnRows> + 2 * kHeadBytes<precision, width, kOtherRows>;
template <Precision precision, int width>
__device__ __forceinline__ HeadSpan<precision, width> own_rows(int number) {
  using Rows = HeadRows<precision, width, kOwnRows>;
  return dynamic_shared<typename Rows::Element>(number * kHeadBytes<precision, width, kOwnRows>, Rows::size);
}
template <Precision precision, int width, int owned>
__device__ __forceinline__ HeadSpan<precision, width> other_rows(int number) {
  using Rows = HeadRows<precision, width, kOtherRows>;
  return dynamic_shared<typename Rows::Element>(
      owned * kHeadBytes<precision, width, kOwnRows> + number * kHeadBytes<precision, width, kOtherRows>, Rows::size);
}

// Where two floats can stand beside a row, in what its pitch leaves free.
template <Precision precision, int width>
__device__ __forceinline__ float2* beside_row(HeadSpan<precision, width> s, int row) {
  using Rows = HeadRows<precision, width, kOtherRows>;
  static_assert((Rows::pitch - width) * sizeof(typename Rows::Element) >= sizeof(float2));
  return reinterpret_cast<float2*>(s.at(row * Rows::pitch + width));
}

// Rows [row, min(row + rows, end)) and columns [col, col + head_dim) of `v` into `to`, 0 elsewhere. tf32 goes by
// cp.async: arrive() before a barrier.
template <Precision precision, int width, int rows>
__device__ __forceinline__ void stage_rows(View v, int row, int end, int col, int head_dim,
                                           HeadSpan<precision, width> to) {
  v.data += col;
  v.cols = head_dim;
  Stager<precision, false, width, rows> stager;
  stager.begin(v, row, end - row, 0, to);
  stager.end(to);
}
__device__ __forceinline__ void arrive() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
}

// A warp's tile of scores, 16 own by 32 other rows: [8 others][4] as mma.sync has them.
using Scores = float[kOtherRows / 8][4];

// Where element e of column group j stands in the warp's tile; with it, which of the lane's two rows that is.
__device__ __forceinline__ int score_row(int e) { return static_cast<int>(threadIdx.x) % 32 / 4 + e / 2 * 8; }
__device__ __forceinline__ int score_col(int j, int e) { return 8 * j + static_cast<int>(threadIdx.x) % 4 * 2 + e % 2; }

// s = own rows [row, row+16) times the other rows.
template <Precision precision, int width>
__device__ __forceinline__ void multiply_rows(HeadSpan<precision, width> own, int row, HeadSpan<precision, width> other,
                                              Scores& s) {
  GOVTRAIN_UNROLL
  for (auto& group : s) {
    for (float& v : group) v = 0.0f;
  }
  for (int k = 0; k < width; k += HeadRows<precision, width, kOtherRows>::k) {
    unsigned a[4];
    fragment_a<precision, false, width>(own, row, k, a);
    GOVTRAIN_UNROLL
    for (int j = 0; j < kOtherRows / 8; j += 2) {
      unsigned low[2];
      unsigned high[2];
      fragments_b<precision, false, width>(other, 8 * j, k, low, high);
      multiply_fragments<precision>(s[j], a, low);
      multiply_fragments<precision>(s[j + 1], a, high);
    }
  }
}

// Weights as the first operand of a product over their columns. The sums of two groups of 8 columns are where bf16
// wants 16 values of k; tf32 wants every fourth column where the sums have neighbours, so its k runs over the columns
// of a group in the order 0 2 4 6 1 3 5 7, here and in weighted_fragments().
template <Precision precision>
__device__ __forceinline__ void weights_a(const Scores& w, int j, unsigned (&a)[4]) {
  if constexpr (precision == Precision::bf16) {
    a[0] = pack_bf16(w[j][0], w[j][1]), a[1] = pack_bf16(w[j][2], w[j][3]);
    a[2] = pack_bf16(w[j + 1][0], w[j + 1][1]), a[3] = pack_bf16(w[j + 1][2], w[j + 1][3]);
  } else {
    a[0] = tf32_bits(w[j][0]), a[1] = tf32_bits(w[j][2]), a[2] = tf32_bits(w[j][1]), a[3] = tf32_bits(w[j][3]);
  }
}

// The other rows from `row` on as the second operand, columns [n, n+8) and [n+8, n+16).
template <Precision precision, int width>
__device__ __forceinline__ void weighted_fragments(HeadSpan<precision, width> other, int row, int n, unsigned (&low)[2],
                                                   unsigned (&high)[2]) {
  constexpr int pitch = HeadRows<precision, width, kOtherRows>::pitch;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  unsigned b[4];
  if constexpr (precision == Precision::bf16) {
    ldmatrix_x4_trans(b, other.at((row + lane % 16) * pitch + n + lane / 16 * 8));
  } else {
    for (int i = 0; i < 4; ++i) {
      b[i] = tf32_bits(other[(row + lane % 4 * 2 + i % 2) * pitch + n + lane / 4 + i / 2 * 8]);
    }
  }
  low[0] = b[0], low[1] = b[1], high[0] = b[2], high[1] = b[3];
}

// A warp's results, 16 rows by width: [8 columns][4] as mma.sync has them.
template <int width>
using Results = float[width / 8][4];

// o += the weights times the other rows, in a fixed order.
template <Precision precision, int width>
__device__ __forceinline__ void multiply_weights(const Scores& w, HeadSpan<precision, width> other, Results<width>& o) {
  constexpr int k = HeadRows<precision, width, kOtherRows>::k;
  GOVTRAIN_UNROLL
  for (int row = 0; row < kOtherRows; row += k) {
    unsigned a[4];
    weights_a<precision>(w, row / 8, a);
    GOVTRAIN_UNROLL
    for (int j = 0; j < width / 8; j += 2) {
      unsigned low[2];
      unsigned high[2];
      weighted_fragments<precision, width>(other, row, 8 * j, low, high);
      multiply_fragments<precision>(o[j], a, low);
      multiply_fragments<precision>(o[j + 1], a, high);
    }
  }
}

// The warp's results times factor[i] for the lane's two rows, to rows [row, end) and columns from `col` on.
template <int width>
__device__ __forceinline__ void write_results(MutView m, int row, int end, int col, int head_dim,
                                              const Results<width>& o, const float (&factor)[2]) {
  m.data += col;
  m.rows = end;
  m.cols = head_dim;
  const bool pairs = paired(m);
  GOVTRAIN_UNROLL
  for (int j = 0; j < width / 8; ++j) {
    GOVTRAIN_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float two[2] = {o[j][2 * i] * factor[i], o[j][2 * i + 1] * factor[i]};
      write_pair(m, pairs, row + score_row(2 * i), score_col(j, 0), two);
    }
  }
}

// Calls body(precision, width), both as constants.
template <class F>
void with_precision_and_width(Precision precision, int head_dim, const F& body) {
  with_width(head_dim, [&](auto width) {
    if (precision == Precision::tf32) {
      body(std::integral_constant<Precision, Precision::tf32>(), width);
    } else {
      body(std::integral_constant<Precision, Precision::bf16>(), width);
    }
  });
}

}  // namespace govtrain::cuda
