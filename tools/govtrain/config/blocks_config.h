// From the section `blocks:` of a configuration to the blocks of its model. What needs no tokenizer is known here:
// names, order and layers are final; the rows of the embedding are those of the configured vocabulary until a tokenizer
// exists.
#pragma once

#include <optional>
#include <vector>

#include "routing/granularity.h"
#include "tools/govtrain/config/run_config.h"

namespace govtrain {

// Reads the file that blocks.file names. Problems of keys stand at `loaded`'s positions, or at the key's name without.
// Gives nothing after an error.
std::optional<BlockSpec> block_spec(const RunConfig& config, const LoadedConfig* loaded, Diagnostics& diagnostics);

// The parameters of the configured model. Throws Error when there can be no such model.
std::vector<ParameterInfo> planned_parameters(const RunConfig& config);

// The blocks of the configured model. Granularity `layer` needs model.layers only. Gives nothing after an error, or
// when there can be no such model; without `diagnostics` throws ConfigError or Error.
std::optional<BlockMap> planned_blocks(const RunConfig& config, Diagnostics& diagnostics);
BlockMap planned_blocks(const RunConfig& config);

// The blocks of these parameters, with the same names as planned_blocks; throws ConfigError.
BlockMap blocks_of(const RunConfig& config, const std::vector<ParameterInfo>& parameters);

// Part of check(): reports what cannot work, and keys that the granularity does not use.
void check_blocks(const RunConfig& config, const LoadedConfig& loaded, Diagnostics& diagnostics);

}  // namespace govtrain
