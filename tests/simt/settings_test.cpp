// What the environment may say of the emulated device, and that anything else is refused.
#include "kernels/simt/settings.h"

#include <catch2/catch.hpp>

#include "core/error.h"

using govtrain::Error;
using govtrain::simt::read_settings;

TEST_CASE("the environment's settings are read, and what is none of them is refused") {
  CHECK(read_settings(nullptr, nullptr).observe);
  CHECK(read_settings(nullptr, nullptr).seed == 1);
  CHECK_FALSE(read_settings("0", "7").observe);
  CHECK(read_settings("1", "18446744073709551615").seed == 18446744073709551615U);
  for (const char* seed : {"abc", "", "-1", "7x", " 7", "1.5", "18446744073709551616"}) {
    CHECK_THROWS_AS(read_settings(nullptr, seed), Error);
  }
  for (const char* observe : {"maybe", "", "2", "true"}) CHECK_THROWS_AS(read_settings(observe, nullptr), Error);
  CHECK_THROWS_WITH(read_settings(nullptr, "abc"),
                    "[simt] GOVTRAIN_SIMT_SEED is 'abc'; expected a whole number from 0 to 2^64 - 1");
  CHECK_THROWS_WITH(read_settings("maybe", nullptr), "[simt] GOVTRAIN_SIMT_OBSERVE is 'maybe'; expected 0 or 1");
}
