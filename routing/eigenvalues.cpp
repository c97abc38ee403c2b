#include "routing/eigenvalues.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace govtrain {
namespace {

constexpr int max_sweeps = 60;  // QL needs about 1.7 for each eigenvalue

// Overwrites the lower triangle of `a`; diagonal and sub-diagonal (sub[i] is left of diagonal[i], sub[0] is 0).
void tridiagonalise(std::vector<double>& a, size_t n, std::vector<double>& diagonal, std::vector<double>& sub) {
  diagonal.assign(n, 0);
  sub.assign(n, 0);
  std::vector<double> p(n);
  for (size_t i = n; i-- > 1;) {
    double* v = &a[i * n];  // row i, columns 0 .. i-1: to be reduced to its last element
    double scale = 0;
    for (size_t k = 0; k < i; ++k) scale += std::abs(v[k]);
    if (i == 1 || scale == 0) {
      sub[i] = v[i - 1];
      continue;
    }
    double h = 0;
    for (size_t k = 0; k < i; ++k) {
      v[k] /= scale;
      h += v[k] * v[k];
    }
    const double last = v[i - 1];
    const double alpha = last >= 0 ? -std::sqrt(h) : std::sqrt(h);
    sub[i] = scale * alpha;
    h -= last * alpha;  // |v|^2 / 2 of the reflector
    v[i - 1] = last - alpha;
    double vp = 0;
    for (size_t j = 0; j < i; ++j) {
      double sum = 0;
      for (size_t k = 0; k <= j; ++k) sum += a[j * n + k] * v[k];
      for (size_t k = j + 1; k < i; ++k) sum += a[k * n + j] * v[k];
      p[j] = sum / h;
      vp += p[j] * v[j];
    }
    const double half = vp / (2 * h);
    for (size_t j = 0; j < i; ++j) p[j] -= half * v[j];
    for (size_t j = 0; j < i; ++j) {
      for (size_t k = 0; k <= j; ++k) a[j * n + k] -= v[j] * p[k] + p[j] * v[k];
    }
  }
  for (size_t i = 0; i < n; ++i) diagonal[i] = a[i * n + i];
}

void ql(std::vector<double>& d, std::vector<double> sub) {
  const size_t n = d.size();
  std::vector<double> e(n, 0);  // e[i] couples i and i + 1
  for (size_t i = 1; i < n; ++i) e[i - 1] = sub[i];
  const double eps = std::numeric_limits<double>::epsilon();
  double largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(d[i]) + std::abs(e[i]));
  const auto negligible = [&](size_t m) {
    return std::abs(e[m]) <= eps * std::max(std::abs(d[m]) + std::abs(d[m + 1]), eps * largest);
  };
  for (size_t l = 0; l < n; ++l) {
    for (int sweep = 0;; ++sweep) {
      size_t m = l;
      while (m + 1 < n && !negligible(m)) ++m;
      if (m == l) break;
      if (sweep == max_sweeps) throw Error("eigenvalues", "the iteration did not settle; expected a symmetric matrix");
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      double r = std::hypot(g, 1.0);
      g = d[m] - d[l] + e[l] / (g + std::copysign(r, g));
      double s = 1, c = 1, p = 0;
      size_t i = m;
      for (; i-- > l;) {
        double f = s * e[i];
        const double b = c * e[i];
        r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) break;
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (r == 0 && i + 1 > l) {  // an off-diagonal became 0 on the way: the matrix has split
        d[i + 1] -= p;
        e[m] = 0;
        continue;
      }
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
}

}  // namespace

std::vector<double> symmetric_eigenvalues(std::vector<double> a, size_t n) {
  if (a.size() != n * n) throw Error("eigenvalues", "{} values; expected {} x {}", a.size(), n, n);
  if (!std::all_of(a.begin(), a.end(), [](double v) { return std::isfinite(v); })) {
    throw Error("eigenvalues", "the matrix has a value that is not finite");
  }
  if (n == 0) return {};
  std::vector<double> diagonal, sub;
  tridiagonalise(a, n, diagonal, sub);
  ql(diagonal, sub);
  std::sort(diagonal.begin(), diagonal.end());
  return diagonal;
}

}  // namespace govtrain
