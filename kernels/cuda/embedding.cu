// Table look-up: a copy of rows.
#include "kernels/cuda/map.h"
#include "kernels/cuda/ops.h"

namespace govtrain::cuda {
namespace {

struct LookUp {
  View table;
  const int32_t* index;
  MutView y;
  bool add;
  __device__ void operator()(int64_t r, int64_t c) const {
    const float v = element(table, load(index + r), c);
    put(y, r, c, add ? element(y, r, c) + v : v);
  }
};

}  // namespace

void embedding(View table, const int32_t* index, MutView y, bool add, Stream stream) {
  map("embedding", LookUp{table, index, y, add}, y.rows, y.cols, stream);
}

}  // namespace govtrain::cuda
