// A random division of a model into blocks, by every granularity there is. Pure functions of the random stream.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "models/transformer.h"
#include "routing/block_file.h"
#include "routing/granularity.h"
#include "routing/learned_blocks.h"

namespace govtrain::test {

inline constexpr int block_kinds = 10;  // rectangles, and one for each Granularity

inline std::string kind_name(int kind) {
  return kind == 0 ? "rectangles" : granularity_names()[static_cast<size_t>(kind - 1)];
}

// Cuts each parameter into up to four rectangles and gives them to random blocks.
template <class Random>
BlockMap random_rectangles(Random& r, const std::vector<ParameterInfo>& infos) {
  BlockMap map;
  const int blocks = r.between(1, 5);
  for (int b = 0; b < blocks; ++b) map.names.push_back("block." + std::to_string(b));
  for (size_t i = 0; i < infos.size(); ++i) {
    const int64_t row = r.between(0, static_cast<int>(infos[i].rows) - 1);
    const int64_t col = r.between(0, static_cast<int>(infos[i].cols) - 1);
    for (const auto& [r0, r1] : {std::pair<int64_t, int64_t>{0, row}, {row, infos[i].rows}}) {
      for (const auto& [c0, c1] : {std::pair<int64_t, int64_t>{0, col}, {col, infos[i].cols}}) {
        if (r0 < r1 && c0 < c1) map.slices.push_back({static_cast<int>(i), r.below(blocks), r0, r1, c0, c1});
      }
    }
  }
  return map;
}

// One head and one channel of every layer, halves of the vocabulary, and the rest.
inline std::string selector_text(const TransformerConfig& c) {
  const std::string words = c.is_gpt2() ? "transformer.wte.weight" : "model.embed_tokens.weight";
  const auto block = [](const std::string& name, const std::string& owns) {
    return "  - {name: " + name + ", owns: " + owns + "}\n";
  };
  return "blocks: t\nversion: 1\nlist:\n" + block("words-a", "{tensor: " + words + ", rows: 0%-50%}") +
         block("words-b", "{tensor: " + words + ", rows: 50%-100%}") + block("left", "[{heads: 0}, {channels: 0}]") +
         block("others", "rest");
}

template <class Random>
BlockMap blocks_of_kind(int kind, Random& r, const TransformerConfig& config, const std::vector<ParameterInfo>& infos) {
  if (kind == 0) return random_rectangles(r, infos);
  const TransformerConfig c = config.resolved();
  BlockSpec spec;
  spec.by = static_cast<Granularity>(kind - 1);
  spec.group_layers = r.between(1, 2);
  spec.ranges = r.between(1, 3);
  spec.shares = c.layers == 1 ? std::vector<DepthShare>{{"whole", 100'000}}
                              : std::vector<DepthShare>{{"shallow", 50'000}, {"deep", 50'000}};
  Diagnostics diagnostics;
  if (spec.by == Granularity::selectors) {
    if (auto file = parse_block_file("blocks.yaml", selector_text(c), diagnostics))
      spec.file = std::make_shared<BlockFile>(*file);
  }
  if (spec.by == Granularity::learned) {
    LearnedBlocks l;
    l.unit = r.coin() ? Granularity::head : Granularity::tensor;
    l.classes = {"a", "b", "c"};
    l.examples = {1, 1, 1};
    std::mt19937_64 engine(static_cast<uint64_t>(r.below(1000)));
    for (const std::string& name : to_block_map(learnable_units(l.unit, 0, infos), infos).names) {
      l.units.push_back(name);
      l.matrix.push_back({1.0 + static_cast<double>(engine() % 100), 1.0 + static_cast<double>(engine() % 100), 3.0});
    }
    cluster(l, r.between(1, 3));
    spec.learned = std::make_shared<LearnedBlocks>(l);
  }
  BlockMap map;
  if (!diagnostics.has_errors()) map = make_blocks(spec, infos, diagnostics);
  if (diagnostics.has_errors()) throw Error("test", "{}", diagnostics.render());
  return map;
}

}  // namespace govtrain::test
