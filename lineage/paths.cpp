#include "lineage/paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace govtrain {
namespace {

// Decimal in [low, high] without leading zeros.
std::optional<uint64_t> small_number(std::string_view text, uint64_t low, uint64_t high) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value < low || value > high) return std::nullopt;
  return value;
}

std::optional<uint64_t> group(std::string_view text) {
  if (text.size() != 3) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

std::optional<uint64_t> parse_index(std::string_view text) {
  uint64_t value = 0;
  for (bool first = true;; first = false) {
    const size_t slash = text.find('/');
    const bool last = slash == std::string_view::npos;
    std::string_view part = text.substr(0, slash);
    if (!last) {
      if (part.empty() || part[0] != 'x') return std::nullopt;
      part.remove_prefix(1);
    }
    const std::optional<uint64_t> digits = group(part);
    if (!digits) return std::nullopt;
    if (first && !last && *digits == 0) return std::nullopt;  // leading groups of zeros are another spelling
    if (value > (UINT64_MAX - *digits) / 1000) return std::nullopt;
    value = value * 1000 + *digits;
    if (last) return value;
    text.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string partial_folder(int level, uint64_t index) {
  std::string groups = fmt::format("{:03}", index % 1000);
  while ((index /= 1000) != 0) groups = fmt::format("x{:03}/{}", index % 1000, groups);
  return level == entries_level ? fmt::format("tile/entries/{}.p", groups) : fmt::format("tile/{}/{}.p", level, groups);
}

std::string tile_path(const TilePath& tile) {
  std::string path = partial_folder(tile.level, tile.index);
  if (tile.width != tile_width) return fmt::format("{}/{}", path, tile.width);
  path.resize(path.size() - 2);
  return path;
}

Result<TilePath> parse_tile_path(std::string_view path) {
  const auto bad = [&] {
    return Status(StatusCode::invalid, fmt::format("'{}' is not a tile path; expected tile/<0..63 or entries>/<groups "
                                                   "of three digits>[.p/<1..255>]",
                                                   path.substr(0, 200)));
  };
  std::string_view rest = path;
  if (!rest.starts_with("tile/")) return bad();
  rest.remove_prefix(5);
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return bad();
  TilePath out;
  if (rest.substr(0, slash) == "entries") {
    out.level = entries_level;
  } else {
    const std::optional<uint64_t> level = small_number(rest.substr(0, slash), 0, max_tile_level);
    if (!level) return bad();
    out.level = static_cast<int>(*level);
  }
  rest.remove_prefix(slash + 1);
  const size_t partial = rest.find(".p/");
  if (partial != std::string_view::npos) {
    const std::optional<uint64_t> width = small_number(rest.substr(partial + 3), 1, tile_width - 1);
    if (!width) return bad();
    out.width = *width;
    rest = rest.substr(0, partial);
  }
  const std::optional<uint64_t> index = parse_index(rest);
  if (!index) return bad();
  out.index = *index;
  return out;
}

uint64_t hashes_at_level(uint64_t size, int level) {
  const int shift = 8 * std::max(level, 0);
  return shift >= 64 ? 0 : size >> shift;
}

}  // namespace govtrain
