// What the routed dW kernels share: how a block walks over the batch, how a step of rows gets into shared memory, and
// how norms are put together. Private to kernels/cuda.
#pragma once

#include "kernels/cuda/contract.h"

namespace govtrain::cuda {

constexpr int kStepRows = 16;  // rows of the batch in one step
constexpr int kContractThreads = 128;
constexpr int kPitch = 72;  // floats from row to row of a staged operand: 32-byte aligned, few bank conflicts

// A step of the walk: rows [row, row+rows) of one factor of one example.
struct Step {
  int example, factor, row, rows;
  int end;  // of the example
  float weight, withheld;
  bool first, last;  // of the example's sum
};

// The examples that a block walks over end before this one.
__device__ inline int walk_end(const OuterContraction& c) {
  return c.spread == nullptr ? c.examples : c.first + static_cast<int>(blockIdx.z) + 1;
}

// Moves on to the next example that takes part; examples beyond the last end the walk.
__device__ inline void open_example(const OuterContraction& c, Step& s) {
  for (; s.example < walk_end(c); ++s.example) {
    s.weight = load(c.weight + s.example);
    s.withheld = c.withheld == nullptr ? 0.0f : load(c.withheld + s.example);
    if (s.weight == 0.0f && s.withheld == 0.0f) continue;
    s.factor = 0;
    s.row = load(c.offsets + s.example);
    s.end = load(c.offsets + s.example + 1);
    break;
  }
}

__device__ inline void measure(const OuterContraction& c, Step& s, int begin) {
  s.rows = s.end - s.row < kStepRows ? s.end - s.row : kStepRows;
  s.first = s.factor == 0 && s.row == begin;
  s.last = s.factor == c.count - 1 && s.row + s.rows == s.end;
}

// The walk: all steps of the batch, or of the block's example, in order. `begin` is the first row of the example in
// hand.
struct Walk {
  Step step;
  int begin;
};

__device__ inline bool done(const OuterContraction& c, const Walk& w) { return w.step.example >= walk_end(c); }

__device__ inline Walk start_walk(const OuterContraction& c) {
  Walk w{};
  if (c.spread != nullptr) w.step.example = c.first + static_cast<int>(blockIdx.z);
  open_example(c, w.step);
  if (done(c, w)) return w;
  w.begin = w.step.row;
  measure(c, w.step, w.begin);
  return w;
}

__device__ inline void advance(const OuterContraction& c, Walk& w) {
  Step& s = w.step;
  s.row += s.rows;
  if (s.row == s.end) {
    if (++s.factor == c.count) {
      ++s.example;
      open_example(c, s);
      if (done(c, w)) return;
      w.begin = s.row;
    } else {
      s.row = w.begin;
    }
  }
  measure(c, s, w.begin);
}

// True where rows of `v` from column `col` on can be read 16 bytes at a time.
__device__ inline bool wide(const View& v, int col) {
  return v.ld % 4 == 0 && reinterpret_cast<uintptr_t>(v.data) % 16 == 0 && col + kContractTile <= v.cols;
}

// Copies rows [row, row+rows) and columns [col, col+64) of `v` to `to` [kStepRows, pitch] asynchronously; what lies
// outside becomes 0.
__device__ inline void stage(const View& v, int row, int rows, int col, SharedSpan<float> to, int pitch) {
  const int t = static_cast<int>(threadIdx.x);
  if (wide(v, col)) {
    for (int i = t; i < kStepRows * kContractTile / 4; i += kContractThreads) {
      const int r = i / (kContractTile / 4);
      const int j = i % (kContractTile / 4) * 4;
      const bool inside = r < rows;
      __pipeline_memcpy_async(to.at(r * pitch + j), v.data + (row + (inside ? r : 0)) * v.ld + col + j, 16,
                              inside ? 0u : 16u);
    }
    return;
  }
  for (int i = t; i < kStepRows * kContractTile; i += kContractThreads) {
    const int r = i / kContractTile;
    const int j = i % kContractTile;
    const bool inside = r < rows && col + j < v.cols;
    __pipeline_memcpy_async(to.at(r * pitch + j), inside ? v.data + (row + r) * v.ld + col + j : v.data, 4,
                            inside ? 0u : 4u);
  }
}

// Adds `mine` over the block's threads in a fixed order: lanes by a tree, then warps. part: [4] of shared memory. The
// sum may be taken by block_sum() after the next block barrier.
__device__ inline void share_sum(double mine, SharedSpan<double> part) {
  for (int bits = 16; bits > 0; bits /= 2) mine += __shfl_xor_sync(0xFFFFFFFFu, mine, bits);
  if (threadIdx.x % 32 == 0) part[static_cast<int>(threadIdx.x / 32)] = mine;
}

__device__ inline double block_sum(SharedSpan<double> part) {
  double sum = part[0];
  for (int w = 1; w < kContractThreads / 32; ++w) sum += static_cast<double>(part[w]);
  return sum;
}

__device__ inline int tile_number() { return static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x); }

// norm2[e] += the shares [parts, examples] in `scratch`, in order of the parts, for examples with weight != 0. Does
// nothing when norm2 is null.
struct Norms {
  const float* weight;
  double* norm2;
  const double* scratch;
  int examples;
};
void add_norms(const Norms& n, int parts, Stream stream);

// Where a block that has one example leaves its sum.
__device__ inline MutView spread_part(const OuterContraction& c) {
  MutView m = c.grad;
  m.data = c.spread + int64_t{blockIdx.z} * m.rows * m.cols;
  m.ld = m.cols;
  return m;
}
// contract_spread.cu: adds the parts of `count` examples from c.first on to the gradients, in order.
void add_spread(const OuterContraction& c, int count, Stream stream);

void contract_fp32(const OuterContraction& c, dim3 grid, Stream stream);
void contract_mma(const OuterContraction& c, Precision precision, dim3 grid, Stream stream);
void contract_wmma(const OuterContraction& c, Precision precision, dim3 grid, Stream stream);

}  // namespace govtrain::cuda
