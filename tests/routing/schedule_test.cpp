// Conditions over the training state, and the machine that carries a schedule out. Pure logic; whole runs are in
// tests/tools/temporal_test.cpp.
#include <catch2/catch.hpp>

#include "core/error.h"
#include "routing/resolve.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;

namespace {

const char* const text = R"(policy: p
version: 1
default: none
profiles:
  full: {all: 1}
  shallow: {embedding: 1, rest: 0}
rules:
  - {name: a, when: {license: MIT}, profile: shallow}
schedule:
)";

BlockMap blocks() { return routing_test::blocks(1); }

BoundPolicy policy(const std::string& schedule) {
  Diagnostics diagnostics;
  std::optional<Policy> p = Policy::parse("p.yaml", text + schedule, diagnostics);
  INFO(diagnostics.render());
  REQUIRE(p);
  // The canonical text says the same.
  Diagnostics again;
  const std::optional<Policy> copy = Policy::parse("c.yaml", p->canonical(), again);
  INFO(again.render());
  REQUIRE(copy);
  CHECK(copy->id() == p->id());
  return BoundPolicy::bind(std::move(*p), blocks());
}

std::string problem(const std::string& schedule) {
  Diagnostics diagnostics;
  std::optional<Policy> p = Policy::parse("p.yaml", text + schedule, diagnostics);
  if (p) (void)BoundPolicy::bind(std::move(*p), blocks(), diagnostics);
  return diagnostics.render();
}

// Steps of a policy's schedule, as the governance of a run takes them.
class Machine {
 public:
  explicit Machine(BoundPolicy bound) : bound_(std::move(bound)) {
    std::vector<std::vector<float>> weights;
    for (int p = 0; p < 3; ++p) weights.push_back(bound_.weights(p));
    scheduler_ = Scheduler(bound_.policy().schedule, weights, bound_.blocks());
  }
  // The weights of `shallow` after the step's decisions.
  std::vector<float> step(const TrainingState& state) {
    changes_ = scheduler_.advance(state, [&](int p) { return bound_.weights(p); });
    for (const auto& change : changes_) bound_.set_weights(change.profile, change.weights);
    return bound_.weights(2);
  }
  const std::vector<Scheduler::Change>& changes() const { return changes_; }
  Scheduler& scheduler() { return scheduler_; }

 private:
  BoundPolicy bound_;
  Scheduler scheduler_;
  std::vector<Scheduler::Change> changes_;
};

TrainingState at(int64_t step, uint64_t epoch = 0) {
  TrainingState s;
  s.step = step - 1;
  s.epoch = epoch;
  return s;
}

using Weights = std::vector<float>;
const Weights shallow{1, 0, 0}, full{1, 1, 1};

}  // namespace

TEST_CASE("a schedule at a step, linear over four steps, happens once") {
  Machine m(policy("  - {name: open, profile: shallow, to: full, when: {step: 3}, over: 4}\n"));
  CHECK(m.step(at(1)) == shallow);
  CHECK(m.step(at(2)) == shallow);
  CHECK(m.step(at(3)) == Weights{1, 0.25F, 0.25F});
  REQUIRE(m.changes().size() == 1);
  CHECK(m.changes()[0].begins);
  CHECK(m.changes()[0].evidence.at("step") == 3);
  const Scheduler::State saved = m.scheduler().state();
  CHECK(m.step(at(4)) == Weights{1, 0.5F, 0.5F});
  CHECK_FALSE(m.changes()[0].begins);
  CHECK(m.step(at(5)) == Weights{1, 0.75F, 0.75F});
  CHECK(m.step(at(6)) == full);
  CHECK(m.step(at(7)) == full);
  CHECK(m.changes().empty());
  // Going on from the saved state is the same way.
  m.scheduler().restore(saved);
  CHECK(m.step(at(4)) == Weights{1, 0.5F, 0.5F});
  CHECK_THROWS_AS(m.scheduler().restore({}), Error);
}

TEST_CASE("an epoch's schedule begins with the first batch of the epoch") {
  Machine m(policy("  - {name: open, profile: shallow, to: full, when: {epoch: 1}}\n"));
  CHECK(m.step(at(9, 0)) == shallow);
  CHECK(m.step(at(10, 1)) == full);
}

TEST_CASE("thresholds with hysteresis: held in a row to switch, another threshold to go back") {
  Machine m(
      policy("  - {name: open, profile: shallow, to: full, when: {drift: {block: 'layer.*', below: 0.1}}, hold: 2,"
             " back: {drift: {block: layer.0, above: 0.3}}}\n"));
  const auto drift = [&](int64_t step, double value) {
    TrainingState s = at(step);
    s.drift = {0.9, value, 0.9};
    return m.step(s);
  };
  CHECK(m.step(at(1)) == shallow);  // not measured yet
  CHECK(drift(2, 0.05) == shallow);
  CHECK(drift(3, 0.2) == shallow);  // not in a row
  CHECK(drift(4, 0.05) == shallow);
  CHECK(drift(5, 0.05) == full);
  CHECK(m.changes()[0].evidence.at("drift layer.0") == 0.05);
  CHECK(drift(6, 0.2) == full);  // between the thresholds nothing moves
  CHECK(drift(7, 0.31) == full);
  CHECK(drift(8, 0.31) == shallow);
  CHECK(m.changes()[0].back);
  CHECK(drift(9, 0.05) == shallow);
  CHECK(drift(10, 0.05) == full);  // and again
}

TEST_CASE("what is not measured is unknown, also behind not, any and all") {
  Evidence evidence;
  const auto value = [&](const std::string& condition, const TrainingState& state) {
    Diagnostics diagnostics;
    const auto node = parse_yaml("c", condition, diagnostics);
    const auto c = read_state_condition(*node, "c", diagnostics);
    INFO(diagnostics.render());
    REQUIRE(c);
    const auto flow = parse_yaml("c", to_flow(*c), diagnostics);
    const auto again = read_state_condition(*flow, "c", diagnostics);
    REQUIRE(again);
    CHECK(to_flow(*again) == to_flow(*c));
    return holds(*again, state, {"a", "b"}, evidence);
  };
  TrainingState s = at(5);
  CHECK_FALSE(value("loss_progress: {below: 0.1}", s));
  CHECK_FALSE(value("not: {loss_progress: {below: 0.1}}", s));
  CHECK(value("any: [{loss_progress: {below: 0.1}}, {step: 5}]", s) == true);
  CHECK(value("all: [{loss_progress: {below: 0.1}}, {step: 6}]", s) == false);
  CHECK_FALSE(value("{step: 5, loss_progress: {below: 0.1}}", s));
  s.loss_progress = 0.05;
  CHECK(value("{step: 5, loss_progress: {below: 0.1}}", s) == true);
  CHECK(value("loss_progress: {above: 0.05}", s) == false);
  s.capacity = {0.2, 0.6};
  CHECK(value("capacity: {block: '*', below: 0.5}", s) == false);
  CHECK(value("capacity: {block: '*', above: 0.1, below: 0.7}", s) == true);
}

TEST_CASE("the widest a schedule can make a policy decides what is excluded from the start") {
  const BoundPolicy p = policy("  - {name: open, profile: shallow, to: full, when: {step: 9}}\n");
  const DocumentFacts mit{"1", "1", {{{"license", "MIT"}}}}, other{"2", "2", {{{"license", "GPL-3.0"}}}};
  const Date day = Date::parse("2026-01-01").value();
  CHECK(p.widest().resolve(mit, day).weights == full);
  CHECK(p.resolve(mit, day).weights == shallow);
  CHECK(p.widest().resolve(other, day).excluded);
}

TEST_CASE("mistakes in a schedule are reported at their place") {
  const auto says = [](const std::string& entry, const std::string& expected) {
    const std::string found = problem("  - {" + entry + "}\n");
    INFO(found);
    CHECK(found.find(expected) != std::string::npos);
  };
  const std::string good = "name: x, profile: shallow, to: full, ";
  says("name: x, profile: shalow, to: full, when: {step: 1}", "the profile 'shalow' is not defined");
  says("name: x, profile: none, to: full, when: {step: 1}", "the profile 'none' never changes");
  says("name: x, profile: full, to: full, when: {step: 1}", "'to' is the profile itself");
  says("name: x, profile: shallow, to: full", "'when'");
  says(good + "when: {stepp: 1}", "did you mean 'step'?");
  says(good + "when: {step: 0}", "steps count from 1");
  says(good + "when: {drift: {block: layer.9, above: 0.1}}", "the model has no block 'layer.9'");
  says(good + "when: {drift: {block: head}}", "has no bound");
  says(good + "when: {drift: {block: head, above: 2}}", "lies between 0 and 1");
  says(good + "when: {loss_progress: {above: 0.2, below: 0.1}}", "cannot be above 0.2 and below 0.1");
  says(good + "when: {step: 1}, over: 0", "expected steps, at least 1");
  says(good + "when: {any: []}", "an empty list");
}

TEST_CASE("a revocation list is read whole or not at all") {
  const auto read = [](const std::string& list) {
    Diagnostics diagnostics;
    const auto out = read_revocations("r.txt", list, diagnostics);
    return std::pair(out, diagnostics.render());
  };
  const auto [good, none] = read("# list\n\n doc-1 \n2026-03-01 source:x:*\nsha256:" + std::string(64, 'a') + "\n");
  INFO(none);
  REQUIRE(good);
  REQUIRE(good->size() == 3);
  CHECK((*good)[1].text() == "2026-03-01 source:x:*");
  CHECK(read("").first->empty());
  CHECK(read("doc-1\ndoc-").second.find("may be half written") != std::string::npos);
  CHECK(read("sha256:abc\n").second.find("is not a SHA-256 digest") != std::string::npos);
  CHECK(read("source:\n").second.find("without a pattern") != std::string::npos);
  std::string why;
  const Exclusion e = as_exclusion("r", {"doc-1", "source:x:*"});
  CHECK(excludes(e, {"1", "1", {{{"id", "doc-1"}}}}, why));
  CHECK(excludes(e, {"1", "1", {{{"source", "x:2"}}}}, why));
  why.clear();
  CHECK_FALSE(excludes(e, {"1", "1", {{{"id", "doc-2"}, {"source", "y:2"}}}}, why));
}
