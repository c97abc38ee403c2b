// Activations, gated units, adds and the small helpers: one functor per kernel, one thread per few elements.
#include "kernels/cuda/math.h"
#include "kernels/cuda/pieces.h"

namespace govtrain::cuda {
namespace {

// Both activations are x * s with s = sigmoid(z), as kernels/cpu/elementwise.cpp has them; `dz` is dz/dx.
struct Gate {
  float s, dz;
};

__device__ Gate gate_of(Activation kind, float x) {
  if (kind == Activation::silu) return {sigmoid_bits(x), 1.0f};
  constexpr float a = 1.5957691216057308f;  // 2 sqrt(2/pi)
  const float x2 = x * x;
  const float z = a * x * __fmaf_rn(0.044715f, x2, 1.0f);
  const float dz = a * __fmaf_rn(3.0f * 0.044715f, x2, 1.0f);
  return {sigmoid_bits(z), dz < 64.0f ? dz : 64.0f};
}

__device__ float slope(const Gate& g, float x) { return __fmaf_rn(x * (g.s * (1.0f - g.s)), g.dz, g.s); }

struct Activate {
  Activation kind;
  View x;
  MutView y;
  __device__ void operator()(int64_t r, int64_t c) const {
    const float v = element(x, r, c);
    put(y, r, c, v * gate_of(kind, v).s);
  }
};

struct ActivateDx {
  Activation kind;
  View dy, x;
  MutView dx;
  __device__ void operator()(int64_t r, int64_t c) const {
    const float v = element(x, r, c);
    put(dx, r, c, element(dy, r, c) * slope(gate_of(kind, v), v));
  }
};

struct Gated {
  Activation kind;
  View gate, up;
  MutView y;
  __device__ void operator()(int64_t r, int64_t c) const {
    const float v = element(gate, r, c);
    put(y, r, c, v * gate_of(kind, v).s * element(up, r, c));
  }
};

struct GatedDx {
  Activation kind;
  View dy, gate, up;
  MutView dgate, dup;
  __device__ void operator()(int64_t r, int64_t c) const {
    const float v = element(gate, r, c);
    const float d = element(dy, r, c);
    const float u = element(up, r, c);
    const Gate g = gate_of(kind, v);
    put(dgate, r, c, d * u * slope(g, v));
    put(dup, r, c, d * (v * g.s));
  }
};

struct Add {
  View a, b;
  MutView y;
  __device__ void operator()(int64_t r, int64_t c) const { put(y, r, c, element(a, r, c) + element(b, r, c)); }
};

struct ScaleRows {
  View x;
  const float* per_row;
  MutView y;
  __device__ void operator()(int64_t r, int64_t c) const { put(y, r, c, element(x, r, c) * load(per_row + r)); }
};

struct Scale {
  __device__ void operator()(const ScalePiece& p, int64_t i) const {
    store(p.at.data + i, load(p.at.data + i) * p.factor);
  }
};

struct Fill {
  __device__ void operator()(const FillPiece& p, int64_t i) const { store(p.at.data + i, p.value); }
};

}  // namespace

void activation(Activation kind, View x, MutView y, Stream stream) {
  map("activation", Activate{kind, x, y}, y.rows, y.cols, stream);
}

void activation_dx(Activation kind, View dy, View x, MutView dx, Stream stream) {
  map("activation_dx", ActivateDx{kind, dy, x, dx}, dx.rows, dx.cols, stream);
}

void gated(Activation kind, View gate, View up, MutView y, Stream stream) {
  map("gated", Gated{kind, gate, up, y}, y.rows, y.cols, stream);
}

void gated_dx(Activation kind, View dy, View gate, View up, MutView dgate, MutView dup, Stream stream) {
  map("gated_dx", GatedDx{kind, dy, gate, up, dgate, dup}, dy.rows, dy.cols, stream);
}

void add(View a, View b, MutView y, Stream stream) { map("add", Add{a, b, y}, y.rows, y.cols, stream); }

void scale_rows(View x, const float* per_row, MutView y, Stream stream) {
  map("scale_rows", ScaleRows{x, per_row, y}, y.rows, y.cols, stream);
}

void scale(const Pieces<ScalePiece>& pieces, Stream stream) { for_pieces("scale", pieces, Scale{}, stream); }

void fill(const Pieces<FillPiece>& pieces, Stream stream) { for_pieces("fill", pieces, Fill{}, stream); }

}  // namespace govtrain::cuda
