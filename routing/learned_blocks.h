// Learned grouping: blocks formed by a measured function. A unit (a head, a range of channels, a tensor) is described
// by how strongly each class of documents pulls at it; units that the same classes pull at become one block. This is
// the measured matrix, its clustering, and the versioned file that keeps both; measuring is the program's.
//
// Definition. m[u,c] is the root mean square, over the sampled examples of class c, of the L2 norm of the example's
// gradient in unit u. With l = log m, the profile of a unit is l[u,c] - mean_c l[u,.] - mean_u l[.,c] + mean l: what is
// left when the size of the unit and the strength of the class are taken out. The similarity of two units is the cosine
// of their profiles. Clusters are merged by the largest mean similarity between their members (agglomerative, average
// linkage; Sokal and Michener 1958) until the asked number is left. Of equal similarities the pair with the smallest
// indices is merged, so the result is a function of the matrix alone.
//
// Embedding and head stay blocks of their own: only units inside of layers are grouped.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/diagnostics.h"
#include "routing/granularity.h"

namespace govtrain {

inline const std::string learned_format = "govtrain-learned-blocks";
inline constexpr int learned_version = 1;

struct LearnedBlocks {
  // What was measured.
  Granularity unit = Granularity::head;     // role, head, channels or tensor
  int64_t ranges = 0;                       // of channels
  std::string key;                          // metadata key that names the class
  std::vector<std::string> classes;         // [C], sorted
  std::vector<int64_t> examples;            // [C] measured
  std::string data_sha256;                  // the prepared data
  std::string model;                        // "initial" or the SHA-256 of the checkpoint's weights
  std::string config_sha256;                // the training configuration
  std::vector<std::string> units;           // [U], in block order
  std::vector<std::vector<double>> matrix;  // [U][C]: m above
  // What followed from it.
  struct Block {
    std::string name;
    std::vector<std::string> units;
  };
  std::vector<Block> blocks;  // learned.0, .., by their first unit
  // Of a file that was read.
  std::string digest;  // SHA-256 of its bytes, hex
  Position at;
  std::vector<std::pair<std::string, std::string>> sources;
};

// Fills in `blocks` from `matrix`. Throws Error unless 1 <= count <= units, with at least two classes.
void cluster(LearnedBlocks& learned, int64_t count);

// The units of a model that take part: those that lie in layers.
std::vector<NamedSlices> learnable_units(Granularity unit, int64_t ranges,
                                         const std::vector<ParameterInfo>& parameters);

// The file's text: one line of JSON per member, numbers as the shortest text that reads back to the same value.
std::string to_text(const LearnedBlocks& learned);
// Reports every problem, blocks that do not follow from the matrix included; gives nothing after an error.
std::optional<LearnedBlocks> parse_learned(const std::string& file, const std::string& text, Diagnostics& diagnostics);
std::optional<LearnedBlocks> read_learned(const std::string& path, const Position& from, Diagnostics& diagnostics);

// The blocks for one model; reports units that the model or the file lacks.
std::vector<NamedSlices> learned_sets(const LearnedBlocks& learned, const std::vector<ParameterInfo>& parameters,
                                      Diagnostics& diagnostics);

}  // namespace govtrain
