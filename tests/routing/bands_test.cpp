// The section 'entropy' of a policy, the bands by themselves, and the slopes.
#include "routing/bands.h"

#include <cmath>
#include <random>

#include "core/error.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

const std::string head =
    "policy: p\nversion: 1\ndefault: full\n"
    "profiles: {full: {all: 1}, wide: {first 75% of layers: 1, embedding: 1, rest: 0}, shallow: {embedding: 1, rest: "
    "0}}\n";

EntropyRules rules(const std::string& section) { return parse_policy(head + section).entropy.value(); }

std::string problems(const std::string& section) {
  Diagnostics d;
  CHECK_FALSE(Policy::parse("p.yaml", head + section, d));
  return d.render();
}

}  // namespace

TEST_CASE("the bands of a policy read back from its canonical text, and are in its table") {
  const std::string section = GENERATE(
      "entropy: {profiles: [shallow, wide, full]}",
      "entropy: {reference: frozen, edges: [1.5], profiles: [shallow, full]}",
      "entropy: {reference: {ema: 0.99}, quantiles: [0.1, 0.9], error: 0.02, warmup: 7, update_every: 3, window: 0, "
      "profiles: [shallow, wide, full]}",
      "entropy: {edges: [2], slope: {by: package, over: epochs, edges: [-0.1, 0]}, profiles: [[shallow, wide, full], "
      "full]}",
      "entropy: {slope: {quantiles: [0.5], min_points: 5, max_keys: 9}, profiles: [[full, shallow]]}");
  INFO(section);
  const Policy policy = parse_policy(head + section);
  const Policy again = parse_policy(policy.canonical());
  CHECK(again.canonical() == policy.canonical());
  CHECK(again.id() == policy.id());
  CHECK(policy.id() != parse_policy(head).id());
  const EntropyRules& e = policy.entropy.value();
  CHECK(again.entropy->same_bands(e));
  const std::vector<TableEntry> table = policy.table();
  REQUIRE(static_cast<int>(table.size()) == policy.entropy_index(e.cells()));
  for (int cell = 0; cell < e.cells(); ++cell) {
    const TableEntry& entry = table[static_cast<size_t>(policy.entropy_index(cell))];
    CHECK(entry.name == e.cell_name(cell));
    CHECK(entry.profile == policy.profiles[static_cast<size_t>(e.profile(cell))].name);
  }
}

TEST_CASE("equal shares when no quantiles are given") {
  CHECK(rules("entropy: {profiles: [shallow, wide, wide, full]}").banding.quantiles ==
        std::vector<double>{0.25, 0.5, 0.75});
}

TEST_CASE("mistakes in the bands of a policy have their place and a hint") {
  const auto says = [](const std::string& section, const std::string& text) {
    const std::string found = problems(section);
    INFO(section << "\n" << found);
    CHECK(found.find(text) != std::string::npos);
    CHECK(found.find("p.yaml:5:") != std::string::npos);
  };
  says("entropy: 3", "'entropy' must be a map");
  says("entropy: {}", "needs the key 'profiles'");
  says("entropy: {profiles: [full]}", "needs at least 2 bands, found 1");
  says("entropy: {profiles: [shalow, full]}", "did you mean 'shallow'?");
  says("entropy: {profiles: [shallow, full], edges: [1, 2]}", "has 2 for 3 bands");
  says("entropy: {profiles: [shallow, full], edges: [1], quantiles: [0.5]}", "both 'edges' and 'quantiles'");
  says("entropy: {profiles: [shallow, wide, full], edges: [2, 1]}", "must ascend, found 1 after 2");
  says("entropy: {profiles: [shallow, full], edges: [1], warmup: 3}", "'warmup' belongs to 'quantiles'");
  says("entropy: {profiles: [shallow, full], quantiles: [1.5]}", "'quantiles' of 'entropy' is 1.5");
  says("entropy: {profiles: [shallow, full], error: 0.7}", "'error' of 'entropy' is 0.7");
  says("entropy: {profiles: [shallow, full], warmup: 0}", "'warmup' of 'entropy' is 0");
  says("entropy: {profiles: [shallow, full], warmup: [1]}", "must be a number, found a list");
  says("entropy: {profiles: [shallow, full], reference: old}", "expected model, frozen, or {ema: 0.999}");
  says("entropy: {profiles: [shallow, full], reference: {ema: 1}}", "'ema' of 'entropy' is 1");
  says("entropy: {profiles: [shallow, full], band: 2}", "unknown key 'band'");
  says("entropy: {profiles: [[shallow, full], full]}", "a list needs the key 'slope'");
  says("entropy: {profiles: [[shallow], full], slope: {edges: [0]}}", "1 profiles for 2 slope bands");
  says("entropy: {profiles: [shallow, full], slope: {}}", "needs 'edges' or 'quantiles'");
  says("entropy: {profiles: [shallow, full], slope: {edges: [0], over: days}}", "expected steps or epochs");
  says("entropy: {profiles: [shallow, full], slope: {edges: [0], min_points: 1}}", "'min_points' of 'entropy' is 1");
}

TEST_CASE("a value is in the band that begins at or below it") {
  EntropyBands bands(rules("entropy: {edges: [1, 2.5], profiles: [shallow, wide, full]}"));
  const auto band = [&](float ent) { return bands.judge(ent, "").band; };
  CHECK(band(0.5F) == 0);
  CHECK(band(1) == 1);
  CHECK(band(std::nextafter(2.5F, 0.0F)) == 1);
  CHECK(band(2.5F) == 2);
  CHECK(bands.judge(std::nullopt, "").band == std::nullopt);
}

TEST_CASE("no surprisal without counted tokens, and none that is not finite") {
  CHECK(surprisal_of(6, 4) == 1.5F);
  CHECK_FALSE(surprisal_of(0, 0));
  CHECK_FALSE(surprisal_of(std::nan(""), 4));
  CHECK_FALSE(surprisal_of(HUGE_VAL, 4));
}

TEST_CASE("bands act after the warm-up, move at their cadence, and follow a quantity that falls") {
  EntropyBands bands(rules("entropy: {warmup: 10, update_every: 4, window: 40, profiles: [shallow, full]}"));
  std::mt19937_64 engine(3);
  int64_t moved = 0;
  for (int64_t step = 1; step <= 100; ++step) {
    INFO(step);
    const EntropyMark before = bands.judge(1, "");
    CHECK(before.band.has_value() == (step > 5));  // ten values after step 5
    for (int i = 0; i < 2; ++i) {
      const auto noise = static_cast<float>(engine() % 1000) * 1e-3F;
      bands.observe(bands.judge(9 - 0.08F * static_cast<float>(step) + noise, ""), "", static_cast<double>(step));
    }
    CHECK(bands.judge(1, "").band == before.band);  // frozen within the step
    const bool changed = bands.end_step(step);
    if (changed) {
      ++moved;
      CHECK((step == 5 || step % 4 == 0));
    }
  }
  CHECK(moved > 15);
  // Over all of the past the median would be near 5.4; the last 40 to 80 values lie below 5.
  const double edge = bands.describe().at("surprisal").at("edges").at(0);
  CHECK(edge < 4);
  CHECK(bands.describe().at("surprisal").at("n") <= 80);
}

TEST_CASE("edges lie within the error of the exact quantiles of what was observed") {
  const uint64_t seed = GENERATE(1, 2, 3);
  CAPTURE(seed);
  std::mt19937_64 engine(seed);
  EntropyBands bands(rules("entropy: {warmup: 1, error: 0.02, window: 0, profiles: [shallow, wide, full]}"));
  std::vector<double> seen;
  for (int64_t step = 1; step <= 60; ++step) {
    for (int i = 0; i < 20; ++i) {
      const auto value = static_cast<float>(engine() % 100000) * 1e-4F;
      seen.push_back(static_cast<double>(value));
      bands.observe(bands.judge(value, ""), "", 0);
    }
    bands.end_step(step);
  }
  std::sort(seen.begin(), seen.end());
  const std::vector<double> edges = bands.describe().at("surprisal").at("edges");
  for (size_t k = 0; k < 2; ++k) {
    const double rank = static_cast<double>(std::lower_bound(seen.begin(), seen.end(), edges[k]) - seen.begin()) + 1;
    CHECK(std::abs(rank - static_cast<double>(k + 1) * 400) <= 0.02 * 1200 + 1);
  }
}

TEST_CASE("the slope is that of the least-squares line, and is known from min_points on") {
  const uint64_t seed = GENERATE(1, 2, 3, 4);
  CAPTURE(seed);
  std::mt19937_64 engine(seed);
  SlopeTable table(8, 3);
  long double sx = 0, sy = 0, sxx = 0, sxy = 0;
  const int n = 3 + static_cast<int>(engine() % 200);
  for (int i = 0; i < n; ++i) {
    const double x = 1e6 + i, y = 5 - 0.01 * i + static_cast<double>(engine() % 100) * 1e-3;
    CHECK(table.slope("k").has_value() == (i >= 3));
    table.add("k", x, y);
    sx += x, sy += y, sxx += static_cast<long double>(x) * x, sxy += static_cast<long double>(x) * y;
  }
  const long double exact = (n * sxy - sx * sy) / (n * sxx - sx * sx);
  CHECK(static_cast<double>(*table.slope("k")) == Approx(static_cast<double>(exact)).epsilon(1e-6).margin(1e-9));
}

TEST_CASE("points at one time have no slope; a full table keeps its keys and counts the others") {
  SlopeTable table(2, 2);
  for (int i = 0; i < 5; ++i) table.add("a", 3, i);
  CHECK_FALSE(table.slope("a"));
  table.add("a", 4, 9);
  CHECK(table.slope("a") == 7.0F);
  table.add("b", 1, 1);
  table.add("c", 1, 1);
  table.add("c", 2, 3);
  table.add("b", 2, 3);
  CHECK(table.size() == 2);
  CHECK(table.refused() == 2);
  CHECK_FALSE(table.slope("c"));
  CHECK(table.slope("b") == 2.0F);
  SlopeTable again(2, 2);
  again.from_json(nlohmann::json::parse(table.to_json().dump()));
  CHECK(again == table);
  CHECK_THROWS_WITH(SlopeTable(1, 2).from_json(table.to_json()), Catch::Contains("at most 1 entries"));
}

TEST_CASE("an example without a slope counts as one that does not change") {
  EntropyBands bands(
      rules("entropy: {edges: [2], slope: {edges: [-0.5, 0.5], min_points: 2}, profiles: [[shallow, wide, "
            "full], full]}"));
  EntropyMark mark = bands.judge(1, "k");
  CHECK_FALSE(mark.slope);
  CHECK(bands.cell(mark) == 1);
  bands.observe(bands.judge(3, "k"), "k", 1);
  bands.observe(bands.judge(1, "k"), "k", 2);
  mark = bands.judge(1, "k");
  CHECK(mark.slope == -2.0F);
  CHECK(bands.cell(mark) == 0);
  CHECK(bands.judge(1, "other").slope == std::nullopt);
}

TEST_CASE("bands go on from their JSON text with the same bits") {
  const uint64_t seed = GENERATE(1, 2);
  CAPTURE(seed);
  std::mt19937_64 engine(seed);
  const EntropyRules r = rules(
      "entropy: {warmup: 20, window: 50, slope: {quantiles: [0.5], warmup: 9, max_keys: 5}, profiles: [[shallow, "
      "wide], "
      "[wide, full]]}");
  EntropyBands straight(r), resumed(r);
  for (int64_t step = 1; step <= 60; ++step) {
    for (int i = 0; i < 4; ++i) {
      const auto ent = static_cast<float>(engine() % 10000) * 1e-3F;
      const std::string key = "k" + std::to_string(engine() % 7);
      const EntropyMark a = straight.judge(ent, key), b = resumed.judge(ent, key);
      REQUIRE((a.band == b.band && a.slope == b.slope && a.slope_band == b.slope_band));
      straight.observe(a, key, static_cast<double>(step));
      resumed.observe(b, key, static_cast<double>(step));
    }
    REQUIRE(straight.end_step(step) == resumed.end_step(step));
    EntropyBands next(r);
    next.from_json(nlohmann::json::parse(resumed.to_json().dump()));
    resumed = next;
    REQUIRE(resumed.to_json() == straight.to_json());
  }
  CHECK(straight.judge(1, "k1").band.has_value());
  EntropyBands other(rules("entropy: {edges: [1], profiles: [shallow, full]}"));
  CHECK_THROWS_AS(other.from_json(straight.to_json()), Error);
}

TEST_CASE("who may move the edges: those admitted wherever the bands differ") {
  const std::vector<bool> differing = differing_blocks({{1, 1, 0}, {1, 0.5F, 0}, {1, 0, 0}});
  CHECK(differing == std::vector<bool>{false, true, false});
  const auto may = [&](std::vector<float> w) { return may_teach_bands(w, differing); };
  CHECK(may({0, 1, 0}));
  CHECK(may({1, 0.25F, 1}));
  CHECK_FALSE(may({1, 0, 1}));
  CHECK_FALSE(may({0, 0, 0}));
  CHECK_FALSE(may_teach_bands(std::vector<float>{0, 0, 0}, {false, false, false}));
}

TEST_CASE("a band never gives more than the policy") {
  std::vector<float> w = {1, 0.5F, 0, 2, -0.5F};
  std::vector<int32_t> r = {0, 0, 0, 0, 0};
  restrict_row(w, r, {2, 0.25F, 1, 1.5F, 1}, 7);
  CHECK(w == std::vector<float>{1, 0.25F, 0, 1.5F, 0});
  CHECK(r == std::vector<int32_t>{0, 7, 0, 7, 7});
}
