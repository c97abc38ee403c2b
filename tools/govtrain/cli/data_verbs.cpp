// `data prepare|inspect|stats`: the corpus as training will see it.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "core/config/diagnostics.h"
#include "routing/reach.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/config_args.h"
#include "tools/govtrain/cli/corpus_view.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/data/report.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

int prepare_corpus(const ConfigArgs& args) {
  const auto file = read_config(args);
  const BoundPolicy policy = bound_policy(file->config);
  const auto classifier = classification_of(file->config);
  const PrepareReport report =
      prepare_data(real_file_system(), file->config, policy, policy_date(file->config), classifier.get());
  fmt::print("{}\n{}\n", describe(report), report.folder);
  return exit_ok;
}

struct InspectArgs {
  std::string document, split = "train";
  uint64_t example = 0;
};

// The example that the arguments mean: its number in its split, and the split.
std::pair<Split, uint64_t> find_example(const CorpusView& corpus, const InspectArgs& args, int context) {
  if (args.document.empty()) return {args.split == "train" ? Split::train : Split::validation, args.example};
  const int32_t document = corpus.find(args.document);
  const Split split = corpus.dataset.documents()[static_cast<size_t>(document)].split;
  const auto examples = examples_of(corpus.dataset, documents_of(corpus.dataset, split), context);
  const auto first =
      std::find_if(examples.begin(), examples.end(), [&](const Example& e) { return e.document == document; });
  return {split, static_cast<uint64_t>(first - examples.begin()) + args.example};
}

int inspect(const ConfigArgs& config, const InspectArgs& args) {
  const auto file = read_config(config);
  const CorpusView corpus(file->config);
  const auto context = static_cast<int>(file->config.data.context);
  const auto [split, index] = find_example(corpus, args, context);
  const auto examples = examples_of(corpus.dataset, documents_of(corpus.dataset, split), context);
  if (index >= examples.size())
    throw Failure(exit_usage, fmt::format("there is no {} example {}; the split has {}", split_name(split), index,
                                          examples.size()));
  const DocumentReach reach = reach_of(corpus.policy, corpus.facts(examples[index].document), corpus.date);
  const Decision& decision = reach.start;
  const std::vector<TableEntry> rules = corpus.policy.policy().table();
  std::vector<std::vector<std::string>> rows = {{"block", "weight", "decided by"}};
  for (size_t b = 0; b < decision.weights.size(); ++b)
    rows.push_back({corpus.policy.blocks()[b], fmt::format("{}", decision.weights[b]),
                    rules[static_cast<size_t>(decision.rule[b])].name});
  fmt::print("profile     {}{}\n{}\n{}", decision.profile,
             reach.ends.empty() ? "" : " at the start ('govtrain policy explain' says what it comes to)", table(rows),
             inspect_example(corpus.dataset, split, index, context));
  return exit_ok;
}

int stats(const ConfigArgs& config, const std::vector<std::string>& keys) {
  const auto file = read_config(config);
  const CorpusView corpus(file->config);
  struct Count {
    int64_t train = 0, validation = 0, tokens = 0;
  };
  std::map<std::vector<std::string>, Count> groups;
  Count all;
  for (size_t i = 0; i < corpus.dataset.documents().size(); ++i) {
    const auto document = static_cast<int32_t>(i);
    std::vector<std::string> name;
    for (const std::string& key : keys) name.push_back(corpus.value(document, key));
    name.push_back(corpus.policy.resolve(corpus.facts(document), corpus.date).profile);
    const DatasetDocument& d = corpus.dataset.documents()[i];
    for (Count* count : {&groups[name], &all}) {
      (d.split == Split::train ? count->train : count->validation) += 1;
      count->tokens += static_cast<int64_t>(d.tokens);
    }
  }
  std::vector<std::vector<std::string>> rows = {keys};
  for (const char* head : {"profile", "train", "validation", "tokens", "share"}) rows[0].emplace_back(head);
  const auto add = [&](std::vector<std::string> row, const Count& c) {
    row.insert(row.end(), {grouped(c.train), grouped(c.validation), grouped(c.tokens),
                           fmt::format("{:.1f}%", 100.0 * static_cast<double>(c.tokens) /
                                                      static_cast<double>(std::max<int64_t>(1, all.tokens)))});
    rows.push_back(std::move(row));
  };
  for (const auto& [name, count] : groups) add(name, count);
  std::vector<std::string> last(keys.size() + 1);
  last[0] = "all";
  add(last, all);
  fmt::print("{}\nby {} and profile\n{}", data_stats(corpus.dataset), join(keys), table(rows));
  return exit_ok;
}

}  // namespace

Verb data_prepare_verb() {
  return {"data prepare", "Clean, deduplicate, split and tokenise the corpus of a configuration",
          "What the policy excludes leaves no trace in the result. Prints where it lies; a second call finds it there.",
          [](CLI::App& app) {
            auto config = add_config_args(app);
            return [config] { return prepare_corpus(*config); };
          }};
}

Verb data_inspect_verb() {
  return {"data inspect", "Print one example: provenance, profile, deciding rules, tokens and targets", "",
          [](CLI::App& app) {
            auto config = add_config_args(app);
            auto args = std::make_shared<InspectArgs>();
            app.add_option("--document", args->document,
                           "An example of the document with this digest, or its beginning")
                ->type_name("HEX");
            app.add_option("--example", args->example, "Its number, in the document or in the split (default 0)")
                ->type_name("N");
            app.add_option("--split", args->split, "train (default) or validation")
                ->type_name("SPLIT")
                ->check(CLI::IsMember({"train", "validation"}));
            return [config, args] { return inspect(*config, *args); };
          }};
}

Verb data_stats_verb() {
  return {
      "data stats", "Count documents and tokens by split, package, licence, class and profile", "", [](CLI::App& app) {
        auto config = add_config_args(app);
        auto keys = std::make_shared<std::vector<std::string>>(std::vector<std::string>{"package", "license"});
        app.add_option("--by", *keys, "Metadata keys of the last table, separated by commas (default package,license)")
            ->type_name("KEYS")
            ->delimiter(',')
            ->allow_extra_args(false);
        return [config, keys] { return stats(*config, *keys); };
      }};
}

}  // namespace govtrain
