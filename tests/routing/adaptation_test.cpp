// The adaptation engine: its section of the policy, its arithmetic, bounds and hysteresis as properties of random
// policies, and that a record is enough to decide the same again.
#include "routing/adaptation.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "routing/representation.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

const std::string base =
    "policy: p\nversion: 1\ndefault: shallow\nprofiles:\n  open: {all: 1}\n"
    "  shallow: {embedding: 1, layer.0: 0.5, rest: 0}\n  middle: {embedding: 1, layer.0-2: 0.75, rest: 0.125}\n";

BoundPolicy adaptive(const std::string& keys, const std::string& profiles = "{shallow: open}") {
  return bind_policy(base + "adaptation: {" + keys + (keys.empty() ? "" : ", ") + "profiles: " + profiles + "}\n");
}

std::string errors(const std::string& text) {
  Diagnostics d;
  const auto policy = Policy::parse("p.yaml", base + text, d);
  if (policy) BoundPolicy::bind(*policy, blocks(4), d);
  return d.render();
}

// Entropies whose spread is s.
std::vector<double> with_spread(double s) { return {0.5 - s / 2, 0.5 + s / 2}; }

}  // namespace

TEST_CASE("the section 'adaptation': read, canonical, part of the id") {
  const Policy p = parse_policy(base +
                                "adaptation: {mode: frozen, measure: order, begin: 0.1, full: 0.4, rate: 0.5, "
                                "dead_band: 0, wait: 3, profiles: {shallow: open, middle: open}}\n");
  REQUIRE(p.adaptation);
  CHECK(p.adaptation->mode == AdaptMode::frozen);
  CHECK(p.adaptation->measure == StratificationMeasure::order);
  CHECK(p.adaptation->wait == 3);
  CHECK(p.adaptation->profiles.size() == 2);
  CHECK(parse_policy(p.canonical()).canonical() == p.canonical());
  CHECK(p.id() != parse_policy(base).id());
  const Policy defaults = parse_policy(base + "adaptation: {profiles: {shallow: open}}\n");
  CHECK(defaults.adaptation->mode == AdaptMode::on);
  CHECK(parse_policy(defaults.canonical()).id() == defaults.id());
}

TEST_CASE("every mistake in 'adaptation' is told at its place") {
  const auto check = [](const std::string& text, const std::string& message) {
    const std::string got = errors(text);
    INFO(text << got);
    CHECK(got.find(message) != std::string::npos);
  };
  CHECK(errors("adaptation: {profiles: {shallow: open}}\n") == "");
  check("adaptation: x\n", "p.yaml:8:13: error: 'adaptation' must be a map");
  check("adaptation: {mode: on}\n", "'adaptation' needs the key 'profiles'");
  check("adaptation: {profiles: {}}\n", "'profiles' of 'adaptation': expected a map of profiles, found an empty one");
  check("adaptation: {mode: offf, profiles: {shallow: open}}\n",
        "p.yaml:8:20: error: 'mode' of 'adaptation': expected off or frozen or on, found 'offf'");
  check("adaptation: {measure: mean, profiles: {shallow: open}}\n", "expected spread or order");
  check("adaptation: {begin: 0.5, full: 0.5, profiles: {shallow: open}}\n", "begin 0.5 is not below full 0.5");
  check("adaptation: {rate: 0, profiles: {shallow: open}}\n", "'rate' of 'adaptation': expected 1e-06 to 1, found 0");
  check("adaptation: {wait: 1.5, profiles: {shallow: open}}\n", "expected a whole number");
  check("adaptation: {dead_band: wide, profiles: {shallow: open}}\n", "'dead_band' of 'adaptation': expected a number");
  check("adaptation: {wiat: 2, profiles: {shallow: open}}\n", "unknown key 'wiat'");
  check("adaptation: {profiles: {shalow: open}}\n", "the profile 'shalow' is not defined");
  check("adaptation: {profiles: {shallow: opne}}\n", "'adaptation' of 'shallow': the profile 'opne' is not defined");
  check("adaptation: {profiles: {none: open}}\n", "the profile 'none' never changes");
  check("adaptation: {profiles: {open: shallow}}\n",
        "adaptation of 'open' from 'shallow': the broad end gives layer.0 the weight 0.5, the narrow end 1");
  check("adaptation: {profiles: {shallow: open}}\ncontroller: {protect: a, profiles: {shallow: {floor: none}}}\n",
        "the profile 'shallow' is under 'adaptation' and 'controller'");
}

TEST_CASE("profiles start broad, narrow by at most the rate, and reach the narrow end bit for bit") {
  const BoundPolicy policy = adaptive("begin: 0.1, full: 0.5, rate: 0.25, dead_band: 0.05");
  const std::vector<float> narrow = policy.stated_weights(2), broad = policy.stated_weights(1);
  AdaptationEngine engine(policy);
  auto step = engine.observe(with_spread(0.9));  // however stratified: the start is broad
  REQUIRE(step);
  CHECK(step->record.at("event") == "start");
  CHECK(step->changes.at(0).before == narrow);
  CHECK(step->changes.at(0).after == broad);
  CHECK_FALSE(engine.observe(with_spread(0.05)));  // below begin: target 0, already there
  step = engine.observe(with_spread(0.2));         // target 0.25
  REQUIRE(step);
  CHECK(engine.state().position == Approx(0.25));
  CHECK(step->changes.at(0).after.at(1) == Approx(1 - 0.25 * 0.5));
  CHECK_FALSE(engine.observe(with_spread(0.215)));  // target 0.2875: inside the dead band
  for (const double expected : {0.5, 0.75, 1.0}) {
    step = engine.observe(with_spread(0.9));
    REQUIRE(step);
    CHECK(engine.state().position == Approx(expected));
  }
  CHECK(engine.state().position == 1);
  CHECK(step->changes.at(0).after == narrow);
  CHECK_FALSE(engine.observe(with_spread(0.9)));
  step = engine.observe(with_spread(0.3));  // and back
  REQUIRE(step);
  CHECK(engine.state().position == Approx(0.75));
}

TEST_CASE("an end is reached through the dead band; frozen keeps, wait waits") {
  AdaptationEngine engine(adaptive("begin: 0, full: 0.5, rate: 0.97, dead_band: 0.1"));
  engine.observe(with_spread(0));
  REQUIRE(engine.observe(with_spread(0.9)));
  CHECK(engine.state().position == 0.97);
  REQUIRE(engine.observe(with_spread(0.9)));
  CHECK(engine.state().position == 1);

  AdaptationEngine frozen(adaptive("mode: frozen"));
  for (int i = 0; i < 5; ++i) CHECK_FALSE(frozen.observe(with_spread(1)));
  CHECK_FALSE(frozen.state().started);
  frozen.restore({0.25, 0, true});
  for (int i = 0; i < 5; ++i) CHECK_FALSE(frozen.observe(with_spread(1)));
  CHECK(frozen.state().position == 0.25);

  AdaptationEngine waits(adaptive("wait: 3, full: 0.5"));
  waits.observe(with_spread(0));
  int changes = 0;
  for (int i = 1; i <= 9; ++i) changes += waits.observe(with_spread(i % 2 == 0 ? 1 : 0.9)) ? 1 : 0;
  CHECK(changes == 3);
}

TEST_CASE(
    "random entropies: always within bounds, structural zeros only where the narrow end has them, and replayable") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    const Rng rng(seed, Stream::test, 3);
    uint64_t n = 0;
    const auto uniform = [&] { return static_cast<double>(rng.uniform(n++)); };
    const double begin = 0.4 * uniform(), full = begin + 0.05 + 0.5 * uniform();
    const BoundPolicy policy =
        adaptive(fmt::format("measure: {}, begin: {}, full: {}, rate: {}, dead_band: {}, wait: {}",
                             seed % 2 == 0 ? "spread" : "order", begin, full, 0.01 + 0.9 * uniform(), 0.3 * uniform(),
                             1 + rng.bits(n++) % 3),
                 "{shallow: open, middle: open}");
    AdaptationEngine engine(policy), resumed(policy);
    int64_t since = 1000;
    bool moved = false;
    for (int i = 0; i < 30; ++i) {
      std::vector<double> entropies;
      for (int s = 0; s < 6; ++s) entropies.push_back(uniform());
      const AdaptationState before = engine.state();
      resumed.restore(before);  // whatever happened before is in the state
      const auto step = engine.observe(entropies);
      const auto again = resumed.observe(entropies);
      REQUIRE(step.has_value() == again.has_value());
      CHECK(resumed.state() == engine.state());
      ++since;
      if (!step) {
        CHECK(engine.state().position == before.position);
        continue;
      }
      CHECK(again->record == step->record);
      if (before.started) {
        moved = true;
        CHECK(std::abs(engine.state().position - before.position) <= policy.policy().adaptation->rate * (1 + 1e-8));
        CHECK(since >= policy.policy().adaptation->wait);
      }
      since = 0;
      for (const ProfileChange& change : step->changes) {
        const std::vector<float>&narrow = policy.stated_weights(change.profile), &broad = policy.stated_weights(1);
        for (size_t b = 0; b < narrow.size(); ++b) {
          CHECK(change.after[b] >= narrow[b]);
          CHECK(change.after[b] <= broad[b]);
          if (narrow[b] > 0) CHECK(change.after[b] > 0);
        }
      }
      // The log's text is enough, and any change to it shows.
      nlohmann::json record = nlohmann::json::parse(step->record.dump());
      CHECK(check_adaptation(policy, record) == std::nullopt);
      record["stratification"] = record["stratification"].get<double>() + 0.01;
      CHECK(check_adaptation(policy, record));
      record = step->record;
      record["profiles"]["middle"]["after"][0] = 1.5;
      CHECK(check_adaptation(policy, record));
      record = step->record;
      record.erase("waited");
      CHECK(check_adaptation(policy, record));
    }
    if (seed > 5) CHECK((moved || policy.policy().adaptation->dead_band > 0.1));
  }
}
