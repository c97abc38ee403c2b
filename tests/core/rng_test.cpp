#include "core/rng.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace govtrain;

// Vectors of the Random123 distribution (kat_vectors, philox4x32 10 rounds).
TEST_CASE("philox4x32-10 gives the published values") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a random value depends on its whole key and on nothing else") {
  const Rng a(1, Stream::dropout, 7, 9);
  const float v = a.uniform(1000);
  a.uniform(3);
  CHECK(a.uniform(1000) == v);
  CHECK(Rng(1, Stream::dropout, 7, 9).uniform(1000) == v);
  CHECK(Rng(2, Stream::dropout, 7, 9).uniform(1000) != v);
  CHECK(Rng(1, Stream::init, 7, 9).uniform(1000) != v);
  CHECK(Rng(1, Stream::dropout, 8, 9).uniform(1000) != v);
  CHECK(Rng(1, Stream::dropout, 7, 8).uniform(1000) != v);
}

TEST_CASE("uniform and normal have the right moments") {
  const Rng rng(5, Stream::test);
  constexpr int n = 200000;
  double sum = 0, sum2 = 0, normal = 0, normal2 = 0;
  bool inside = true;
  for (uint64_t i = 0; i < n; ++i) {
    const double u = rng.uniform(i);
    inside = inside && u >= 0 && u < 1;
    sum += u;
    sum2 += u * u;
    const double z = rng.normal(i);
    normal += z;
    normal2 += z * z;
  }
  CHECK(inside);
  // Five standard errors of each mean.
  CHECK(std::abs(sum / n - 0.5) < 5 * 0.2887 / std::sqrt(n));
  CHECK(std::abs(sum2 / n - 1.0 / 3) < 5 * 0.2981 / std::sqrt(n));
  CHECK(std::abs(normal / n) < 5 / std::sqrt(n));
  CHECK(std::abs(normal2 / n - 1) < 5 * std::sqrt(2.0) / std::sqrt(n));
}
