// `run`, `validate` and `eval`: training and how good its result is.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>

#include "core/parallel.h"
#include "routing/check.h"
#include "tools/govtrain/base/device.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/classify/classification_of.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/config_args.h"
#include "tools/govtrain/cli/places.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/config/blocks_config.h"
#include "tools/govtrain/config/policy_needs.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/recorded_changes.h"
#include "tools/govtrain/train/resume.h"
#include "tools/govtrain/train/run.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain {
namespace {

// The device and the files that the configuration names, and the policy: into the same list as the problems of the
// configuration itself.
std::optional<BoundPolicy> check_files(RunConfigFile& file) {
  const RunConfig& c = file.config;
  check_computing(file);
  for (const std::string& input : c.data.inputs)
    if (!std::filesystem::exists(input))
      file.diagnostics.error(file.loaded.where("data.inputs"),
                             fmt::format("data.inputs: {} does not exist", in_quotes(input)),
                             "looked for " + std::filesystem::absolute(input).lexically_normal().string());
  if (!c.probe.file.empty() && !std::filesystem::is_regular_file(c.probe.file))
    file.diagnostics.error(file.loaded.where("probe.file"),
                           fmt::format("probe.file: {} is not a file", in_quotes(c.probe.file)),
                           "looked for " + std::filesystem::absolute(c.probe.file).lexically_normal().string());
  check_classification(c, file.loaded.where("policy.classification"), file.diagnostics);
  if (c.policy.file.empty() || file.config.model.layers < 1) return std::nullopt;
  if (!std::filesystem::exists(c.policy.file)) {
    file.diagnostics.error(file.loaded.where("policy.file"),
                           fmt::format("policy.file: {} does not exist", in_quotes(c.policy.file)),
                           "looked for " + std::filesystem::absolute(c.policy.file).lexically_normal().string());
    return std::nullopt;
  }
  std::optional<Policy> policy = Policy::read(c.policy.file, file.diagnostics);
  if (!policy) return std::nullopt;
  for (const auto& [name, text] : policy->sources()) file.diagnostics.add_source(name, text);
  Diagnostics reported;  // by the check of the configuration, with their places
  const std::optional<BlockMap> blocks = planned_blocks(c, reported);
  std::optional<BoundPolicy> bound;
  if (blocks) bound = BoundPolicy::bind(*policy, *blocks, file.diagnostics);
  check_needs(*policy, c, file.diagnostics);
  check_reference(*policy, c, file.loaded.where("policy.reference"), file.diagnostics);
  check_replay(*policy, c, file.loaded.where("adaptation.replay"), file.diagnostics);
  (void)listed_revocations(*policy, c, file.loaded.where("policy.revocations"), file.diagnostics);
  return bound;
}

// Whether the log that would be replayed can be read.
void check_replayed_log(RunConfigFile& file) {
  const std::string& log = file.config.adaptation.replay;
  if (log.empty()) return;
  try {
    (void)read_recorded_changes(real_file_system(), log);
  } catch (const Failure& e) {
    file.diagnostics.error(file.loaded.where("adaptation.replay"), fmt::format("adaptation.replay: {}", e.what()));
  }
}

int validate(const ConfigArgs& args) {
  auto file = read_run_config(args.path, args.overrides);
  check_replayed_log(*file);
  const std::optional<BoundPolicy> policy = check_files(*file);
  const RunConfig& c = file->config;
  if (policy && !file->diagnostics.has_errors()) check_policy(*policy, policy_date(c), nullptr, file->diagnostics);
  settle(file->diagnostics, "");
  const int64_t vocab = c.data.tokenizer.kind == "bytes" ? byte_vocabulary : c.data.tokenizer.vocab_size;
  const TransformerConfig model = model_config(c, vocab);
  for (const std::string& problem : model.problems()) throw Failure(exit_usage, problem);
  const auto parameters = static_cast<uint64_t>(model.parameter_count());
  std::string place = std::filesystem::absolute(c.run.out).lexically_normal().string();
  while (!real_file_system().exists(place)) place = parent_path(place);
  const uint64_t checkpoint = parameters * 4 * (c.optim.kind == "sgd" ? (c.optim.momentum > 0 ? 2 : 1) : 3);
  const uint64_t available = require(free_bytes(place));
  fmt::print("configuration  {}\n", args.path);
  if (policy)
    fmt::print("policy         {}, {} {}\n", policy->policy().id(), policy->policy().rules.size(),
               noun(static_cast<int64_t>(policy->policy().rules.size()), "rule"));
  const int blocks = planned_blocks(c).blocks();
  fmt::print("model          {} parameters, {} {}\n", grouped(static_cast<int64_t>(parameters)), blocks,
             noun(blocks, "block"));
  fmt::print("checkpoint     {}; {} free in {}\n", human_bytes(checkpoint), human_bytes(available), place);
  if (available < checkpoint * static_cast<uint64_t>(c.save.keep_last + 1))
    throw Failure(exit_resource, fmt::format("{} has room for fewer than save.keep_last + 1 = {} checkpoints", place,
                                             c.save.keep_last + 1));
  fmt::print("{} is valid; 'govtrain run {} --dry-run' also prepares the data and measures a step\n", args.path,
             args.path);
  return exit_ok;
}

struct RunArgs {
  bool dry_run = false;
  std::string resume, progress;
};

int run(ConfigArgs config, const RunArgs& args) {
  if (!args.resume.empty()) config.overrides.push_back("run.resume=" + args.resume);
  if (!args.progress.empty()) config.overrides.push_back("log.progress=" + args.progress);
  auto file = read_run_config(config.path, config.overrides);
  (void)check_files(*file);
  settle(file->diagnostics, "Nothing was started.");
  return run_training(file->config, args.dry_run);
}

int eval(const ConfigArgs& args, const std::string& checkpoint) {
  const auto file = read_config(args, true);
  if (file->config.run.threads > 0) set_thread_count(static_cast<int>(file->config.run.threads));
  FileSystem& fs = real_file_system();
  const std::string folder = checkpoint_folder(checkpoint.empty() ? file->config.run.out : checkpoint);
  const TrainerState state = require(load_trainer_state(fs, folder));
  const std::optional<Date> saved = Date::parse(state.policy_date);
  if (!saved) throw Failure(exit_data, folder + ": policy_date is not a date");
  Session session(fs, file->config, *saved, state.parts.value("governance", nlohmann::json()));
  if (!state.dataset_key.empty() && state.dataset_key != session.prepared.key)
    fmt::print(stderr, "warning: {} was trained on other data ({}) than this configuration's ({})\n", folder,
               state.dataset_key, session.prepared.key);
  const auto model = require(load_model(fs, folder, session.backend.allocator()));
  if (model->config().vocab != session.dataset.tokenizer().vocab_size())
    throw Failure(exit_data, fmt::format("{} has a vocabulary of {}, the data has {}", folder, model->config().vocab,
                                         session.dataset.tokenizer().vocab_size()));
  // What was decided while it trained holds where the configuration's policy is the run's.
  if (state.policy_id == session.policy.policy().id() && state.parts.contains("governance")) {
    session.governance->restore(state.parts.at("governance"));
    take_in_outside({folder, state}, session);
  }
  const EvalResult result =
      session.evaluator->run(*model, session.backend, [&](int32_t d) { return session.governance->keep(d); });
  if (result.all.tokens == 0) {
    throw Failure(exit_data, result.kept_out > 0 ? fmt::format("no validation document is left: {} {} kept out",
                                                               result.kept_out, are(result.kept_out))
                                                 : "there are no validation documents");
  }
  std::vector<std::vector<std::string>> rows = {{"source", "tokens", "loss", "perplexity"}};
  for (const auto& source : result.sources)
    rows.push_back({source.name, grouped(source.tokens), fmt::format("{:.4f}", source.loss()),
                    fmt::format("{:.1f}", std::exp(source.loss()))});
  rows.push_back({"all", grouped(result.all.tokens), fmt::format("{:.4f}", result.all.loss()),
                  fmt::format("{:.1f}", std::exp(result.all.loss()))});
  if (session.unigram)
    rows.push_back({"(unigram model)", "", fmt::format("{:.4f}", *session.unigram),
                    fmt::format("{:.1f}", std::exp(*session.unigram))});
  fmt::print("{} at step {}; loss in nats per token of the validation split\n\n{}", folder, state.step, table(rows));
  if (result.kept_out > 0)
    fmt::print("\n{} validation {} {} kept out and {} not looked at\n", grouped(result.kept_out),
               noun(result.kept_out, "document"), are(result.kept_out), result.kept_out == 1 ? "was" : "were");
  return exit_ok;
}

}  // namespace

Verb run_verb() {
  return {
      "run", "Train as a configuration says",
      "The first Ctrl-C or SIGTERM finishes the step and saves a checkpoint to resume from (status 130); the second "
      "stops at once. SIGUSR1, or a file named 'save' in the run folder, saves at the next step.",
      [](CLI::App& app) {
        auto config = add_config_args(app);
        auto args = std::make_shared<RunArgs>();
        app.add_flag("--dry-run", args->dry_run,
                     "Prepare the data, print the plan with memory, disk and time, and stop");
        app.add_option("--resume", args->resume,
                       "never, auto (the newest checkpoint, if there is one), or a checkpoint folder")
            ->type_name("MODE");
        app.add_option("--progress", args->progress, "auto, bar, plain, json or none")->type_name("MODE");
        return [config, args] { return run(*config, *args); };
      }};
}

Verb validate_verb() {
  return {"validate", "Check a configuration, its policy and its files without starting anything",
          "All problems at once; exit status 2.", [](CLI::App& app) {
            auto config = add_config_args(app);
            return [config] { return validate(*config); };
          }};
}

Verb eval_verb() {
  return {"eval", "Print the validation loss of a checkpoint, in all and per source", "", [](CLI::App& app) {
            auto config = add_config_args(app);
            auto checkpoint = std::make_shared<std::string>();
            app.add_option("--checkpoint", *checkpoint,
                           "A checkpoint or run folder; without it the newest checkpoint of run.out")
                ->type_name("DIR");
            return [config, checkpoint] { return eval(*config, *checkpoint); };
          }};
}

}  // namespace govtrain
