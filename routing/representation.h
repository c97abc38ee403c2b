// Measures on representations: how spread out they are (matrix-based entropy), how many dimensions they use (effective
// rank), how far they have moved (linear CKA). Plain double matrices, one row per probe example; no model, no tensors.
// All sums run in index order on one thread: the same bits for any number of threads.
#pragma once

#include <cstddef>
#include <vector>

namespace govtrain {

struct Representation {
  size_t examples = 0;         // N
  size_t width = 0;            // D
  std::vector<double> values;  // [N, D], row-major, finite

  const double* row(size_t i) const { return &values[i * width]; }
};

// The eigenvalues of the trace-normalised Gram matrix A = K / tr(K), K_ij = <x_i, x_j> / (|x_i| |x_j|) (Sanchez
// Giraldo, Rao and Principe, "Measures of entropy from data using infinitely divisible kernels", IEEE Trans. IT 61(1),
// 2015), computed from the smaller of the N x N and the D x D product. Rows of length 0 do not count. Descending,
// min(N, D) values >= 0 with sum 1; rounding below 0 is cut off. Empty when every row has length 0. Entries of K keep
// their sign: the implementation beside Skean et al. (arXiv 2502.02013) sets negative entries to 0, which is not in the
// formula and can make eigenvalues negative.
std::vector<double> gram_spectrum(const Representation& x);

// S_alpha = log(sum p^alpha) / (1 - alpha); for alpha = 1 its limit, the von Neumann entropy -sum p log p. Nats.
// REQUIRES: alpha > 0, `spectrum` from gram_spectrum.
double spectral_entropy(const std::vector<double>& spectrum, double alpha);
// The same divided by its largest possible value log(min(N, D)): 0 .. 1. 0 for an empty spectrum or one value.
double normalised_entropy(const std::vector<double>& spectrum, double alpha);

// exp(S_1) / min(N, D): the effective rank of A (Roy and Vetterli, EUSIPCO 2007) as a share of what it could be. > 0
// and at most 1; 0 for an empty spectrum.
double capacity_use(const std::vector<double>& spectrum);

// Linear centred kernel alignment of two representations of the same examples (Kornblith, Norouzi, Lee and Hinton, ICML
// 2019): <Kc, Lc> / (|Kc| |Lc|) with the centred Gram matrices Kc, Lc of the rows; 0 .. 1, 1 for equal up to rotation,
// scale and shift. Two representations without any variation have 1, one without has 0 with any other. Throws Error
// when the numbers of examples differ.
double linear_cka(const Representation& x, const Representation& y);

// How far apart the blocks' entropies are: twice their standard deviation, 0 .. 1 for values of 0 .. 1.
double entropy_spread(const std::vector<double>& entropies);
// |Kendall's tau-a| between entropy and depth: 1 when it rises or falls throughout, about 0 without any order.
double entropy_order(const std::vector<double>& entropies);

}  // namespace govtrain
