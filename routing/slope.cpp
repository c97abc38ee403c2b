#include "routing/slope.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace govtrain {

void LineFit::add(double x, double y) {
  ++n;
  const double dx = x - mean_x, dy = y - mean_y;
  mean_x += dx / static_cast<double>(n);
  mean_y += dy / static_cast<double>(n);
  sxx += dx * (x - mean_x);
  sxy += dx * (y - mean_y);
}

std::optional<double> LineFit::slope() const {
  if (!(sxx > 0)) return std::nullopt;
  return sxy / sxx;
}

SlopeTable::SlopeTable(uint64_t max_keys, uint64_t min_points) : max_keys_(max_keys), min_points_(min_points) {
  if (max_keys < 1 || min_points < 2) {
    throw Error("slope table", "expected at least 1 key and 2 points, got {} and {}", max_keys, min_points);
  }
}

void SlopeTable::add(const std::string& key, double x, double y) {
  const auto found = fits_.find(key);
  if (found != fits_.end()) {
    found->second.add(x, y);
  } else if (fits_.size() < max_keys_) {
    fits_[key].add(x, y);
  } else {
    ++refused_;
  }
}

std::optional<float> SlopeTable::slope(const std::string& key) const {
  const auto found = fits_.find(key);
  if (found == fits_.end() || found->second.n < min_points_) return std::nullopt;
  const std::optional<double> b = found->second.slope();
  if (!b) return std::nullopt;
  return static_cast<float>(*b);
}

nlohmann::json SlopeTable::to_json() const {
  nlohmann::json keys = nlohmann::json::object();
  for (const auto& [key, f] : fits_) keys[key] = {f.n, f.mean_x, f.mean_y, f.sxx, f.sxy};
  return {{"keys", keys}, {"refused", refused_}};
}

void SlopeTable::from_json(const nlohmann::json& state) {
  const bool shaped = state.is_object() && state.contains("keys") && state["keys"].is_object() &&
                      state.contains("refused") && state["refused"].is_number_unsigned();
  if (!shaped || state["keys"].size() > max_keys_) {
    throw Error("slope table", "state: expected an object 'keys' of at most {} entries and a number 'refused'",
                max_keys_);
  }
  fits_.clear();
  for (const auto& [key, f] : state["keys"].items()) {
    const bool numbers = f.is_array() && f.size() == 5 && f[0].is_number_unsigned() &&
                         std::all_of(f.begin(), f.end(), [](const nlohmann::json& v) { return v.is_number(); });
    if (!numbers) throw Error("slope table", "state: the fit of '{}' is {}; expected five numbers", key, f.dump());
    fits_[key] = {f[0].get<uint64_t>(), f[1].get<double>(), f[2].get<double>(), f[3].get<double>(), f[4].get<double>()};
  }
  refused_ = state["refused"].get<uint64_t>();
}

}  // namespace govtrain
