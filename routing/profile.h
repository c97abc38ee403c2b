// Depth profiles: a named weight for every block, written as a map from block selectors to weights. A profile knows no
// model; bind_profile gives the weights for the blocks of one.
//   embedding            a block by its exact name, or all that lies there: embedding, layer.2, head, layer.2.mlp
//   layer.0-3            layers 0 to 3
//   layer.*              every block whose name matches
//   first 2 layers       counted from the shallow end; also 'last', '50% of layers', 'blocks'
//   role mlp             the blocks of that role; 'role mlp of first 2 layers', 'role attention of layer.2-3'
//   all                  every block
//   rest                 every block that no other selector names
// Every block must get exactly one weight: only 'rest' gives way to another selector. A block is selected when all of
// it is meant; a selector that means only a part of a block (one layer of a group, one role of a layer) is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/yaml.h"
#include "routing/blocks.h"

namespace govtrain {

// Which end of the model is shallow: the input (block 0) or the output.
enum class DepthOrigin { input, output };

struct BlockSelector {
  enum class Kind { name, range, glob, first, last, role, all, rest };
  Kind kind = Kind::all;
  std::string text;          // as written
  int64_t from = 0, to = 0;  // range: layer numbers, inclusive
  int64_t count = 0;         // first, last: how many, or thousandths of a percent
  bool percent = false;
  bool layers_only = false;       // first, last: count layers, else all blocks
  std::string role;               // role
  std::vector<BlockSelector> of;  // role: what it is looked for in; empty: everywhere
};

// What is wrong goes to `problem`. Percentages may have three decimals.
std::optional<BlockSelector> parse_selector(const std::string& text, std::string& problem);

struct Profile {
  struct Entry {
    BlockSelector selector;
    double weight = 0;
    Position at;
  };
  std::string name;
  Position at;
  std::vector<Entry> entries;
  double negative_bound = 0;  // weights are >= -negative_bound
};

// Reads the map of selectors; reports every problem at its place.
std::optional<Profile> read_profile(const std::string& name, const YamlNode& node, Diagnostics& diagnostics);

// Weights [B] for the blocks of `map` (its names, info and layers are used). Reports blocks that the model lacks,
// blocks with two weights and blocks with none. 'first p%' of n rounds down and 'last p%' rounds up, so that 'first p%'
// and 'last (100-p)%' share the layers out exactly, and content confined to the first half never gets more than half.
std::vector<float> bind_profile(const Profile& profile, const BlockMap& map, DepthOrigin origin,
                                Diagnostics& diagnostics);

}  // namespace govtrain
