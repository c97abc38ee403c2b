// The sampler: every example once an epoch, an order that removals do not disturb, a budget that is kept, and a state
// of two numbers.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "tests/tools/data_fixture.h"
#include "tools/govtrain/data/sampler.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

struct Fixture {
  TempDir dir;
  Dataset set;
  explicit Fixture(int count = 40, uint64_t seed = 1, double validation = 0.2)
      : set(open_dataset(prepare_items(dir, items(count, seed), byte_options(validation)).folder)) {}
};

bool same(const Batch& a, const Batch& b) {
  if (a.examples.size() != b.examples.size() || a.tokens != b.tokens || a.targets != b.targets) return false;
  for (size_t i = 0; i < a.examples.size(); ++i) {
    if (a.examples[i].id != b.examples[i].id || a.rows.length(static_cast<int>(i)) != b.examples[i].rows())
      return false;
  }
  return a.epoch == b.epoch && a.cursor == b.cursor && a.slots == b.slots && a.slot_rows == b.slot_rows;
}

std::vector<uint64_t> ids_of_epoch(Sampler& sampler, const Sampler::Keep& keep = {}) {
  std::vector<uint64_t> ids;
  const uint64_t epoch = sampler.state().epoch;
  while (sampler.state().epoch == epoch) {
    for (const Example& e : sampler.next(keep).examples) ids.push_back(e.id);
  }
  return ids;
}

}  // namespace

TEST_CASE("an epoch holds every chunk of every training document once, within the budget", "[data]") {
  const Fixture f;
  for (const auto& [context, budget] : {std::pair(64, 256), {1, 1}, {7, 7}, {100, 101}, {1 << 20, 1 << 20}}) {
    CAPTURE(context, budget);
    Sampler sampler(f.set, {context, budget, 42});
    std::map<int32_t, std::map<uint32_t, std::vector<int32_t>>> inputs, targets;
    std::set<uint64_t> ids;
    uint64_t rows = 0;
    while (sampler.state().epoch == 0) {
      const Batch batch = sampler.next();
      REQUIRE_FALSE(batch.empty());
      REQUIRE(batch.slot_rows <= budget);
      REQUIRE(batch.rows.total() == batch.slot_rows);
      REQUIRE(batch.tokens.size() == static_cast<size_t>(batch.rows.total()));
      REQUIRE(batch.targets.size() == batch.tokens.size());
      REQUIRE(batch.rows.examples() == batch.slots);
      for (int e = 0; e < batch.rows.examples(); ++e) {
        const Example& x = batch.examples[static_cast<size_t>(e)];
        REQUIRE(x.rows() <= context);
        REQUIRE(ids.insert(x.id).second);
        REQUIRE(x.id == example_id(f.set.documents()[static_cast<size_t>(x.document)].digest, x.begin));
        inputs[x.document][x.begin] = {batch.tokens.begin() + batch.rows.begin(e),
                                       batch.tokens.begin() + batch.rows.end(e)};
        targets[x.document][x.begin] = {batch.targets.begin() + batch.rows.begin(e),
                                        batch.targets.begin() + batch.rows.end(e)};
      }
      rows += static_cast<uint64_t>(batch.rows.total());
    }
    CHECK(rows == sampler.rows_per_epoch());
    CHECK(ids.size() == sampler.examples_per_epoch());
    for (size_t d = 0; d < f.set.documents().size(); ++d) {
      const DatasetDocument& doc = f.set.documents()[d];
      const bool there = inputs.count(static_cast<int32_t>(d)) == 1;
      REQUIRE(there == (doc.split == Split::train));
      if (!there) continue;
      std::vector<int32_t> in, out;
      for (const auto& [begin, part] : inputs[static_cast<int32_t>(d)]) in.insert(in.end(), part.begin(), part.end());
      for (const auto& [begin, part] : targets[static_cast<int32_t>(d)])
        out.insert(out.end(), part.begin(), part.end());
      REQUIRE(in.size() == doc.tokens + 1);
      REQUIRE(out.size() == doc.tokens + 1);
      CHECK(in.front() == f.set.tokenizer().bos());
      CHECK(out.back() == f.set.tokenizer().eos());
      for (uint64_t i = 0; i < doc.tokens; ++i) {
        REQUIRE(in[i + 1] == f.set.token(doc.begin + i));
        REQUIRE(out[i] == f.set.token(doc.begin + i));
      }
    }
  }
}

TEST_CASE("only the example that does not fit closes a batch", "[data]") {
  const Fixture f;
  Sampler sampler(f.set, {50, 173, 1});
  Batch last = sampler.next();
  while (sampler.state().epoch == 0) {
    const Batch batch = sampler.next();
    CHECK(last.slot_rows + batch.examples.front().rows() > 173);
    last = batch;
  }
}

TEST_CASE("removing documents moves no other example relative to the rest", "[data]") {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    CAPTURE(seed);
    const Fixture f(40, seed + 1);
    const Rng rng(seed, Stream::test);
    std::vector<uint8_t> admitted;
    std::set<int32_t> out;
    for (size_t d = 0; d < f.set.documents().size(); ++d) {
      admitted.push_back(rng.bits(d) % 3 != 0);
      if (admitted.back() == 0) out.insert(static_cast<int32_t>(d));
    }
    Sampler full(f.set, {64, 200, seed}), fewer(f.set, {64, 200, seed}, admitted);
    for (int epoch = 0; epoch < 3; ++epoch) {
      CHECK(ids_of_epoch(full, [&](int32_t d) { return out.count(d) == 0; }) == ids_of_epoch(fewer));
    }
  }
}

TEST_CASE("a corpus without the documents gives the very same batches as a schedule without them", "[data]") {
  const TempDir dir;
  const std::vector<Item> all = items(45);
  std::vector<Item> kept = all;
  std::erase_if(kept, [](const Item& i) { return i.meta["license"] == "secret"; });
  const Dataset full = open_dataset(prepare_items(dir, all, byte_options()).folder);
  const Dataset fewer = open_dataset(prepare_items(dir, kept, byte_options()).folder);
  std::vector<uint8_t> admitted;
  for (const DatasetDocument& d : full.documents()) admitted.push_back(d.provenance[0]["license"] != "secret");
  Sampler a(full, {64, 300, 5}, admitted), b(fewer, {64, 300, 5});
  REQUIRE(a.examples_per_epoch() == b.examples_per_epoch());
  for (int step = 0; step < 200; ++step) REQUIRE(same(a.next(), b.next()));
}

TEST_CASE("a document revoked later leaves its slots empty and moves nothing else", "[data]") {
  const Fixture f;
  Sampler whole(f.set, {64, 256, 3}), filtered(f.set, {64, 256, 3});
  const int32_t revoked = whole.examples().front().document;
  int removed = 0;
  for (int step = 0; step < 300; ++step) {
    const Batch a = whole.next();
    const bool active = step >= 20;
    const Batch b = filtered.next([&](int32_t d) { return !active || d != revoked; });
    REQUIRE(whole.state() == filtered.state());
    REQUIRE(b.slots == a.slots);
    REQUIRE(b.slot_rows == a.slot_rows);
    size_t at = 0;
    for (int e = 0; e < a.rows.examples(); ++e) {
      const Example& x = a.examples[static_cast<size_t>(e)];
      if (active && x.document == revoked) {
        ++removed;
        continue;
      }
      REQUIRE(b.examples[at].id == x.id);
      const int other = static_cast<int>(at++);
      REQUIRE(std::equal(a.tokens.begin() + a.rows.begin(e), a.tokens.begin() + a.rows.end(e),
                         b.tokens.begin() + b.rows.begin(other), b.tokens.begin() + b.rows.end(other)));
    }
    REQUIRE(at == b.examples.size());
  }
  CHECK(removed > 10);
  Sampler nothing(f.set, {64, 256, 3});
  const Batch empty = nothing.next([](int32_t) { return false; });
  CHECK(empty.empty());
  CHECK(empty.rows.total() == 0);
  CHECK(empty.slots > 0);
}

TEST_CASE("stopping at any step and going on is the same as not stopping", "[data]") {
  const Fixture f(25);
  std::vector<Batch> uninterrupted;
  std::vector<SamplerState> states;
  Sampler sampler(f.set, {48, 1200, 9});
  for (int step = 0; step < 150; ++step) {
    states.push_back(sampler.state());
    uninterrupted.push_back(sampler.next());
  }
  REQUIRE(sampler.state().epoch >= 2);
  for (size_t step = 0; step < states.size(); ++step) {
    Sampler resumed(f.set, {48, 1200, 9});
    resumed.set_state(states[step]);
    for (size_t k = step; k < std::min(states.size(), step + 3); ++k) REQUIRE(same(resumed.next(), uninterrupted[k]));
  }
  const std::string text = message_of([&] { sampler.set_state({0, sampler.examples_per_epoch()}); });
  CHECK(text.find("[data] the sampler cannot continue at place ") == 0);
}

TEST_CASE("orders differ between seeds and epochs, and look random", "[data]") {
  const Fixture f(60);
  Sampler a(f.set, {32, 64, 1}), b(f.set, {32, 64, 2});
  const auto first = ids_of_epoch(a), second = ids_of_epoch(a), other = ids_of_epoch(b);
  CHECK(first != second);
  CHECK(first != other);
  const auto sorted = [](std::vector<uint64_t> ids) {
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  CHECK(sorted(first) == sorted(second));
  CHECK(sorted(first) == sorted(other));
  CHECK(first != sorted(first));
  // Correlation of the places in two epochs: below five standard deviations.
  std::map<uint64_t, double> place;
  for (size_t i = 0; i < second.size(); ++i) place[second[i]] = static_cast<double>(i);
  const double n = static_cast<double>(first.size()), mean = (n - 1) / 2, variance = (n * n - 1) / 12;
  double covariance = 0;
  for (size_t i = 0; i < first.size(); ++i)
    covariance += (static_cast<double>(i) - mean) * (place[first[i]] - mean) / n;
  CHECK(std::abs(covariance / variance) < 5 / std::sqrt(n));
}

TEST_CASE("impossible sampler options are errors", "[data]") {
  const Fixture f(5, 1, 0);
  CHECK(message_of([&] { Sampler(f.set, {0, 10, 0}); }) == "[data] context is 0; expected at least 1");
  CHECK(message_of([&] {
          Sampler(f.set, {64, 63, 0});
        }) ==
        "[data] tokens_per_step is 63, less than the context of 64; an example can have 64 rows and would never fit. "
        "Raise tokens_per_step or lower the context");
  CHECK(message_of([&] {
          Sampler(f.set, {8, 8, 0}, std::vector<uint8_t>(5, 0));
        }).find("no training document is left") != std::string::npos);
  CHECK(message_of([&] {
          Sampler(f.set, {8, 8, 0}, {1, 1});
        }) == "[data] the admitted mask has 2 entries; expected one for each of 5 documents");
}

TEST_CASE("validation batches come in one fixed order, and by source", "[data]") {
  const Fixture f(60);
  const auto documents = documents_of(f.set, Split::validation);
  REQUIRE(documents.size() > 3);
  const FixedBatches all(f.set, documents, 64, 256);
  std::vector<Example> expected = examples_of(f.set, documents, 64);
  size_t at = 0;
  uint64_t rows = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const Batch batch = all.batch(i);
    CHECK(batch.slot_rows <= 256);
    for (const Example& e : batch.examples) REQUIRE(e.id == expected[at++].id);
    rows += static_cast<uint64_t>(batch.rows.total());
  }
  CHECK(at == expected.size());
  CHECK(rows == all.rows());

  const auto groups = group_documents(f.set, documents, "license");
  size_t grouped = 0;
  for (const auto& [name, list] : groups) {
    grouped += list.size();
    for (int32_t d : list) CHECK(f.set.documents()[static_cast<size_t>(d)].provenance[0]["license"] == name);
  }
  CHECK(groups.size() >= 2);
  CHECK(grouped == documents.size());
  CHECK(group_documents(f.set, documents, "nothing").at(0).first == "(none)");

  const FixedBatches some(f.set, documents, 64, 256, 1);  // the first document is always taken
  CHECK(some.rows() == f.set.documents()[static_cast<size_t>(documents[0])].tokens + 1);
  const FixedBatches most(f.set, documents, 64, 256, all.rows() - 1);
  CHECK(most.rows() < all.rows());
  CHECK(most.rows() > all.rows() / 2);
}
