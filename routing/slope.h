// How the surprisal of an example, or of a cluster of them, changes over training: the slope of the least-squares line
// through all of its points so far. The idea of slope as learning progress is TSCL's (Matiisen et al., arXiv
// 1707.00183, which fits a window); running sums make the memory per key constant and the state exact to resume.
// Deterministic: sums are taken in the order of the calls, in double.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace govtrain {

// Running sums of a line y = a + b x, centred so that nothing cancels: Welford's update for the means, the squares and
// the products.
struct LineFit {
  uint64_t n = 0;
  double mean_x = 0, mean_y = 0;
  double sxx = 0, sxy = 0;  // sum (x - mean_x)^2, sum (x - mean_x)(y - mean_y)

  void add(double x, double y);
  // b = sxy / sxx, in units of y per unit of x; nothing while all x are the same.
  std::optional<double> slope() const;
  bool operator==(const LineFit&) const = default;
};

// A fit for each key, for at most `max_keys` keys: the first ones stay, later ones get no slope and are counted. So a
// key that is known is never lost, whatever comes after it.
class SlopeTable {
 public:
  // Throws Error when max_keys is 0 or min_points is less than 2.
  SlopeTable(uint64_t max_keys, uint64_t min_points);

  void add(const std::string& key, double x, double y);
  // As float, as records carry it. Nothing for an unknown key, or before it has min_points points at two times.
  std::optional<float> slope(const std::string& key) const;

  size_t size() const { return fits_.size(); }
  uint64_t refused() const { return refused_; }  // points of keys that found no room

  // Exact. from_json throws Error.
  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& state);
  bool operator==(const SlopeTable&) const = default;

 private:
  uint64_t max_keys_, min_points_;
  uint64_t refused_ = 0;
  std::map<std::string, LineFit> fits_;
};

}  // namespace govtrain
