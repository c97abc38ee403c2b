// Blocks written out by hand: a YAML file with a list of named blocks, each with the selectors of what it owns.
//
//   blocks: early-heads            # a name
//   version: 1
//   list:
//     - name: heads
//       owns: {layers: 0-1, heads: 0-1}
//     - name: words
//       owns: [{role: embedding}, {role: head}]
//     - {name: others, owns: rest}
//
// A selector takes the parameters that meet all of `layers` (2, 0-3, first 50%, last 1), `role` and `tensor` (a pattern
// on the parameter's name), and of each the part that `heads`, `kv_heads`, `channels`, or `rows` and `cols` name: 0-15,
// 3, 16- (to the end) or 0%-50%; both ends of numbers are inclusive. `heads` and `channels` take rows of the
// projections into them and columns of the one out of them. Every element must end in exactly one block; `rest` takes
// what no other block does.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/diagnostics.h"
#include "routing/blocks.h"
#include "routing/granularity.h"

namespace govtrain {

struct BlockFile {
  // Numbers, both ends inclusive, or thousandths of a percent, the end exclusive.
  struct Range {
    int64_t from = 0;
    std::optional<int64_t> to;  // nothing: to the end
    bool percent = false;
    Position at;
  };
  struct Selector {
    Position at;
    std::optional<Range> layers;
    std::optional<int64_t> first_layers, last_layers;  // a number of layers, or with layer_share a share
    bool layer_share = false;
    std::string role, tensor;  // "": any
    std::optional<Range> heads, kv_heads, channels, rows, cols;
  };
  struct Block {
    std::string name;
    Position at;
    bool rest = false;
    std::vector<Selector> owns;
  };
  std::string name, version;
  Position list_at;
  std::vector<Block> blocks;
  std::string digest;                                        // SHA-256 of the file's bytes, hex
  std::vector<std::pair<std::string, std::string>> sources;  // for Diagnostics::add_source
};

// Reports every problem; gives nothing after an error.
std::optional<BlockFile> parse_block_file(const std::string& file, const std::string& text, Diagnostics& diagnostics);
// As above, from disk; a file that cannot be read is reported at `from`.
std::optional<BlockFile> read_block_file(const std::string& path, const Position& from, Diagnostics& diagnostics);

// The blocks for one model. Reports selectors that select nothing or reach outside, every overlap at the selector that
// comes second, and all gaps.
std::vector<NamedSlices> select_blocks(const BlockFile& file, const std::vector<ParameterInfo>& parameters,
                                       Diagnostics& diagnostics);

}  // namespace govtrain
