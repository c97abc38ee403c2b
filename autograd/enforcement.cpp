#include "autograd/enforcement.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace govtrain {
namespace {

// The levels of an example in the order of its terms, and for each the level before it.
struct Level {
  float value, before;
};

std::vector<Level> levels(const RouteTable& route, int e) {
  std::vector<float> values;
  for (int b = 0; b < route.blocks; ++b) {
    if (route.at(e, b) != 0.0f) values.push_back(route.at(e, b));
  }
  std::sort(values.begin(), values.end(), [](float a, float b) {
    if ((a > 0) != (b > 0)) return a > 0;
    return std::abs(a) < std::abs(b);
  });
  values.erase(std::unique(values.begin(), values.end()), values.end());
  std::vector<Level> out;
  for (size_t k = 0; k < values.size(); ++k) {
    const bool first = k == 0 || (values[k] > 0) != (values[k - 1] > 0);
    out.push_back({values[k], first ? 0.0f : values[k - 1]});
  }
  return out;
}

bool reaches(float weight, float level) { return level > 0 ? weight >= level : weight <= level; }

}  // namespace

Enforcement parse_enforcement(const std::string& name) {
  if (name == "backward") return Enforcement::backward;
  if (name == "optimizer") return Enforcement::optimizer;
  if (name == "loss") return Enforcement::loss;
  throw Error("enforcement", "expected backward, optimizer or loss, got '{}'", name);
}

ProfileRuns profile_runs(const RouteTable& route, bool excluded) {
  ProfileRuns runs;
  const auto blocks = static_cast<std::ptrdiff_t>(route.blocks);
  for (int e = 0; e < route.examples; ++e) {
    const auto begin = route.weight.begin() + e * blocks;
    const std::vector<float> row(begin, begin + blocks);
    runs.of.push_back(-1);
    if (!excluded && std::all_of(row.begin(), row.end(), [](float w) { return w == 0.0f; })) continue;
    if (runs.profile.empty() || row != runs.profile.back()) runs.profile.push_back(row);
    runs.of.back() = static_cast<int>(runs.profile.size()) - 1;
  }
  return runs;
}

LossTerm loss_term(const RouteTable& route, int l) {
  LossTerm term{RouteTable(route.examples, route.blocks, 0), std::vector<float>(static_cast<size_t>(route.examples))};
  term.reaches.rule = route.rule;
  for (int e = 0; e < route.examples; ++e) {
    const std::vector<Level> all = levels(route, e);
    if (static_cast<size_t>(l) >= all.size()) continue;
    const Level& level = all[static_cast<size_t>(l)];
    term.share[static_cast<size_t>(e)] =
        static_cast<float>(static_cast<double>(level.value) - static_cast<double>(level.before));
    for (int b = 0; b < route.blocks; ++b) term.reaches.at(e, b) = reaches(route.at(e, b), level.value) ? 1.0f : 0.0f;
  }
  return term;
}

int loss_terms(const RouteTable& route) {
  size_t most = 0;
  for (int e = 0; e < route.examples; ++e) most = std::max(most, levels(route, e).size());
  return static_cast<int>(most);
}

}  // namespace govtrain
