// The kernels behind cuda/backend.cpp, by family, with the meaning of their method of Backend (kernels/backend.h).
// Every pointer is device memory; work is queued on `stream` and nothing waits. What a kernel needs to know of the
// batch row by row comes as an array that the backend has put there. Products and parameter gradients: gemm.h,
// contract.h. Private to kernels/cuda.
#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/precision.h"

namespace govtrain::cuda {

// ---- elementwise.cu: the bits of the CPU backend ----
void activation(Activation kind, View x, MutView y, Stream stream);
void activation_dx(Activation kind, View dy, View x, MutView dx, Stream stream);
void gated(Activation kind, View gate, View up, MutView y, Stream stream);
void gated_dx(Activation kind, View dy, View gate, View up, MutView dgate, MutView dup, Stream stream);
void add(View a, View b, MutView y, Stream stream);
void scale_rows(View x, const float* per_row, MutView y, Stream stream);

// ---- dropout.cu: the bits of the CPU backend ----
// Where a row draws its mask: the Philox nonce of its example, and its number in it.
struct DropoutRow {
  uint32_t nonce[2];
  int32_t row;
};
struct DropoutStream {
  uint32_t key[2];
  float rate, keep;  // keep = 1 / (1 - rate)
};
void dropout(View x, const DropoutRow* at, const DropoutStream& from, MutView y, Stream stream);

// ---- norm.cu: a row's sums run over 32 lanes and then by a tree, whatever the batch ----
void layer_norm(View x, const float* gain, const float* bias, float eps, MutView y, float* mean, float* rstd,
                Stream stream);
void rms_norm(View x, const float* gain, float eps, MutView y, float* rstd, Stream stream);
// mean null: RMSNorm.
void norm_dx(View dy, View x, const float* gain, const float* mean, const float* rstd, MutView dx, bool add,
             Stream stream);

// ---- rope.cu: the bits of the CPU backend ----
// position: [rows]; cosine, sine: [positions, head_dim/2]; direction: +1 or -1.
struct RopeTable {
  const float* cosine;
  const float* sine;
};
void rope(MutView x, const int32_t* position, RopeTable table, int head_dim, float direction, Stream stream);

// ---- embedding.cu: the bits of the CPU backend ----
void embedding(View table, const int32_t* index, MutView y, bool add, Stream stream);

// ---- contract_scatter.cu: gradients with the bits of the CPU backend; norms in double ----
// The rows of all examples that take part, sorted by (index, example, factor, row). A run is what one example adds at
// one index; a segment is all runs of one index.
struct ScatterRun {
  int32_t begin, end;  // of `rows`
  int32_t example;
};
struct ScatterSegment {
  int32_t begin, end;  // of `runs`
  int32_t index;
};
struct ScatterContraction {
  const float* const* rows;  // columns [0, grad.cols) of each
  const ScatterRun* runs;
  const ScatterSegment* segments;
  int segment_count;      // some may have no runs
  const float* weight;    // [examples]
  const float* withheld;  // [examples] or null
  MutView grad, withheld_grad;
  // Norms: all null, or which runs an example has, as [examples + 1] offsets into a list; and scatter_scratch()
  // doubles.
  double* norm2;
  const int32_t* run_offsets;
  const int32_t* run_list;
  double* scratch;
  int examples;
};
int64_t scatter_scratch(int64_t cols, int64_t runs);
void contract_scatter(const ScatterContraction& c, Stream stream);

// ---- attention.cu: online softmax over tiles that are counted from the begin of the example ----
// Rows that a block owns.
constexpr int attention_tile(Precision precision) { return precision == Precision::fp32 ? 32 : 64; }
constexpr int kMaxHeadDim = 128;
// One tile: rows [first, min(first + attention_tile(precision), end)) of the example [begin, end).
struct AttentionTile {
  int32_t begin, end, first;
};
struct AttentionShape {
  const AttentionTile* tiles;
  int tile_count;
  int heads, kv_heads, head_dim;
  float scale;
};
void attention(View q, View k, View v, const AttentionShape& shape, MutView out, MutView lse, Precision precision,
               Stream stream);
// delta: [rows, heads] of scratch.
void attention_backward(View q, View k, View v, View out, View lse, View dout, const AttentionShape& shape,
                        float* delta, MutView dq, MutView dk, MutView dv, Precision precision, Stream stream);

// ---- loss.cu ----
// row_nll [rows]: the loss of each row; then sums by example in row order to loss [examples].
void cross_entropy(MutView logits, const int32_t* target, bool gradient, double* row_nll, float* row_loss,
                   Stream stream);
void sum_examples(const double* row_nll, const int32_t* offsets, int examples, double* loss, Stream stream);

// ---- lists of pieces: one launch for all of them ----
// A piece begins with its rectangle `at`. Blocks [first[i], first[i+1]) of the grid work on piece i, kPart elements
// each.
constexpr int64_t kPart = 16384;
template <class Piece>
struct Pieces {
  const Piece* piece;    // [count]
  const int32_t* first;  // [count + 1]
  int count;
  int blocks;  // first[count], >= 1
};

// optimizer.cu: the bits of the CPU backend. One update with its scalars as the kernel takes them.
struct AdamPiece {
  MutView at;  // the value
  const float* grad;
  float* m;
  float* v;
  float beta1, rest1, beta2, rest2, eps;
  float l2;          // added to the gradient, times the value
  float decay;       // the value is multiplied by it first (1: none)
  float step_size;   // lr / (1 - beta1^t)
  float root_scale;  // 1 / sqrt(1 - beta2^t)
};
struct SgdPiece {
  MutView at;  // the value
  const float* grad;
  float* momentum;
  SgdOptions o;
  float rest;  // 1 - dampening
};
AdamPiece piece_of(const AdamUpdate& update);
SgdPiece piece_of(const SgdUpdate& update);
void adam(const Pieces<AdamPiece>& pieces, Stream stream);
void sgd(const Pieces<SgdPiece>& pieces, Stream stream);

// elementwise.cu
struct ScalePiece {
  MutView at;
  float factor;
};
struct FillPiece {
  MutView at;
  float value;
};
void scale(const Pieces<ScalePiece>& pieces, Stream stream);
void fill(const Pieces<FillPiece>& pieces, Stream stream);

// ---- reduce.cu ----
struct SquaresPiece {
  View at;
};
// Pieces list[offsets[g]] .. list[offsets[g+1]-1] are added to sum[g], in this order.
struct SquareGroups {
  const int32_t* offsets;  // [groups + 1]
  const int32_t* list;
  int groups;
};
// scratch: one double for each block of the pieces and for each piece.
void add_squares(const Pieces<SquaresPiece>& pieces, const SquareGroups& groups, double* scratch, double* sum,
                 Stream stream);
// row: one int32, written: the first row of x with a value that is not finite, or x.rows.
void first_non_finite_row(View x, int32_t* row, Stream stream);

}  // namespace govtrain::cuda
