// Sums and searches over whole arrays, in an order that the size alone decides.
#include "kernels/cuda/math.h"
#include "kernels/cuda/pieces.h"

namespace govtrain::cuda {
namespace {

constexpr int kWarps = kMapThreads / 32;

// parts[block]: the squares of the block's part of its piece.
__global__ void __launch_bounds__(kMapThreads) squares_kernel(Pieces<SquaresPiece> pieces, double* parts) {
  __shared__ SharedArray<double, kWarps> part;
  const int number = piece_at(pieces.first, pieces.count, static_cast<int>(blockIdx.x));
  const SquaresPiece piece = load(pieces.piece + number);
  const PartOf mine = part_of(pieces, piece, number);
  double sum = 0.0;
  for (int64_t i = mine.begin + threadIdx.x; i < mine.end; i += kMapThreads) {
    const auto v = static_cast<double>(load(piece.at.data + place_of(piece.at, i)));
    sum += v * v;
  }
  sum = sum_over_block(sum, part.span(), kWarps);
  if (threadIdx.x == 0) store(parts + blockIdx.x, sum);
}

// A block per group. Each warp sums the parts of a piece; then the pieces are added in order.
__global__ void __launch_bounds__(kMapThreads)
    add_groups_kernel(const int32_t* first, SquareGroups groups, const double* parts, double* of_piece, double* sum) {
  const int begin = load(groups.offsets + blockIdx.x);
  const int end = load(groups.offsets + blockIdx.x + 1);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int i = begin + static_cast<int>(threadIdx.x / 32); i < end; i += kWarps) {
    const int piece = load(groups.list + i);
    double squares = 0.0;
    for (int p = load(first + piece) + lane; p < load(first + piece + 1); p += 32) squares += load(parts + p);
    squares = warp_sum(squares);
    if (lane == 0) store(of_piece + i, squares);
  }
  __syncthreads();
  if (threadIdx.x != 0 || begin == end) return;
  double total = load(sum + blockIdx.x);
  for (int i = begin; i < end; ++i) total += load(of_piece + i);
  store(sum + blockIdx.x, total);
}

struct NonFinite {
  View x;
  int32_t* row;
  __device__ void operator()(int64_t r, int64_t c) const {
    if (element(x, r, c) * 0.0f != 0.0f) atomicMin(row, static_cast<int32_t>(r));
  }
};

struct SetRow {
  int32_t* row;
  int32_t value;
  __device__ void operator()(int64_t, int64_t) const { store(row, value); }
};

}  // namespace

void add_squares(const Pieces<SquaresPiece>& pieces, const SquareGroups& groups, double* scratch, double* sum,
                 Stream stream) {
  double* of_piece = scratch + pieces.blocks;
  launch("squares", squares_kernel, static_cast<unsigned>(pieces.blocks), kMapThreads, 0, stream, pieces, scratch);
  launch("add_groups", add_groups_kernel, static_cast<unsigned>(groups.groups), kMapThreads, 0, stream, pieces.first,
         groups, static_cast<const double*>(scratch), of_piece, sum);
}

void first_non_finite_row(View x, int32_t* row, Stream stream) {
  map("set_row", SetRow{row, static_cast<int32_t>(x.rows)}, 1, 1, stream);
  map("first_non_finite_row", NonFinite{x, row}, x.rows, x.cols, stream);
}

}  // namespace govtrain::cuda
