// Blocks: named sets of parameter slices, ordered from the input (0) to the output. Every element of every parameter
// belongs to exactly one block. Knows parameters by description only, never by value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace govtrain {

// What routing needs to know about a parameter of the model.
struct ParameterInfo {
  std::string name;  // Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"
  std::string role;  // embedding, attention, mlp, norm, head
  int layer = 0;     // -1 before the first layer (embeddings), 0..L-1, L after the last (final norm, head)
  int64_t rows = 0;
  int64_t cols = 0;
};

// A rectangle of one parameter that belongs to one block.
struct Slice {
  int parameter = 0;  // index into the ParameterInfo list
  int block = 0;
  int64_t row_begin = 0, row_end = 0, col_begin = 0, col_end = 0;
};

struct BlockMap {
  std::vector<std::string> names;  // [B], e.g. embedding, layer.0, ..., head
  std::vector<Slice> slices;

  int blocks() const { return static_cast<int>(names.size()); }
};

// One block for the embeddings ("embedding"), one for each transformer layer ("layer.0", ...), and one for the final
// norm and head ("head"). A tied head belongs to "embedding".
BlockMap blocks_by_layer(const std::vector<ParameterInfo>& parameters);

// Throws Error that lists every gap and overlap unless each element of each parameter is in exactly one slice.
void check_partition(const BlockMap& map, const std::vector<ParameterInfo>& parameters);

}  // namespace govtrain
