// Recomputes what the surprisal bands of a run decided, from its log alone: the edges from the recorded surprisals (by
// the same routing/bands.h), the bands from the edges, the profiles from the bands, the weights from the profiles, and
// compares each with what was recorded. Cannot recompute the surprisals themselves: that needs the model. Reads only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/reader.h"

namespace govtrain {

struct BandReplay {
  uint64_t steps = 0;
  uint64_t examples = 0;  // with a surprisal
  uint64_t banded = 0;    // of these, with a band
  uint64_t lowered = 0;   // of these, with a weight that the band lowered
  uint64_t observed = 0;  // of the examples, those that may move the edges
  uint64_t edges = 0;     // records of edges compared
  uint64_t problem_count = 0;
  std::vector<std::string> problems;  // the first 20
};

// `folder` is the log's. Throws Failure when the log cannot be read or its policy has no bands.
BandReplay replay_bands(FileSystem& fs, const std::string& folder, LogReader& log);

}  // namespace govtrain
