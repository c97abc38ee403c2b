// `blocks show|learn`: what each block owns, and blocks formed by what is measured.
#include <fmt/format.h>

#include "core/file.h"
#include "routing/explain.h"
#include "routing/learned_blocks.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/config_args.h"
#include "tools/govtrain/config/blocks_config.h"
#include "tools/govtrain/train/measure_blocks.h"

namespace govtrain {
namespace {

struct LearnArgs {
  std::shared_ptr<ConfigArgs> config;
  std::string out, unit = "head", key = "license", checkpoint;
  int64_t blocks = 4, ranges = 4, examples = 512;
};

int learn(const LearnArgs& args) {
  FileSystem& fs = real_file_system();
  if (fs.exists(args.out)) throw Failure(exit_usage, args.out + " exists; name another file");
  const auto file = read_config(*args.config, true);
  MeasureOptions options;
  options.unit = args.unit;
  options.ranges = args.ranges;
  options.key = args.key;
  options.examples = args.examples;
  options.checkpoint = args.checkpoint;
  LearnedBlocks learned = measure_blocks(fs, file->config, options);
  if (args.blocks > static_cast<int64_t>(learned.units.size())) {
    throw Failure(exit_usage, fmt::format("--blocks: expected at most {}, the number of units, got {}",
                                          learned.units.size(), args.blocks));
  }
  cluster(learned, args.blocks);
  require(write_atomic(fs, args.out, to_text(learned)));
  fmt::print("{} units of kind {}, classes of {}:\n", learned.units.size(), args.unit, args.key);
  for (size_t c = 0; c < learned.classes.size(); ++c) {
    fmt::print("  {:<40} {:>7} examples\n", learned.classes[c], learned.examples[c]);
  }
  for (const LearnedBlocks::Block& block : learned.blocks) {
    fmt::print("  {}: {} units: {}\n", block.name, block.units.size(), join(block.units));
  }
  fmt::print("{} written; use it with blocks: {{by: learned, file: {}}}\n", args.out, args.out);
  return exit_ok;
}

}  // namespace

Verb blocks_show_verb() {
  return {"blocks show", "Print the blocks of a configuration and the elements that each owns",
          "The rows of the embedding are those of the configured vocabulary; a trained one may be smaller.",
          [](CLI::App& app) {
            auto args = add_config_args(app);
            return [args] {
              const auto file = read_config(*args);
              const std::vector<ParameterInfo> infos = planned_parameters(file->config);
              fmt::print("{}", explain_blocks(blocks_of(file->config, infos), infos));
              return static_cast<int>(exit_ok);
            };
          }};
}

Verb blocks_learn_verb() {
  return {"blocks learn", "Measure how classes of documents pull at each part of the model, and group the parts",
          "Runs forward and backward on a fixed sample of the prepared corpus, at initialisation or at a checkpoint; "
          "nothing is trained. Documents that the policy excludes take no part.",
          [](CLI::App& app) {
            auto args = std::make_shared<LearnArgs>();
            args->config = add_config_args(app);
            app.add_option("--out", args->out, "The file to write")->required()->type_name("FILE");
            app.add_option("--unit", args->unit, "What is grouped (default head)")
                ->check(CLI::IsMember({"role", "head", "channels", "tensor"}));
            app.add_option("--ranges", args->ranges, "Ranges per layer for --unit channels (default 4)")
                ->type_name("N")
                ->check(CLI::Range(1, 1 << 20));
            app.add_option("--key", args->key, "Metadata key that names a document's class (default license)")
                ->type_name("KEY");
            app.add_option("--blocks", args->blocks, "Blocks to form (default 4)")
                ->type_name("N")
                ->check(CLI::Range(1, 100000));
            app.add_option("--examples", args->examples, "Examples to measure (default 512)")
                ->type_name("N")
                ->check(CLI::Range(1, 1 << 30));
            app.add_option("--checkpoint", args->checkpoint, "Measure this checkpoint instead of the initial model")
                ->type_name("DIR");
            return [args] { return learn(*args); };
          }};
}

}  // namespace govtrain
