// `sample`: text that a checkpoint writes, under the policy of its run.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "tools/govtrain/base/device.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/meta_args.h"
#include "tools/govtrain/cli/places.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/infer.h"
#include "tools/govtrain/train/text_samples.h"

namespace govtrain {
namespace {

struct SampleArgs {
  std::string model, device = "auto";
  std::vector<std::string> prompts = {""};
  int64_t tokens = 100, top_k = 0, seed = 1;
  double temperature = 0.8;
  std::string policy, date;
  std::vector<std::string> meta;
};

std::optional<Inference> inference(const SampleArgs& args, const std::string& folder, const Transformer& model) {
  const std::string run = run_of(real_file_system(), args.model);
  if (!run.empty()) {
    return std::make_optional<Inference>(real_file_system(), run, folder, model,
                                         InferenceOptions{args.policy, args.date, meta_of(args.meta)});
  }
  if (!args.policy.empty() || !args.date.empty() || !args.meta.empty()) {
    throw Failure(exit_usage, fmt::format("{} is not of a run with a log: there is no policy for --policy, --date or "
                                          "--meta; give the run's folder",
                                          args.model));
  }
  fmt::print(stderr, "note: {} is not of a run with a log: no policy was asked, and nothing is logged\n", args.model);
  return std::nullopt;
}

std::string named(const SampleArgs& args, size_t prompt) {
  return args.prompts.size() == 1 ? "the prompt" : fmt::format("prompt {}", prompt + 1);
}

std::string said(const TextVerdict& verdict) {
  return verdict.why.empty() ? verdict.rule : fmt::format("{}: {}", verdict.rule, verdict.why);
}

int sample(const SampleArgs& args) {
  FileSystem& fs = real_file_system();
  const std::string folder = checkpoint_folder(args.model);
  Backend& backend = device_backend(args.device, {"--device"});
  const auto model = require(load_model(fs, folder, backend.allocator()));
  const auto tokenizer = require(load_tokenizer_from(fs, folder));
  if (model->config().vocab != tokenizer->vocab_size())
    throw Failure(exit_data, fmt::format("{}: the model has a vocabulary of {}, the tokenizer of {}", folder,
                                         model->config().vocab, tokenizer->vocab_size()));
  GenerateOptions options;
  options.max_new_tokens = args.tokens;
  options.temperature = args.temperature;
  options.top_k = args.top_k;
  options.seed = static_cast<uint64_t>(args.seed);
  std::optional<Inference> policy = inference(args, folder, *model);
  std::vector<TextVerdict> verdicts(args.prompts.size());
  Judge judge;
  if (policy) {
    judge = [&](size_t j, const std::string& text) {
      verdicts[j] = policy->judge(text);
      return verdicts[j].admitted;
    };
  }
  const auto texts =
      write_text(*model, backend, *tokenizer, args.prompts, options, judge, policy && policy->classifies());
  if (policy) policy->log(texts, verdicts);
  bool first = true, refused = false;
  for (size_t j = 0; j < texts.size(); ++j) {
    const TextSample& text = texts[j];
    refused = refused || text.refused;
    if (!text.refused) {
      fmt::print("{}{}{}\n", first ? "" : "\n", bold(text.prompt, stdout), printable(text.text));
      first = false;
    }
    std::fflush(stdout);
    if (!policy) continue;
    if (text.refused)
      fmt::print(stderr, "refused: policy {} on {} does not admit {}: {}\n", policy->policy_id(), policy->day().text(),
                 named(args, j), said(verdicts[j]));
    else if (text.stopped)
      fmt::print(stderr, "restricted: policy {} on {} does not admit what comes after {} tokens of {}: {}\n",
                 policy->policy_id(), policy->day().text(), grouped(text.tokens), named(args, j), said(verdicts[j]));
    else if (!verdicts[j].known)
      fmt::print(stderr,
                 "note: nothing is known of {}: no rule of policy {} was asked, only lists of excluded texts "
                 "(--meta KEY=VALUE says what it is)\n",
                 named(args, j), policy->policy_id());
  }
  return refused ? exit_refused : exit_ok;
}

void add_policy_args(CLI::App& app, SampleArgs& args) {
  app.add_option("--meta", args.meta, "What is known of the prompts, as metadata of a document (license=MIT)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--policy", args.policy, "A newer version of the run's policy; without it the run's own")
      ->type_name("FILE");
  app.add_option("--date", args.date, "Judge licence windows by this day (default: policy.date, or today)")
      ->type_name("DATE");
}

}  // namespace

Verb sample_verb() {
  return {
      "sample", "Print text that a checkpoint writes, as far as the policy of its run admits it",
      "A prompt is judged like a document of the corpus: one that may teach no block is refused (exit status 6). With "
      "a classification the text is judged as it grows, and ends before what is not admitted. Each answer goes into "
      "the run's log, without the text.",
      [](CLI::App& app) {
        auto args = std::make_shared<SampleArgs>();
        app.add_option("MODEL", args->model, "A checkpoint folder, or a run folder for its newest checkpoint")
            ->required()
            ->type_name("");
        app.add_option("--prompt", args->prompts, "A beginning to continue; may be given several times")
            ->type_name("TEXT")
            ->allow_extra_args(false);
        app.add_option("--tokens", args->tokens, "Tokens to write (default 100)")
            ->type_name("N")
            ->check(CLI::Range(1, 1 << 20));
        app.add_option("--temperature", args->temperature, "0 always takes the most probable token (default 0.8)")
            ->type_name("T")
            ->check(CLI::Range(0.0, 100.0));
        app.add_option("--top-k", args->top_k, "Draw from the k most probable tokens; 0 from all (default)")
            ->type_name("K")
            ->check(CLI::NonNegativeNumber);
        app.add_option("--seed", args->seed, "The same seed writes the same text (default 1)")
            ->type_name("N")
            ->check(CLI::NonNegativeNumber);
        app.add_option("--device", args->device, "auto (default), cpu or cuda")
            ->type_name("DEVICE")
            ->check(CLI::IsMember(device_names()));
        add_policy_args(app, *args);
        return [args] { return sample(*args); };
      }};
}

}  // namespace govtrain
