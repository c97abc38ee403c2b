// File names of tiles: the examples of the format, round trips, and everything that is not quite a name.
#include "lineage/paths.h"

#include <catch2/catch.hpp>

#include "tests/lineage/support.h"

using namespace govtrain;

TEST_CASE("tile paths are written as the format says") {
  CHECK(tile_path({0, 0, 256}) == "tile/0/000");
  CHECK(tile_path({0, 999, 256}) == "tile/0/999");
  CHECK(tile_path({3, 1000, 256}) == "tile/3/x001/000");
  CHECK(tile_path({63, 1234067, 256}) == "tile/63/x001/x234/067");
  CHECK(tile_path({0, 273, 112}) == "tile/0/273.p/112");
  CHECK(tile_path({entries_level, 1234, 1}) == "tile/entries/x001/234.p/1");
  CHECK(partial_folder(2, 1000) == "tile/2/x001/000.p");
}

TEST_CASE("tile paths are read back, and only they") {
  Random random(1);
  for (int n = 0; n < 2000; ++n) {
    const uint64_t index = (random.below(1 << 30) << 20 | random.below(1 << 20)) >> random.below(50);
    const TilePath tile{static_cast<int>(random.below(65)) - 1, index, 1 + random.below(256)};
    REQUIRE(parse_tile_path(tile_path(tile)).value() == tile);
  }
  for (const char* bad : {"",
                          "tile",
                          "tile/",
                          "tile/0",
                          "tile/0/",
                          "tile/0/0",
                          "tile/0/00",
                          "tile/0/0000",
                          "tile/00/000",
                          "tile/64/000",
                          "tile/-1/000",
                          "tile/+1/000",
                          "tile/1 /000",
                          "tile/0/x000",
                          "tile/0/x001",
                          "tile/0/001/000",
                          "tile/0/x001/x000",
                          "tile/0/x000/001",
                          "tile/0/x000/000",
                          "tile/0/000.p",
                          "tile/0/000.p/",
                          "tile/0/000.p/0",
                          "tile/0/000.p/256",
                          "tile/0/000.p/01",
                          "tile/0/000.p/1/",
                          "tile/0/000.p/1.p/1",
                          "tile/0/000/",
                          "tile/0//000",
                          "/tile/0/000",
                          "tile/0/000.q/1",
                          "tile/entry/000",
                          "tile/Entries/000",
                          "tile/8/0/000",
                          "tile/0/0a0",
                          "tile/0/x1/000",
                          "tile/0/x999/x999/x999/x999/x999/x999/999",
                          "tile/0/..",
                          "tile/0/\xC3\xA9"}) {
    INFO(bad);
    CHECK_FALSE(parse_tile_path(bad).ok());
  }
}

TEST_CASE("levels of a tree") {
  CHECK(hashes_at_level(70000, 0) == 70000);
  CHECK(hashes_at_level(70000, entries_level) == 70000);
  CHECK(hashes_at_level(70000, 1) == 273);
  CHECK(hashes_at_level(70000, 2) == 1);
  CHECK(hashes_at_level(70000, 3) == 0);
  CHECK(hashes_at_level(UINT64_MAX, 63) == 0);
}
