#include "routing/representation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "routing/eigenvalues.h"

namespace govtrain {
namespace {

double dot(const double* a, const double* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// K_ij = <x_i, x_j> minus row, column mean and plus the mean of all: the Gram matrix of the centred rows.
std::vector<double> centred_gram(const Representation& x) {
  const size_t n = x.examples;
  std::vector<double> mean(x.width, 0), rows(x.values);
  for (size_t i = 0; i < n; ++i) {
    for (size_t d = 0; d < x.width; ++d) mean[d] += x.row(i)[d];
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t d = 0; d < x.width; ++d) rows[i * x.width + d] -= mean[d] / static_cast<double>(n);
  }
  std::vector<double> gram(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      gram[i * n + j] = gram[j * n + i] = dot(&rows[i * x.width], &rows[j * x.width], x.width);
    }
  }
  return gram;
}

}  // namespace

std::vector<double> gram_spectrum(const Representation& x) {
  Representation unit{0, x.width, {}};
  for (size_t i = 0; i < x.examples; ++i) {
    const double length = std::sqrt(dot(x.row(i), x.row(i), x.width));
    if (length == 0) continue;
    for (size_t d = 0; d < x.width; ++d) unit.values.push_back(x.row(i)[d] / length);
    ++unit.examples;
  }
  if (unit.examples == 0) return {};
  const bool by_example = unit.examples <= unit.width;
  const size_t n = by_example ? unit.examples : unit.width;
  std::vector<double> gram(n * n, 0);
  if (by_example) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) gram[i * n + j] = dot(unit.row(i), unit.row(j), unit.width);
    }
  } else {
    for (size_t e = 0; e < unit.examples; ++e) {
      const double* r = unit.row(e);
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j <= i; ++j) gram[i * n + j] += r[i] * r[j];
      }
    }
  }
  std::vector<double> spectrum = symmetric_eigenvalues(std::move(gram), n);
  std::reverse(spectrum.begin(), spectrum.end());
  double trace = 0;
  for (double& p : spectrum) {
    p = std::max(p, 0.0);
    trace += p;
  }
  for (double& p : spectrum) p /= trace;
  spectrum.resize(std::min(x.examples, x.width), 0.0);
  return spectrum;
}

double spectral_entropy(const std::vector<double>& spectrum, double alpha) {
  double sum = 0;
  if (alpha == 1) {
    for (const double p : spectrum) sum -= p > 0 ? p * std::log(p) : 0;
    return std::max(sum, 0.0);
  }
  for (const double p : spectrum) sum += p > 0 ? std::pow(p, alpha) : 0;
  return sum == 0 ? 0 : std::max(std::log(sum) / (1 - alpha), 0.0);
}

double normalised_entropy(const std::vector<double>& spectrum, double alpha) {
  if (spectrum.size() < 2) return 0;
  return std::min(spectral_entropy(spectrum, alpha) / std::log(static_cast<double>(spectrum.size())), 1.0);
}

double capacity_use(const std::vector<double>& spectrum) {
  if (spectrum.empty()) return 0;
  return std::min(std::exp(spectral_entropy(spectrum, 1)) / static_cast<double>(spectrum.size()), 1.0);
}

double linear_cka(const Representation& x, const Representation& y) {
  if (x.examples != y.examples) {
    throw Error("cka", "representations of {} and {} examples; expected the same examples", x.examples, y.examples);
  }
  const std::vector<double> k = centred_gram(x), l = centred_gram(y);
  const double kl = dot(k.data(), l.data(), k.size()), kk = dot(k.data(), k.data(), k.size()),
               ll = dot(l.data(), l.data(), l.size());
  if (kk == 0 || ll == 0) return kk == ll ? 1 : 0;
  return std::clamp(kl / (std::sqrt(kk) * std::sqrt(ll)), 0.0, 1.0);
}

double entropy_spread(const std::vector<double>& entropies) {
  if (entropies.empty()) return 0;
  const auto n = static_cast<double>(entropies.size());
  double mean = 0, squares = 0;
  for (const double h : entropies) mean += h / n;
  for (const double h : entropies) squares += (h - mean) * (h - mean) / n;
  return std::min(2 * std::sqrt(squares), 1.0);
}

double entropy_order(const std::vector<double>& entropies) {
  const size_t n = entropies.size();
  if (n < 2) return 0;
  int64_t concordant = 0;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i + 1; j < n; ++j) {
      concordant += entropies[j] > entropies[i] ? 1 : entropies[j] < entropies[i] ? -1 : 0;
    }
  }
  return std::abs(static_cast<double>(concordant)) / (static_cast<double>(n * (n - 1)) / 2);
}

}  // namespace govtrain
