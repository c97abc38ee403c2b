// Blocks: named sets of parameter slices, ordered from the input (0) to the output. Every element of every parameter
// belongs to exactly one block. Knows parameters by description only, never by value. How blocks are formed from a
// configuration is routing/granularity.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace govtrain {

// How a parameter divides into equal parts, one for each attention head or hidden channel of its layer, in order.
struct Division {
  enum class Axis { none, rows, cols };
  Axis axis = Axis::none;  // none: norms, embeddings, biases of output projections
  int64_t parts = 0;       // heads, heads of keys and values, or hidden channels
};

// What routing needs to know about a parameter of the model.
struct ParameterInfo {
  std::string name;  // Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"
  std::string role;  // embedding, attention, mlp, norm, head
  int layer = 0;     // -1 before the first layer (embeddings), 0..L-1, L after the last (final norm, head)
  int64_t rows = 0;
  int64_t cols = 0;
  Division division = {};
};

// A rectangle of one parameter that belongs to one block.
struct Slice {
  int parameter = 0;  // index into the ParameterInfo list
  int block = 0;
  int64_t row_begin = 0, row_end = 0, col_begin = 0, col_end = 0;

  int64_t elements() const { return (row_end - row_begin) * (col_end - col_begin); }
};

// Where a block lies, from its slices.
struct BlockInfo {
  int layer_first = 0, layer_last = -1;  // as ParameterInfo::layer; first > last: the block has no elements
  std::vector<int> places;               // every ParameterInfo::layer in which it has elements, ascending
  std::vector<std::string> roles;        // of its elements, sorted
  int64_t elements = 0;

  bool empty() const { return layer_first > layer_last; }
  // The one role of all elements; "" when there are several.
  std::string role() const { return roles.size() == 1 ? roles.front() : ""; }
};

struct BlockMap {
  std::vector<std::string> names;  // [B], e.g. embedding, layer.0, ..., head
  std::vector<Slice> slices;
  std::vector<BlockInfo> info = {};  // [B], made by describe_blocks
  int layers = 0;                    // L of the model, made by describe_blocks

  int blocks() const { return static_cast<int>(names.size()); }
};

// Layers of a model: the largest layer + 1, without the place of the final norm and head.
int layer_count(const std::vector<ParameterInfo>& parameters);

// Fills in `info` and `layers`. Throws Error on slices of parameters or blocks that do not exist.
void describe_blocks(BlockMap& map, const std::vector<ParameterInfo>& parameters);

// One block for the embeddings ("embedding"), one for each transformer layer ("layer.0", ...), and one for the final
// norm and head ("head"). A tied head belongs to "embedding".
BlockMap blocks_by_layer(const std::vector<ParameterInfo>& parameters);

// The areas of a parameter that no slice covers, and those that several cover, as rectangles merged where they can be.
// `slices` lie inside the parameter; `block` of an overlap is that of the slice that comes later in the list, and
// `earlier` that of the slice that has the area already.
struct Cover {
  struct Overlap {
    Slice area;
    int earlier = 0;
  };
  std::vector<Slice> gaps;
  std::vector<Overlap> overlaps;
};
Cover cover_of(const ParameterInfo& parameter, int index, const std::vector<Slice>& slices);

// Joins slices of the same block and parameter that lie side by side, and sorts by parameter, row and column.
void merge_slices(std::vector<Slice>& slices);

// "rows 0-15, columns 8-31", "all rows, columns 8-31" or "all of it", both ends inclusive.
std::string area_text(const ParameterInfo& parameter, const Slice& area);

// Throws Error that lists every gap and overlap unless each element of each parameter is in exactly one slice.
void check_partition(const BlockMap& map, const std::vector<ParameterInfo>& parameters);

// The block that owns the whole rectangle (`area.block` is ignored), or a whole parameter; -1 when several share it.
int owner(const BlockMap& map, const Slice& area);
int owner(const BlockMap& map, const std::vector<ParameterInfo>& parameters, int parameter);

// What belongs to attention head `head` of a layer: its part of the queries and of the output projection, and of keys
// and values unless grouped-query attention shares them. Empty when there is no such head.
std::vector<Slice> head_slices(const std::vector<ParameterInfo>& parameters, int layer, int64_t head);
// The block that owns all of it; -1 when several share it.
int head_owner(const BlockMap& map, const std::vector<ParameterInfo>& parameters, int layer, int64_t head);

// True when no two blocks have a layer in common or enclose one another: every block is an interval of depth.
// REQUIRES: describe_blocks.
bool contiguous_in_depth(const BlockMap& map);

// The part [begin, end) of a parameter along its division. REQUIRES: an axis, begin <= end <= parts.
Slice part_of(const std::vector<ParameterInfo>& parameters, int parameter, int64_t begin, int64_t end);

}  // namespace govtrain
