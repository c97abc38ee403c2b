// The meta-controller: its section of the policy, what it proposes in worlds where the cause is known, bounds, state,
// and that a record is enough to propose the same again.
#include "routing/controller.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

const std::string base =
    "policy: p\nversion: 1\ndefault: none\nprofiles:\n  full: {all: 1}\n  wide: {embedding: 1, layer.0-1: 0.5, rest: "
    "0.25}\n  low: {embedding: 0.5, layer.0-1: 0.2, rest: 0}\n"
    "rules:\n- {name: free, when: {license: MIT}, profile: full}\n- {name: copy, when: {license: GPL-*}, profile: "
    "wide}\n";

BoundPolicy controlled(const std::string& keys, const std::string& profiles = "{wide: {floor: low}}") {
  return bind_policy(base + "controller: {protect: [\"own-*\"], " + keys + (keys.empty() ? "" : ", ") +
                         "profiles: " + profiles + "}\n",
                     2);
}

// A step of two examples: a free one with norm 1 everywhere, and one decided by `copy` with these norms.
void step(Controller& c, const std::vector<double>& copy) {
  RouteTable route(2, 4, 1);
  std::vector<double> norms;
  for (size_t b = 0; b < 8; ++b) {
    route.rule[b] = b < 4 ? 1 : 2;
    norms.push_back(b < 4 ? 1 : copy[b - 4]);
  }
  c.add_step(route, norms);
}

}  // namespace

TEST_CASE("the section 'controller': read, canonical, part of the id; mistakes at their place") {
  const Policy p = parse_policy(base +
                                "controller: {mode: frozen, by: review, protect: [a, \"b*\"], tolerance: 0.1, window: "
                                "5, correlation: 0.7, rate: 0.1, profiles: {wide: {floor: low, ceiling: full}}}\n");
  REQUIRE(p.controller);
  CHECK(p.controller->review);
  CHECK(p.controller->protect == std::vector<std::string>{"a", "b*"});
  CHECK(parse_policy(p.canonical()).canonical() == p.canonical());
  CHECK(p.id() != parse_policy(base).id());
  const auto check = [](const std::string& text, const std::string& message) {
    Diagnostics d;
    const auto policy = Policy::parse("p.yaml", base + text, d);
    if (policy) BoundPolicy::bind(*policy, blocks(2), d);
    INFO(text << d.render());
    CHECK(d.render().find(message) != std::string::npos);
  };
  check("controller: {profiles: {wide: {floor: low}}}\n", "'controller' needs the key 'protect'");
  check("controller: {protect: [], profiles: {wide: {floor: low}}}\n", "expected a group, found an empty list");
  check("controller: {protect: [{a: b}], profiles: {wide: {floor: low}}}\n", "expected the name of a group");
  check("controller: {protect: a, by: law, profiles: {wide: {floor: low}}}\n", "expected rule or review");
  check("controller: {protect: a, window: 2, profiles: {wide: {floor: low}}}\n", "expected 3 to 1000000, found 2");
  check("controller: {protect: a, profiles: {wide: low}}\n", "'controller' of 'wide' must be a map");
  check("controller: {protect: a, profiles: {wide: {}}}\n", "needs the key 'floor'");
  check("controller: {protect: a, profiles: {low: {floor: wide}}}\n",
        "its floor 'wide' does not bound it in embedding");
  check("controller: {protect: a, profiles: {wide: {floor: low, ceiling: low}}}\n",
        "its ceiling 'low' does not bound it in embedding");
}

TEST_CASE("the block whose influence rises and falls with the protected loss loses weight, no other") {
  const BoundPolicy policy = controlled("window: 4, tolerance: 0.01, correlation: 0.9, rate: 0.2");
  Controller c(policy);
  CHECK(c.protects("own-a"));
  CHECK_FALSE(c.protects("deb"));
  double loss = 3;
  CHECK_FALSE(c.evaluate(loss, policy));
  const std::vector<double> harm = {-0.02, 0.03, -0.05, 0.04};
  for (size_t k = 0; k < 4; ++k) {
    // Layer 0 follows the harm, the embedding its opposite, the rest something else.
    step(c, {1 - harm[k], 1 + harm[k], k % 2 == 0 ? 0.3 : 0.2, 0.5});
    loss *= 1 + harm[k];
    const auto proposal = c.evaluate(loss, policy);
    REQUIRE(proposal.has_value() == (k == 3));
    if (!proposal) continue;
    CHECK(proposal->id == 1);
    CHECK_FALSE(proposal->refused);
    CHECK(proposal->change.profile == 2);
    CHECK(proposal->change.before == policy.weights(2));
    CHECK(proposal->change.after[0] == 1);
    CHECK(proposal->change.after[1] == Approx(0.4));
    CHECK(proposal->change.after[2] == 0.5f);
    CHECK(proposal->change.after[3] == 0.25f);
    CHECK(proposal->record.at("outcome") == "applied");
    CHECK(proposal->record.at("credit").at(1).get<double>() == Approx(1));
    CHECK(check_proposal(policy, nlohmann::json::parse(proposal->record.dump())) == std::nullopt);
    nlohmann::json forged = proposal->record;
    forged["after"][1] = 0.45;
    CHECK(check_proposal(policy, forged));
    forged = proposal->record;
    forged["evidence"]["loss_change"][3] = 0.001;
    CHECK(check_proposal(policy, forged));
  }
  // A proposal ends the window.
  step(c, {1, 1, 1, 1});
  CHECK_FALSE(c.evaluate(loss * 2, policy));
}

TEST_CASE("a controller that is restarted is as at its start, but for the numbers of its proposals") {
  const BoundPolicy policy = controlled("window: 3, correlation: 0.9");
  Controller c(policy);
  const nlohmann::json start = c.state();
  c.evaluate(3, policy);
  step(c, {1, 1, 1, 1});
  c.evaluate(2, policy);
  step(c, {1, 2, 1, 1});
  CHECK(c.state() != start);
  c.restart();
  CHECK(c.state() == start);
}

TEST_CASE("gains are rewarded up to the ceiling; a proposal that leaves its bounds is refused; review leaves it open") {
  const auto run = [](const BoundPolicy& policy, double sign) {
    Controller c(policy);
    double loss = 3;
    c.evaluate(loss, policy);
    std::optional<ControllerProposal> out;
    for (const double d : {0.02, -0.03, 0.05, -0.04}) {
      step(c, {1, 1 + sign * d, 1, 1});
      loss *= 1 + d;
      out = c.evaluate(loss, policy);
    }
    return out;
  };
  // The loss falls with more influence of layer 0.
  const auto at_ceiling = run(controlled("correlation: 0.9"), -1);
  CHECK_FALSE(at_ceiling);  // its own weights are the ceiling
  const auto raised = run(controlled("correlation: 0.9", "{wide: {floor: low, ceiling: full}}"), -1);
  REQUIRE(raised);
  CHECK(raised->change.after[1] == Approx(0.6));
  const auto refused = run(controlled("correlation: 0.9, rate: 0.9", "{wide: {floor: low, ceiling: full}}"), -1);
  REQUIRE(refused);
  CHECK_FALSE(refused->refused);  // 0.95 <= 1
  BoundPolicy near = controlled("correlation: 0.9", "{wide: {floor: low, ceiling: full}}");
  near.set_weights(2, {1, 0.9F, 0.5F, 0.25F});
  const auto beyond = run(near, -1);
  REQUIRE(beyond);
  CHECK(beyond->refused);
  CHECK(beyond->record.at("outcome") == "refused");
  CHECK(beyond->record.at("outside_bounds") == nlohmann::json::array({1}));
  CHECK(check_proposal(near, beyond->record) == std::nullopt);
  const auto open = run(controlled("by: review, correlation: 0.9", "{wide: {floor: low, ceiling: full}}"), -1);
  REQUIRE(open);
  CHECK(open->record.at("outcome") == "pending");
  CHECK_FALSE(run(controlled("mode: frozen", "{wide: {floor: low, ceiling: full}}"), -1));
}

TEST_CASE("random histories: no block opens or closes, bounds hold, the state carries everything") {
  int proposals = 0, refusals = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const Rng rng(seed, Stream::test, 4);
    uint64_t n = 0;
    const auto uniform = [&] { return static_cast<double>(rng.uniform(n++)); };
    BoundPolicy policy = controlled(fmt::format("window: 3, tolerance: {}, correlation: {}, rate: {}", 0.02 * uniform(),
                                                0.2 + 0.6 * uniform(), 0.05 + 0.5 * uniform()),
                                    "{wide: {floor: low, ceiling: full}, full: {floor: wide}}");
    Controller c(policy);
    double loss = 3;
    for (int i = 0; i < 40; ++i) {
      for (int k = 0; k < 2; ++k) step(c, {uniform(), uniform(), uniform(), uniform()});
      Controller resumed(policy);
      resumed.restore(nlohmann::json::parse(c.state().dump()));
      loss *= 0.95 + 0.1 * uniform();
      const auto proposal = c.evaluate(loss, policy), again = resumed.evaluate(loss, policy);
      REQUIRE(proposal.has_value() == again.has_value());
      CHECK(resumed.state() == c.state());
      if (!proposal) continue;
      CHECK(proposal->record == again->record);
      CHECK(check_proposal(policy, nlohmann::json::parse(proposal->record.dump())) == std::nullopt);
      ++proposals;
      refusals += proposal->refused ? 1 : 0;
      if (proposal->refused) continue;
      const int p = proposal->change.profile;
      policy.set_weights(p, proposal->change.after);
      const std::vector<float>&now = policy.weights(p), &floor = policy.stated_weights(p == 2 ? 3 : 2),
            &ceiling = policy.stated_weights(1);
      for (size_t b = 0; b < now.size(); ++b) {
        CHECK((now[b] == 0) == (policy.stated_weights(p)[b] == 0));
        CHECK(now[b] >= floor[b]);
        CHECK(now[b] <= ceiling[b]);
      }
    }
  }
  CHECK(proposals > 100);
  CHECK(refusals > 5);
  Controller c(controlled(""));
  CHECK_THROWS_AS(c.restore({{"norms", {1, 2}}}), Error);
}
