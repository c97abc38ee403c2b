// How the parameters of a model are divided into blocks, as a configuration says it. Names and order depend on the
// model's shape alone, never on the size of the vocabulary, so that a policy can be bound before a tokenizer exists.
// Knows parameters by description only; nothing here is measured (that is learned_blocks.h).
//
//   layer      embedding, layer.0, .., head
//   group      embedding, layer.0-2, layer.3-5, .., head
//   position   embedding, one block of the configured name for each share of the layers, head
//   role       embedding, layer.0.norm, layer.0.attention, layer.0.mlp, .., head.norm, head.output
//   head       embedding, layer.0.attention.head.0, .., layer.0.mlp, layer.0.norm, head
//   channels   embedding, layer.0.mlp.channels.0, .., layer.0.attention, layer.0.norm, head
//   tensor     embedding.embed_tokens.weight, layer.0.input_layernorm.weight, ..
//   selectors  the blocks of a file (block_file.h)
//   learned    the blocks of a learned file (learned_blocks.h)
//
// A head owns its rows of q, k and v (and of their biases) and its columns of the output projection. With grouped-query
// attention a key and value head serves several heads: it is a block of its own, layer.0.attention.kv.0. What is left
// of attention or mlp (the bias of the output projection) is layer.0.attention.rest, layer.0.mlp.rest.
//
// Blocks are ordered by their first element: parameters in the model's order, then rows, then columns.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "routing/blocks.h"

namespace govtrain {

struct BlockFile;
struct LearnedBlocks;

enum class Granularity { layer, group, position, role, head, channels, tensor, selectors, learned };

// The words of the configuration, in the order of the enumeration.
const std::vector<std::string>& granularity_names();

// A named share of the layers, in thousandths of a percent.
struct DepthShare {
  std::string name;
  int64_t share = 0;
};

struct BlockSpec {
  Granularity by = Granularity::layer;
  int64_t group_layers = 1;        // group: layers in a group; the last group may have fewer
  int64_t ranges = 4;              // channels: ranges per layer
  std::vector<DepthShare> shares;  // position: from the input to the output
  std::shared_ptr<const BlockFile> file;
  std::shared_ptr<const LearnedBlocks> learned;
  Position at;  // where problems of group_layers, ranges and shares are reported
};

// "shallow 50%". What is wrong goes to `problem`.
std::optional<DepthShare> parse_depth_share(const std::string& text, std::string& problem);

// Reports every problem; the map is a partition of the parameters and is described when there was none.
BlockMap make_blocks(const BlockSpec& spec, const std::vector<ParameterInfo>& parameters, Diagnostics& diagnostics);

// A named set of slices, before it is a block.
struct NamedSlices {
  std::string name;
  std::vector<Slice> slices;
};

// Sorts, numbers and describes. Names are unique, none is without slices.
BlockMap to_block_map(std::vector<NamedSlices> sets, const std::vector<ParameterInfo>& parameters);

// The blocks of a granularity that needs nothing but the model: layer, role, head, channels or tensor.
std::vector<NamedSlices> plain_units(Granularity by, int64_t ranges, const std::vector<ParameterInfo>& parameters);

// Letters, digits, '-', '_' and '.', and no word that selectors of policies use.
bool is_block_name(const std::string& text);

// "embedding", "layer.3" or "head".
std::string place_name(int layer, int layers);

// SHA-256 of names and slices as hex: two maps with the same digest divide the same model in the same way.
std::string block_map_digest(const BlockMap& map, const std::vector<ParameterInfo>& parameters);

}  // namespace govtrain
