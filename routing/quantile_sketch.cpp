#include "routing/quantile_sketch.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"

namespace govtrain {
namespace {

// The older a tuple, the smaller its delta, the higher its band. Bounds as in the paper, for budget p: band a holds
// p - 2^a - (p mod 2^a) < delta <= p - 2^(a-1) - (p mod 2^(a-1)); delta = p is band 0, delta = 0 the highest.
uint32_t band_of(uint64_t delta, uint64_t p) {
  if (delta == 0) return 64;
  const uint64_t distance = p - delta;
  if (distance == 0) return 0;
  uint32_t band = static_cast<uint32_t>(std::bit_width(distance));
  const auto below = [&](uint32_t a) { return (uint64_t{1} << a) + (p & ((uint64_t{1} << a) - 1)); };
  while (band > 1 && distance < below(band - 1)) --band;
  while (distance >= below(band)) ++band;
  return band;
}

}  // namespace

QuantileSketch::QuantileSketch(double error) : error_(error) {
  if (!(error > 0 && error < 0.5)) {
    throw Error("quantile sketch", "the error is {}; expected more than 0 and less than 0.5", error);
  }
}

uint64_t QuantileSketch::budget() const { return static_cast<uint64_t>(2 * error_ * static_cast<double>(count_)); }

uint64_t QuantileSketch::rank_error() const { return static_cast<uint64_t>(error_ * static_cast<double>(count_)); }

double QuantileSketch::size_bound() const {
  const double p = 2 * error_ * static_cast<double>(count_);
  return std::min(static_cast<double>(count_), 11 / (2 * error_) * std::max(1.0, std::log2(p)));
}

void QuantileSketch::insert(double value) {
  if (!std::isfinite(value)) throw Error("quantile sketch", "expected a finite value, got {}", value);
  const auto at =
      std::upper_bound(tuples_.begin(), tuples_.end(), value, [](double v, const Tuple& t) { return v < t.value; });
  const uint64_t p = budget();
  const bool extreme = at == tuples_.begin() || at == tuples_.end();
  tuples_.insert(at, Tuple{value, 1, extreme || p == 0 ? 0 : p - 1});
  ++count_;
  const auto period = static_cast<uint64_t>(1 / (2 * error_));
  if (count_ % std::max<uint64_t>(1, period) == 0) compress();
}

void QuantileSketch::compress() {
  const uint64_t p = budget();
  if (p < 2 || tuples_.size() < 3) return;
  // From the greatest down: a tuple goes into its successor with all that descends from it, which are the tuples just
  // before it of lower bands.
  std::vector<Tuple> kept{tuples_.back()};
  for (size_t i = tuples_.size() - 1; i > 1;) {
    Tuple& next = kept.back();
    const uint32_t band = band_of(tuples_[i - 1].delta, p);
    uint64_t gaps = tuples_[i - 1].gap;
    size_t first = i - 1;
    while (first > 1 && band_of(tuples_[first - 1].delta, p) < band) gaps += tuples_[--first].gap;
    if (band <= band_of(next.delta, p) && gaps + next.gap + next.delta < p) {
      next.gap += gaps;
      i = first;
    } else {
      kept.push_back(tuples_[--i]);
    }
  }
  kept.push_back(tuples_.front());
  std::reverse(kept.begin(), kept.end());
  tuples_ = std::move(kept);
}

// A value of one summary lies between two neighbours of the other: its ranks add up, and so do the uncertainties of it
// and of the neighbour above. Both are at most 2 e times their n, so the sum is at most 2 e times the sum.
void QuantileSketch::merge(const QuantileSketch& other) {
  if (other.error_ != error_) {
    throw Error("quantile sketch", "merging errors {} and {}; expected the same", error_, other.error_);
  }
  struct Ranked {
    double value;
    uint64_t low, high;
  };
  const auto ranks = [](const std::vector<Tuple>& tuples) {
    std::vector<Ranked> out;
    uint64_t low = 0;
    for (const Tuple& t : tuples) out.push_back({t.value, low += t.gap, low + t.delta});
    return out;
  };
  const std::vector<Ranked> mine = ranks(tuples_), theirs = ranks(other.tuples_);
  std::vector<Ranked> all;
  size_t a = 0, b = 0;
  const auto add = [&](const Ranked& r, const std::vector<Ranked>& others, size_t next, uint64_t n) {
    const uint64_t low = next == 0 ? 0 : others[next - 1].low;
    const uint64_t high = next == others.size() ? n : others[next].high - 1;
    all.push_back({r.value, r.low + low, r.high + high});
  };
  while (a < mine.size() || b < theirs.size()) {
    if (b == theirs.size() || (a < mine.size() && mine[a].value <= theirs[b].value)) {
      add(mine[a++], theirs, b, other.count_);
    } else {
      add(theirs[b++], mine, a, count_);
    }
  }
  tuples_.clear();
  uint64_t low = 0;
  for (const Ranked& r : all) {
    tuples_.push_back({r.value, r.low - low, r.high - r.low});
    low = r.low;
  }
  count_ += other.count_;
  compress();
}

double QuantileSketch::quantile(double q) const {
  if (count_ == 0) throw Error("quantile sketch", "a quantile of nothing; expected at least one value");
  if (!(q >= 0 && q <= 1)) throw Error("quantile sketch", "expected a quantile from 0 to 1, got {}", q);
  if (q == 0) return tuples_.front().value;
  if (q == 1) return tuples_.back().value;
  const double n = static_cast<double>(count_);
  const double target = std::max(1.0, std::ceil(q * n));
  uint64_t low = 0;
  const Tuple* found = &tuples_.front();
  for (const Tuple& t : tuples_) {
    low += t.gap;
    if (static_cast<double>(low + t.delta) > target + error_ * n) break;
    found = &t;
  }
  return found->value;
}

nlohmann::json QuantileSketch::to_json() const {
  nlohmann::json tuples = nlohmann::json::array();
  for (const Tuple& t : tuples_) tuples.push_back({t.value, t.gap, t.delta});
  return {{"error", error_}, {"n", count_}, {"tuples", tuples}};
}

QuantileSketch QuantileSketch::from_json(const nlohmann::json& state) {
  const auto wrong = [](const char* what) { return Error("quantile sketch", "state: {}", what); };
  if (!state.is_object() || !state.contains("error") || !state.contains("n") || !state.contains("tuples") ||
      !state["error"].is_number() || !state["n"].is_number_unsigned() || !state["tuples"].is_array()) {
    throw wrong("expected numbers 'error' and 'n' and a list 'tuples'");
  }
  QuantileSketch out(state["error"].get<double>());
  out.count_ = state["n"].get<uint64_t>();
  uint64_t left = out.count_;
  const uint64_t most = std::max<uint64_t>(1, out.budget());
  for (const nlohmann::json& item : state["tuples"]) {
    if (!item.is_array() || item.size() != 3 || !item[0].is_number() || !item[1].is_number_unsigned() ||
        !item[2].is_number_unsigned()) {
      throw wrong("expected tuples [value, gap, delta]");
    }
    const Tuple t{item[0].get<double>(), item[1].get<uint64_t>(), item[2].get<uint64_t>()};
    const bool ascending = out.tuples_.empty() || out.tuples_.back().value <= t.value;
    if (!std::isfinite(t.value) || !ascending || t.gap < 1 || t.gap > left || t.delta >= most ||
        t.gap > most - t.delta) {
      throw wrong("a tuple breaks the invariant");
    }
    left -= t.gap;
    out.tuples_.push_back(t);
  }
  if (left != 0) throw wrong("the gaps do not add up to n");
  return out;
}

}  // namespace govtrain
