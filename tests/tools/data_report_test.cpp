// The unigram baseline against a direct computation, and what inspect and stats print.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "tests/tools/data_fixture.h"
#include "tools/govtrain/data/baseline.h"
#include "tools/govtrain/data/report.h"
#include "tools/govtrain/data/sampler.h"

using namespace govtrain;
using namespace govtrain::test;

TEST_CASE("the unigram loss is the cross-entropy of the smoothed training frequencies", "[data]") {
  const TempDir dir;
  const auto list = items(30);
  const Dataset set = open_dataset(prepare_items(dir, list, byte_options(0.3)).folder);
  std::map<int, double> counts;
  double total = 258, loss = 0, targets = 0;
  for (const Item& i : list) {
    if (in_validation(sha256(i.text), 0.3)) continue;
    for (unsigned char c : i.text) counts[c] += 1;
    counts[257] += 1;
    total += static_cast<double>(i.text.size()) + 1;
  }
  for (const Item& i : list) {
    if (!in_validation(sha256(i.text), 0.3)) continue;
    for (unsigned char c : i.text) loss -= std::log((counts[c] + 1) / total);
    loss -= std::log((counts[257] + 1) / total);
    targets += static_cast<double>(i.text.size()) + 1;
  }
  REQUIRE(targets > 0);
  REQUIRE(unigram_loss(set).has_value());
  CHECK(*unigram_loss(set) == Approx(loss / targets).epsilon(1e-12));
  CHECK(*unigram_loss(set) < std::log(258));
  CHECK_FALSE(unigram_loss(set, std::vector<uint8_t>(set.documents().size(), 0)).has_value());
  const TempDir other;
  CHECK_FALSE(unigram_loss(open_dataset(prepare_items(other, list, byte_options(0)).folder)).has_value());
}

TEST_CASE("inspect shows ids, text, targets and provenance; stats counts everything", "[data]") {
  const TempDir dir;
  const std::vector<Item> list = {{"Hi\n", {{"source", "s1"}, {"license", "MIT"}, {"class", "book"}}},
                                  {"private", {{"source", "s2"}, {"license", "secret"}}}};
  const Dataset set = open_dataset(prepare_items(dir, list, byte_options(0), exclude_secret).folder);
  const std::string id = hex(sha256("Hi\n"));
  CHECK(inspect_example(set, Split::train, 0, 8) ==
        fmt::format("train example 0 of 1\n"
                    "example id  {:016x}\n"
                    "document    {}\n"
                    "rows        0 to 4 of 4\n"
                    "provenance  {{\"class\":\"book\",\"license\":\"MIT\",\"source\":\"s1\"}}\n"
                    "text        \"Hi\\n\"\n"
                    "     row   input                             target\n"
                    "       0     256 <bos>                    ->      72 \"H\"\n"
                    "       1      72 \"H\"                      ->     105 \"i\"\n"
                    "       2     105 \"i\"                      ->      10 \"\\n\"\n"
                    "       3      10 \"\\n\"                     ->     257 <eos>\n",
                    example_id(sha256("Hi\n"), 0), id));
  CHECK(inspect_example(set, Split::train, 0, 2).find("the document goes on after this example") != std::string::npos);
  CHECK(message_of([&] { inspect_example(set, Split::train, 1, 8); }) ==
        "[data] there is no train example 1; the split has 1 examples at context 8");
  const std::string stats = data_stats(set);
  CAPTURE(stats);
  for (const char* part :
       {"tokenizer bytes with 258 tokens", "\ntrain          1            3           0\n",
        "\ns1              1            3           0\n", "\nMIT              1            3           0\n",
        "\nbook           1            3           0\n", "         1  rule 'no secrets'\n"}) {
    CAPTURE(part);
    CHECK(stats.find(part) != std::string::npos);
  }
  CHECK(stats.find("private") == std::string::npos);
}
