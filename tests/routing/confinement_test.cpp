// Nothing widens what 'privacy' confines.
#include "routing/confinement.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

bool says(const std::string& out, const std::string& part) { return out.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("nothing may widen a profile to which 'privacy' confines") {
  const auto problem = [](const std::string& more) {
    Diagnostics d;
    const auto bound = BoundPolicy::bind(parse_policy(three_rules + more), blocks(1), d);
    CHECK(bound.has_value() == !d.has_errors());
    return d.render();
  };
  const std::string confined = "privacy: {classes: {personal: low}}\n";
  CHECK(says(problem(confined + low_adapts),
             "p.yaml:7:48: error: adaptation widens the profile 'low', to which 'privacy' confines 'personal': layer.0 "
             "from 0.5 to 1\n"));
  CHECK(says(problem(confined + "schedule: [{name: s, profile: low, to: full, when: {epoch: 1}}]\n"),
             "p.yaml:7:12: error: schedule 's' widens the profile 'low', to which 'privacy' confines 'personal': "
             "layer.0 from 0.5 to 1\n"));
  CHECK(says(problem(confined + "controller: {protect: x, profiles: {low: {floor: none, ceiling: full}}}\n"),
             "error: controller widens the profile 'low'"));
  CHECK(
      says(problem("privacy: {classes: {public: full}, unlisted: low}\n" + low_adapts), "confines unlisted: layer.0"));
  CHECK(says(problem(confined + low_adapts), "give 'privacy' a profile of its own"));
  // Allowed: what narrows it, what moves another profile, and sections without effect.
  CHECK(problem(confined + "schedule: [{name: s, profile: low, to: later, when: {epoch: 1}}]\n").empty());
  CHECK(problem("privacy: {classes: {personal: own}}\n" + low_adapts).empty());
  CHECK(problem(confined + "adaptation: {mode: off, profiles: {low: full}}\n").empty());
  CHECK(problem(confined + "controller: {protect: x, profiles: {low: {floor: none}}}\n").empty());
}
