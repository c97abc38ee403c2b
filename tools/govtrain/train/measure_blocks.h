// Measures how strongly each class of documents pulls at each unit of the model: the matrix that learned blocks are
// formed from (routing/learned_blocks.h). Trains nothing; a pure function of configuration, data and weights.
#pragma once

#include <cstdint>
#include <string>

#include "core/file.h"
#include "routing/learned_blocks.h"
#include "tools/govtrain/config/run_config.h"

namespace govtrain {

struct MeasureOptions {
  std::string unit = "head";  // role, head, channels or tensor
  int64_t ranges = 4;
  std::string key = "license";  // of the document's first provenance; documents without it are not measured
  int64_t examples = 512;       // at most; in the order in which a run with this seed would see them, one epoch at most
  std::string checkpoint;       // empty: the initial model
};

// Without blocks. Throws ConfigError, Error, or Failure when fewer than two classes were met.
LearnedBlocks measure_blocks(FileSystem& fs, const RunConfig& config, const MeasureOptions& options);

}  // namespace govtrain
