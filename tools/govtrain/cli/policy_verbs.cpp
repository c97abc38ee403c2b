// `policy check|explain|replay`: what a policy means, and whether a run did what it says.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "lineage/reader.h"
#include "routing/check.h"
#include "routing/explain.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/classify/classification_of.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/config_args.h"
#include "tools/govtrain/cli/corpus_view.h"
#include "tools/govtrain/cli/log_args.h"
#include "tools/govtrain/cli/meta_args.h"
#include "tools/govtrain/cli/places.h"
#include "tools/govtrain/config/blocks_config.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/band_replay.h"
#include "tools/govtrain/train/recorded_changes.h"
#include "tools/govtrain/train/run_head.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain {
namespace {

struct PolicyArgs {
  std::shared_ptr<ConfigArgs> config;
  int64_t layers = 4;
  std::string date;
  bool data = false, blocks = false;
  std::string document;
  std::vector<std::string> meta;
};

// A policy file stands for a configuration with that policy and --layers.
std::unique_ptr<RunConfigFile> configuration(const PolicyArgs& args) {
  if (!is_policy_file(args.config->path)) {
    std::vector<std::string> overrides = args.config->overrides;
    if (!args.date.empty()) overrides.push_back("policy.date=" + args.date);
    return read_config({args.config->path, overrides});
  }
  if (args.data || args.blocks || !args.document.empty() || !args.config->overrides.empty())
    throw Failure(exit_usage, fmt::format("{} is a policy; --data, --blocks, --document and overrides need a run "
                                          "configuration",
                                          args.config->path));
  auto file = std::make_unique<RunConfigFile>();
  file->config.policy.file = args.config->path;
  file->config.policy.date = args.date;
  file->config.model.layers = args.layers;
  if (!args.date.empty() && !Date::parse(args.date))
    throw Failure(exit_usage, fmt::format("--date: expected YYYY-MM-DD, got '{}'", args.date));
  return file;
}

// The values of the whole corpus: what the policy excluded is no longer in the dataset, but in a list beside it.
CorpusSummary summary(const CorpusView& corpus) {
  CorpusSummary out;
  const auto add = [&](const Meta& meta) {
    for (const auto& [key, value] : meta) out[key].insert(value);
  };
  for (size_t i = 0; i < corpus.dataset.documents().size(); ++i)
    for (const Meta& meta : corpus.facts(static_cast<int32_t>(i)).provenances) add(meta);
  for (const ExcludedDocument& d : excluded_documents(real_file_system(), corpus.dataset.folder()))
    for (const Meta& meta : facts_of(d.origins, digest_from_hex(d.digest)).provenances) add(meta);
  return out;
}

int check(const PolicyArgs& args) {
  const auto file = configuration(args);
  Diagnostics diagnostics;
  check_classification(file->config, file->loaded.where("policy.classification"), diagnostics);
  std::optional<Policy> policy = Policy::read(file->config.policy.file, diagnostics);
  std::optional<BoundPolicy> bound;
  if (policy) {
    for (const auto& [name, text] : policy->sources()) diagnostics.add_source(name, text);
    bound = BoundPolicy::bind(std::move(*policy), planned_blocks(file->config), diagnostics);
  }
  if (bound) {
    std::optional<CorpusSummary> values;
    if (args.data) values = summary(CorpusView(file->config));
    check_policy(*bound, policy_date(file->config), values ? &*values : nullptr, diagnostics);
  }
  settle(diagnostics, "");
  const Policy& p = bound->policy();
  const auto counted = [](size_t n, const char* one) {
    return fmt::format("{} {}", n, noun(static_cast<int64_t>(n), one));
  };
  fmt::print("{}: {} is valid for {}: {}, {}, {}, {}\n", file->config.policy.file, p.id(),
             counted(static_cast<size_t>(file->config.model.layers), "layer"), counted(p.profiles.size(), "profile"),
             counted(p.rules.size(), "rule"), counted(p.privacy.size(), "privacy class"),
             counted(p.exclusions.size(), "exclusion list"));
  return exit_ok;
}

DocumentFacts facts_from(const std::vector<std::string>& pairs) {
  Meta meta = meta_of(pairs);
  DocumentFacts facts;
  if (auto id = meta.extract("id")) facts.id = id.mapped();
  if (auto digest = meta.extract("digest")) facts.digest = digest.mapped();
  facts.provenances.push_back(std::move(meta));
  return facts;
}

// What each source of the classification claims; a line for each claim of each record.
std::string claims_text(const CorpusView& corpus, int32_t document) {
  if (!corpus.classifier) return "";
  std::string out = fmt::format("classification {}\n", corpus.classifier->classification().id());
  for (const Origin& origin : corpus.dataset.documents()[static_cast<size_t>(document)].origins()) {
    for (const Claim& claim : *origin.claims)
      out += fmt::format("  {} claims {}, score {}\n", claim.by, in_quotes(claim.cls), claim.score);
    if (origin.claims->empty()) out += "  no source claims a class\n";
  }
  return out;
}

int explain(const PolicyArgs& args) {
  const auto file = configuration(args);
  const RunConfig& c = file->config;
  if (args.meta.empty() == args.document.empty() && !args.blocks)
    throw Failure(exit_usage,
                  "expected --meta key=value ..., --document HEX, or --blocks\n  see 'govtrain help policy explain'");
  if (!args.document.empty()) {
    const CorpusView corpus(c);
    const int32_t document = corpus.find(args.document);
    fmt::print("{}{}", claims_text(corpus, document),
               explain_document(corpus.policy, corpus.facts(document), corpus.date));
  } else if (!args.meta.empty()) {
    fmt::print("{}", explain_document(bound_policy(c), facts_from(args.meta), policy_date(c)));
  }
  if (args.blocks) {
    const std::vector<ParameterInfo> infos = planned_parameters(c);
    fmt::print("{}", explain_blocks(blocks_of(c, infos), infos));
  }
  return exit_ok;
}

std::shared_ptr<PolicyArgs> add_policy_args(CLI::App& app) {
  auto args = std::make_shared<PolicyArgs>();
  args->config = add_config_args(app);
  app.get_option("CONFIG")->description("A run configuration, or a policy");
  app.add_option("--layers", args->layers, "Layers of the model, when given a policy only (default 4)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  app.add_option("--date", args->date, "Judge licence windows by this day (default: policy.date, or today)")
      ->type_name("DATE");
  return args;
}

// Whether a policy of the log has one of these sections.
bool has_section(const RecordedChanges& log, const std::vector<std::string>& sections) {
  return std::any_of(log.policies.begin(), log.policies.end(), [&](const RecordedPolicy& policy) {
    const auto text = nlohmann::json::parse(policy.text, nullptr, false);
    return std::any_of(sections.begin(), sections.end(), [&](const auto& s) { return text.contains(s); });
  });
}

int replay(const LogArgs& args) {
  FileSystem& fs = real_file_system();
  const std::string folder = args.folder();
  LogReader log = require(LogReader::open(fs, folder, args.read_key()), exit_unverified);
  const RecordedChanges changes = read_recorded_changes(log);
  const bool bands = has_section(changes, {"entropy"}), adapts = has_section(changes, {"adaptation", "controller"});
  if (!bands && !adapts) {
    throw Failure(exit_usage,
                  "the policy of this log has no section 'entropy', 'adaptation' or 'controller': there is nothing to "
                  "replay");
  }
  const auto count = [](uint64_t n) { return grouped(static_cast<int64_t>(n)); };
  uint64_t problems = 0;
  if (adapts) {
    const std::vector<std::string> found = check_recorded(changes);
    problems += found.size();
    fmt::print("changes    {} of profiles, {} {}\n", count(changes.changes.size()), count(changes.proposals.size()),
               noun(static_cast<int64_t>(changes.proposals.size()), "proposal"));
    for (const std::string& problem : found) fmt::print("problem: {}\n", problem);
  }
  if (bands) {
    const BandReplay r = replay_bands(fs, folder, log);
    problems += r.problem_count;
    fmt::print("steps      {}\n", count(r.steps));
    fmt::print("examples   {} with a surprisal: {} in a band, {} with a weight that the band lowered\n",
               count(r.examples), count(r.banded), count(r.lowered));
    fmt::print("edges      {} {}, from the surprisals of {} {}\n", count(r.edges),
               noun(static_cast<int64_t>(r.edges), "record"), count(r.observed),
               noun(static_cast<int64_t>(r.observed), "example"));
    for (const std::string& problem : r.problems) fmt::print("problem: {}\n", problem);
    if (r.problem_count > r.problems.size())
      fmt::print("... and {} more\n", count(r.problem_count - r.problems.size()));
  }
  std::fflush(stdout);
  if (problems > 0)
    throw Failure(exit_unverified,
                  fmt::format("policy replay FAILED: {} disagreement{}", count(problems), problems == 1 ? "" : "s"));
  if (adapts) fmt::print("policy replay OK: every change and proposal is what its recorded evidence gives\n");
  if (bands)
    fmt::print("policy replay OK: every edge, band, weight and deciding rule is what the recorded surprisals give\n");
  return exit_ok;
}

}  // namespace

Verb policy_check_verb() {
  return {"policy check", "Check a policy: errors, and what is allowed but surely not meant", "", [](CLI::App& app) {
            auto args = add_policy_args(app);
            app.add_flag("--data", args->data, "Also look for patterns that match nothing in the corpus (prepares it)");
            return [args] { return check(*args); };
          }};
}

Verb policy_explain_verb() {
  return {"policy explain", "Say which rules match a document, which weights result, and what each block owns",
          "The document is one of the corpus (--document) or made up (--meta license=MIT --meta source=x).",
          [](CLI::App& app) {
            auto args = add_policy_args(app);
            app.add_option("--meta", args->meta, "A metadata value of a made-up document")
                ->type_name("KEY=VALUE")
                ->allow_extra_args(false);
            app.add_option("--document", args->document,
                           "A document of the corpus, by its digest or the beginning of it")
                ->type_name("HEX");
            app.add_flag("--blocks", args->blocks, "Print the parameters that each block owns");
            return [args] { return explain(*args); };
          }};
}

Verb policy_replay_verb() {
  return {"policy replay", "Recompute the surprisal bands and the changes of profiles of a run from its log",
          "Feeds the recorded surprisals to the bands of the recorded policy: edges, bands, weights and deciding rules "
          "must come out as recorded. Decides every change and proposal of adaptation and controller again from its "
          "recorded evidence. Exit status 4 when anything disagrees. Whether the log itself is whole says "
          "'govtrain lineage verify'.",
          [](CLI::App& app) {
            auto log = add_log_args(app);
            return [log] { return replay(*log); };
          }};
}

}  // namespace govtrain
