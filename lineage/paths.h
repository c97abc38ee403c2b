// Names of the files of a log (C2SP tlog-tiles v0.1.0), relative to its folder, written and strictly parsed.
//   tile/<L>/<N>[.p/<W>]         hashes of level L, 256 to a tile
//   tile/entries/<N>[.p/<W>]     the entries themselves, 256 to a bundle
// N in groups of three digits, all but the last begin with 'x': 1234067 -> x001/x234/067. W only for partial files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/status.h"

namespace govtrain {

inline constexpr uint64_t tile_width = 256;
inline constexpr int max_tile_level = 63;
inline constexpr int entries_level = -1;  // the level number of entry bundles

struct TilePath {
  int level = 0;  // [0, 63], or entries_level
  uint64_t index = 0;
  uint64_t width = tile_width;  // [1, 256]; 256 is a full tile
  bool operator==(const TilePath&) const = default;
};

std::string tile_path(const TilePath& tile);
// The folder of the partial files of the tile: "tile/0/273.p".
std::string partial_folder(int level, uint64_t index);
// `invalid` for every other spelling.
Result<TilePath> parse_tile_path(std::string_view path);

// Number of hashes at `level` of a tree with `size` leaves: size / 256^level.
uint64_t hashes_at_level(uint64_t size, int level);

}  // namespace govtrain
