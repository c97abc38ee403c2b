#include "routing/profile.h"

#include <catch2/catch.hpp>

#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

std::vector<float> bound(const std::string& flow, int layers, DepthOrigin origin = DepthOrigin::input) {
  Diagnostics d;
  const auto node = parse_yaml("f", flow, d);
  REQUIRE(node);
  const auto profile = read_profile("p", *node, d);
  INFO(flow << "\n" << d.render());
  REQUIRE(profile);
  const auto weights = bind_profile(*profile, blocks(layers), origin, d);
  INFO(d.render());
  REQUIRE(!d.has_errors());
  return weights;
}

using Weights = std::vector<float>;

}  // namespace

TEST_CASE("selectors pick blocks by name, range, glob, share and rest") {
  CHECK(bound("{all: 1}", 2) == Weights{1, 1, 1, 1});
  CHECK(bound("{rest: 0.5}", 2) == Weights{0.5, 0.5, 0.5, 0.5});
  CHECK(bound("{embedding: 1, layer.1: 2, rest: 0}", 2) == Weights{1, 0, 2, 0});
  CHECK(bound("{layer.1-2: 1, rest: 0}", 4) == Weights{0, 0, 1, 1, 0, 0});
  CHECK(bound("{layer.*: 0.25, embedding: 1, head: 1}", 2) == Weights{1, 0.25, 0.25, 1});
  CHECK(bound("{\"layer.?\": 1, rest: 0}", 11) == Weights{0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0});
  CHECK(bound("{first 2 layers: 1, rest: 0}", 4) == Weights{0, 1, 1, 0, 0, 0});
  CHECK(bound("{last 1 layer: 1, rest: 0}", 4) == Weights{0, 0, 0, 0, 1, 0});
  CHECK(bound("{first 2 blocks: 1, rest: 0}", 4) == Weights{1, 1, 0, 0, 0, 0});
  CHECK(bound("{last 50% of blocks: 1, rest: 0}", 4) == Weights{0, 0, 0, 1, 1, 1});
}

TEST_CASE("complementary shares cover the layers exactly, whatever their number") {
  for (int layers = 1; layers <= 13; ++layers) {
    for (const auto& [first, last] :
         {std::pair{"50", "50"}, {"25", "75"}, {"33.3", "66.7"}, {"10", "90"}, {"99.999", "0.001"}}) {
      const std::string p =
          std::string("{first ") + first + "% of layers: 1, last " + last + "% of layers: 2, embedding: 3, head: 3}";
      const Weights w = bound(p, layers);
      const auto ones = std::count(w.begin(), w.end(), 1.0F);
      CHECK(ones == static_cast<int64_t>(layers * std::stod(first) / 100 + 1e-9));
      CHECK(std::is_sorted(w.begin() + 1, w.end() - 1));
    }
  }
}

TEST_CASE("counting from the output reverses the shares and nothing else") {
  for (int layers = 1; layers <= 9; ++layers) {
    for (const char* p : {"{first 50% of blocks: 1, last 50% of blocks: 0.5}", "{first 1 block: 2, rest: 0}",
                          "{first 40% of layers: 1, rest: 0}", "{last 30% of layers: 0.5, rest: 1}"}) {
      Weights w = bound(p, layers, DepthOrigin::input);
      std::reverse(w.begin(), w.end());
      CHECK(w == bound(p, layers, DepthOrigin::output));
    }
    CHECK(bound("{embedding: 1, layer.0: 0.5, rest: 0}", layers, DepthOrigin::output) ==
          bound("{embedding: 1, layer.0: 0.5, rest: 0}", layers, DepthOrigin::input));
  }
}

TEST_CASE("negative weights need a bound, and zero has no sign") {
  CHECK(bound("{allow_negative: {bound: 0.5}, embedding: -0.5, rest: 1}", 1) == Weights{-0.5, 1, 1});
  const Weights w = bound("{all: -0.0}", 1);
  CHECK(!std::signbit(w[0]));
}

TEST_CASE("percentages are exact") {
  CHECK(bound("{first 33.333% of layers: 1, rest: 0}", 3) == Weights{0, 0, 0, 0, 0});
  CHECK(bound("{first 33.334% of layers: 1, rest: 0}", 3) == Weights{0, 1, 0, 0, 0});
  CHECK(bound("{first 100% of layers: 1, rest: 0}", 3) == Weights{0, 1, 1, 1, 0});
}
