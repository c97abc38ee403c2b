// One functor over all elements of a list of pieces (ops.h): op(piece, place) for every element, in no order. A block
// finds its piece in the table, so that one launch serves any number of tensors, as multi-tensor-apply kernels do.
// Private to kernels/cuda.
#pragma once

#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {

// The last piece that begins at or before `block`; pieces without blocks are passed over.
__device__ inline int piece_at(const int32_t* first, int count, int block) {
  int low = 0;
  int high = count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (load(first + middle) <= block) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// Where element i of a rectangle stands, row by row.
template <class T>
__device__ __forceinline__ int64_t place_of(const MatrixView<T>& v, int64_t i) {
  return v.ld == v.cols ? i : i / v.cols * v.ld + i % v.cols;
}

// The elements [begin, end) of the piece that a block works on.
struct PartOf {
  int piece;
  int64_t begin, end;
};
template <class Piece>
__device__ inline PartOf part_of(const Pieces<Piece>& pieces, const Piece& piece, int number) {
  const int64_t begin = (int64_t{blockIdx.x} - load(pieces.first + number)) * kPart;
  const int64_t size = piece.at.rows * piece.at.cols;
  return {number, begin, begin + kPart < size ? begin + kPart : size};
}

template <class Piece, class Op>
__global__ void __launch_bounds__(kMapThreads) pieces_kernel(Pieces<Piece> pieces, Op op) {
  const int number = piece_at(pieces.first, pieces.count, static_cast<int>(blockIdx.x));
  const Piece piece = load(pieces.piece + number);
  const PartOf part = part_of(pieces, piece, number);
  for (int64_t i = part.begin + threadIdx.x; i < part.end; i += kMapThreads) op(piece, place_of(piece.at, i));
}

template <class Piece, class Op>
void for_pieces(const char* name, const Pieces<Piece>& pieces, const Op& op, Stream stream) {
  launch(name, pieces_kernel<Piece, Op>, static_cast<unsigned>(pieces.blocks), kMapThreads, 0, stream, pieces, op);
}

}  // namespace govtrain::cuda
