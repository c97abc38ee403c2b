// Quantiles of a stream in little memory, with a guarantee: the value given for rank r has a rank within error() * n of
// r, for every stream and every order. Greenwald and Khanna, "Space-efficient online computation of quantile
// summaries", SIGMOD 2001. Deterministic: no coin is tossed, so equal streams give equal summaries.
//
// A tuple (v, g, delta) says of a value v that was seen: its lowest possible rank is the sum of g up to it, its highest
// delta more. The invariant g + delta <= max(1, floor(2 e n)) gives the bound (proposition 1 there). The paper inserts
// with delta = floor(2 e n); one less is also true of the new value and keeps the invariant at all n.
// Size: at most 11/(2e) log2(2 e n) tuples by the paper's theorem; size_bound() is that figure, tests hold real sizes
// against it. Merging keeps the error (Greenwald and Khanna, PODS 2004); the size after it is at most the sum, and no
// bound on it is proven.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace govtrain {

class QuantileSketch {
 public:
  // Throws Error unless 0 < error < 0.5.
  explicit QuantileSketch(double error);

  // Throws Error when the value is not finite: it has no rank.
  void insert(double value);
  // Throws Error when the errors differ.
  void merge(const QuantileSketch& other);

  // A value whose rank is within error() * n of ceil(q n), 0 <= q <= 1; for 0 and 1 the least and the greatest. Throws
  // Error when nothing was inserted.
  double quantile(double q) const;

  double error() const { return error_; }
  uint64_t count() const { return count_; }
  size_t size() const { return tuples_.size(); }
  double size_bound() const;
  // What the invariant promises now, in ranks: floor(error() * n).
  uint64_t rank_error() const;

  // {"error":..,"n":..,"tuples":[[v,g,delta],..]}: exact; from_json gives a sketch that goes on with the same bits.
  nlohmann::json to_json() const;
  // Throws Error that says what is wrong with the object.
  static QuantileSketch from_json(const nlohmann::json& state);
  bool operator==(const QuantileSketch&) const = default;

 private:
  struct Tuple {
    double value = 0;
    uint64_t gap = 0;    // g: distance of the lowest rank to that of the tuple before
    uint64_t delta = 0;  // highest rank - lowest rank
    bool operator==(const Tuple&) const = default;
  };
  uint64_t budget() const;  // floor(2 e n)
  void compress();

  double error_;
  uint64_t count_ = 0;
  std::vector<Tuple> tuples_;  // ascending; the first is the least value seen, the last the greatest
};

}  // namespace govtrain
