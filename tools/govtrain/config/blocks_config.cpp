#include "tools/govtrain/config/blocks_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "models/transformer.h"
#include "routing/block_file.h"
#include "routing/learned_blocks.h"
#include "tools/govtrain/data/tokenizer.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain {
namespace {

Granularity granularity(const RunConfig& config) {
  const auto& names = granularity_names();
  const auto found = std::find(names.begin(), names.end(), config.blocks.by);
  return static_cast<Granularity>((found == names.end() ? names.begin() : found) - names.begin());
}

// Enough to bind a policy when only the number of layers is known.
std::vector<ParameterInfo> layers_only(int64_t layers) {
  std::vector<ParameterInfo> infos = {{"embedding", "embedding", -1, 1, 1}};
  for (int i = 0; i < static_cast<int>(layers); ++i) {
    for (const char* role : {"norm", "attention", "mlp"})
      infos.push_back({fmt::format("{}.{}", role, i), role, i, 1, 1});
  }
  infos.push_back({"norm", "norm", static_cast<int>(layers), 1, 1});
  infos.push_back({"head", "head", static_cast<int>(layers), 1, 1});
  return infos;
}

// When not, the check of the section `model` says why.
bool can_be_built(const RunConfig& config) {
  if (config.model.layers < 1 || config.model.width < 1 || config.model.heads < 1) return false;
  return model_config(config, 2).problems().empty();
}

}  // namespace

std::optional<BlockSpec> block_spec(const RunConfig& config, const LoadedConfig* loaded, Diagnostics& diagnostics) {
  const auto& b = config.blocks;
  const auto at = [&](const char* key) { return loaded != nullptr ? loaded->where(key) : Position{key, 0, 0, 1}; };
  const int errors = diagnostics.errors();
  BlockSpec spec;
  spec.by = granularity(config);
  spec.group_layers = b.group_layers;
  spec.ranges = b.ranges;
  const bool reads = spec.by == Granularity::selectors || spec.by == Granularity::learned;
  if (reads && b.file.empty()) {
    diagnostics.error(at("blocks.by"), fmt::format("blocks.by {} needs blocks.file", b.by),
                      spec.by == Granularity::learned ? "'govtrain blocks learn' makes one"
                                                      : "a list of named blocks; see docs/granularity.md");
  } else if (spec.by == Granularity::selectors) {
    if (auto file = read_block_file(b.file, at("blocks.file"), diagnostics)) {
      spec.file = std::make_shared<BlockFile>(std::move(*file));
    }
  } else if (spec.by == Granularity::learned) {
    if (auto file = read_learned(b.file, at("blocks.file"), diagnostics)) {
      spec.learned = std::make_shared<LearnedBlocks>(std::move(*file));
    }
  } else if (spec.by == Granularity::position) {
    spec.at = at("blocks.shares");
    for (const std::string& text : b.shares) {
      std::string problem;
      const auto share = parse_depth_share(text, problem);
      if (!share) diagnostics.error(spec.at, "blocks.shares: " + problem);
      for (const DepthShare& other : spec.shares) {
        if (share && share->name == other.name) {
          diagnostics.error(spec.at, fmt::format("blocks.shares: a second share named {}", in_quotes(other.name)));
        }
      }
      if (share) spec.shares.push_back(*share);
    }
    if (b.shares.empty()) {
      diagnostics.error(spec.at, "blocks.by position needs blocks.shares", "for example [shallow 50%, deep 50%]");
    }
  } else if (spec.by == Granularity::channels) {
    spec.at = at("blocks.ranges");
  }
  if (diagnostics.errors() > errors) return {};
  return spec;
}

namespace {

TransformerConfig planned_model(const RunConfig& config) {
  const int64_t vocab = config.data.tokenizer.kind == "bytes" ? byte_vocabulary : config.data.tokenizer.vocab_size;
  return model_config(config, vocab);
}

}  // namespace

std::vector<ParameterInfo> planned_parameters(const RunConfig& config) {
  return Transformer::parameter_infos(planned_model(config));
}

namespace {

std::optional<BlockMap> blocks_of(const RunConfig& config, const std::vector<ParameterInfo>& parameters,
                                  Diagnostics& diagnostics) {
  const std::optional<BlockSpec> spec = block_spec(config, nullptr, diagnostics);
  if (!spec) return {};
  BlockMap map = make_blocks(*spec, parameters, diagnostics);
  if (diagnostics.has_errors()) return {};
  return map;
}

}  // namespace

BlockMap blocks_of(const RunConfig& config, const std::vector<ParameterInfo>& parameters) {
  Diagnostics diagnostics;
  std::optional<BlockMap> map = blocks_of(config, parameters, diagnostics);
  if (!map) throw ConfigError(diagnostics);
  return std::move(*map);
}

std::optional<BlockMap> planned_blocks(const RunConfig& config, Diagnostics& diagnostics) {
  if (granularity(config) == Granularity::layer) return blocks_by_layer(layers_only(config.model.layers));
  if (!can_be_built(config)) return {};
  return blocks_of(config, planned_parameters(config), diagnostics);
}

BlockMap planned_blocks(const RunConfig& config) {
  Diagnostics diagnostics;
  std::optional<BlockMap> map = planned_blocks(config, diagnostics);
  if (!map && !diagnostics.has_errors()) throw Error("blocks", "there can be no such model");
  if (!map) throw ConfigError(diagnostics);
  return std::move(*map);
}

void check_blocks(const RunConfig& config, const LoadedConfig& loaded, Diagnostics& diagnostics) {
  const auto& b = config.blocks;
  const auto defaults = RunConfig().blocks;  // a configuration that is written out whole gives them, too
  const auto belongs = [&](const std::string& key, bool changed, const std::vector<std::string>& by) {
    if (!changed || std::find(by.begin(), by.end(), b.by) != by.end()) return;
    diagnostics.error(loaded.where(key),
                      fmt::format("{} belongs to blocks.by {}; blocks.by is {}", key, join(by, " or "), b.by));
  };
  belongs("blocks.group_layers", b.group_layers != defaults.group_layers, {"group"});
  belongs("blocks.ranges", b.ranges != defaults.ranges, {"channels"});
  belongs("blocks.shares", b.shares != defaults.shares, {"position"});
  belongs("blocks.file", b.file != defaults.file, {"selectors", "learned"});
  const std::optional<BlockSpec> spec = block_spec(config, &loaded, diagnostics);
  if (!spec || diagnostics.has_errors() || !can_be_built(config)) return;
  const BlockMap map = make_blocks(*spec, planned_parameters(config), diagnostics);
  if (diagnostics.has_errors()) return;
  try {
    Transformer::check_techniques(planned_model(config), map, parse_techniques(config.routing.technique));
  } catch (const Error& e) {
    const char* const key = loaded.given.count("routing.technique") != 0 ? "routing.technique" : "blocks.by";
    std::istringstream lines(e.what());  // a heading, then a problem on each line
    std::string problem;
    std::getline(lines, problem);
    while (std::getline(lines, problem)) {
      diagnostics.error(loaded.where(key), "routing.technique" + problem.replace(0, 2, ": "),
                        "every technique serves the blocks of layers (blocks.by: layer); scale serves all");
    }
  }
}

}  // namespace govtrain
