// Eigenvalues of real symmetric matrices in double precision: Householder reduction to tridiagonal form, then the
// implicit QL iteration with Wilkinson's shift (Golub and Van Loan, Matrix Computations, 4th ed., 8.3). For matrices of
// some hundred rows; no eigenvectors. One fixed order of operations, on one thread: the same bits everywhere that
// sqrt is correctly rounded.
#pragma once

#include <cstddef>
#include <vector>

namespace govtrain {

// `a` is n x n, row-major; only its lower triangle is read. Ascending. Relative to the largest magnitude the error is a
// small multiple of n * 2^-53. Throws Error when a.size() != n * n, on a value that is not finite, and when the
// iteration does not settle.
std::vector<double> symmetric_eigenvalues(std::vector<double> a, size_t n);

}  // namespace govtrain
