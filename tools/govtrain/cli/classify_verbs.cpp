// `classify train|show|explain`: what each source of a classification says of the corpus, and a classifier made from
// it.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/config/diagnostics.h"
#include "core/error.h"
#include "core/parallel.h"
#include "routing/explain.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/classify/train.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/config_args.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/data/input.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {
namespace {

// A record of the corpus as it is classified: excluded ones too.
struct Classified {
  nlohmann::json meta;
  std::string text;
  Digest digest;
  std::vector<Claim> claims;
};

std::unique_ptr<DocumentClassifier> classifier_of(const RunConfig& config) {
  auto out = classification_of(config);
  if (!out) throw Failure(exit_usage, "policy.classification is empty: there is nothing to show");
  return out;
}

std::vector<Classified> classify(const RunConfig& config, DocumentClassifier& classifier) {
  std::vector<Classified> out;
  try {
    for (Record& record : read_inputs(config.data.inputs)) out.push_back({std::move(record.meta), record.text, {}, {}});
    const CleaningOptions cleaning = prepare_options(config).cleaning;
    parallel_for(static_cast<int64_t>(out.size()), [&](int64_t i) {
      Classified& c = out[static_cast<size_t>(i)];
      c.text = clean(c.text, cleaning);
      c.digest = sha256(c.text);
      c.claims = classifier.claims(c.meta, c.digest, c.text);
    });
    classifier.check();
  } catch (const Error& e) {
    throw Failure(exit_data, e.what());
  }
  return out;
}

std::string source_of(const Claim& claim) { return claim.by.substr(0, claim.by.find('/')); }

std::string said(const std::vector<Claim>& claims) {
  std::vector<std::string> parts;
  for (const Claim& c : claims)
    parts.push_back(c.score < 1 ? fmt::format("{} {} {}", c.by, c.cls, c.score) : c.by + " " + c.cls);
  return join(parts, "; ");
}

int show(const ConfigArgs& args) {
  const auto file = read_config(args);
  const auto classifier = classifier_of(file->config);
  const Classification& classification = classifier->classification();
  const std::vector<Classified> records = classify(file->config, *classifier);
  const Exclude exclude = exclude_by(bound_policy(file->config), policy_date(file->config));

  std::map<std::string, std::map<std::string, int64_t>> by_source;  // source -> class -> records
  std::map<std::string, std::pair<int64_t, int64_t>> by_class;      // claimed classes -> records, excluded
  std::vector<std::string> disagreements;
  for (const Classified& record : records) {
    std::map<std::string, std::set<std::string>> once;
    for (const Claim& claim : record.claims) once[source_of(claim)].insert(claim.cls);
    for (const auto& [source, classes] : once)
      for (const std::string& cls : classes) ++by_source[source][cls];
    const std::vector<Origin> origin = {{record.meta, record.claims}};
    auto& [count, excluded] = by_class[class_summary(origin).cls];
    ++count;
    excluded += exclude(origin, record.digest) ? 1 : 0;
    if (claimed_classes(record.claims).size() > 1)
      disagreements.push_back(fmt::format("  {:.12}  {}", hex(record.digest), said(record.claims)));
  }
  fmt::print("classification {}: {} {}\n\n", classification.id(), records.size(),
             noun(static_cast<int64_t>(records.size()), "record"));
  std::vector<std::vector<std::string>> rows = {{"class"}};
  for (const ClassSource& source : classification.sources) rows[0].push_back(source.name);
  for (const std::string& cls : classification.classes) {
    rows.push_back({cls});
    for (const ClassSource& source : classification.sources)
      rows.back().push_back(grouped(by_source[source.name][cls]));
  }
  fmt::print("{}\n", table(rows));
  rows = {{"what is claimed", "records", "excluded by the policy"}};
  for (const auto& [cls, counts] : by_class)
    rows.push_back({cls.empty() ? "(nothing)" : cls, grouped(counts.first), grouped(counts.second)});
  fmt::print("{}", table(rows));
  constexpr size_t most = 20;
  if (!disagreements.empty())
    fmt::print("\n{} {} of several classes\n", disagreements.size(),
               noun(static_cast<int64_t>(disagreements.size()), "record"));
  for (size_t i = 0; i < std::min(most, disagreements.size()); ++i) fmt::print("{}\n", disagreements[i]);
  if (disagreements.size() > most) fmt::print("  ... and {} more\n", disagreements.size() - most);
  for (const std::string& note : classifier->notes()) fmt::print("note: {}\n", note);
  return exit_ok;
}

int explain(const ConfigArgs& args, const std::string& document) {
  const auto file = read_config(args);
  const auto classifier = classifier_of(file->config);
  const std::string wanted = document.starts_with("sha256:") ? document.substr(7) : document;
  const std::vector<Classified> records = classify(file->config, *classifier);
  std::set<Digest> found;
  for (const Classified& record : records) {
    if (hex(record.digest).starts_with(wanted)) found.insert(record.digest);
  }
  if (found.size() != 1) {
    throw Failure(exit_usage, found.empty()
                                  ? fmt::format("no record's digest begins with '{}'", wanted)
                                  : fmt::format("{} digests begin with '{}'; give more digits", found.size(), wanted));
  }
  fmt::print("classification {}\ndocument {}\n", classifier->classification().id(), hex(*found.begin()));
  std::vector<Origin> origins;
  for (const Classified& record : records) {
    if (record.digest != *found.begin()) continue;
    origins.push_back({record.meta, record.claims});
    fmt::print("record {}\n", record.meta.dump());
    std::vector<std::vector<std::string>> rows = {{"  source", "says", "counts as"}};
    for (const Finding& f :
         classifier->classification().findings(policy_meta(record.meta), hex(record.digest), record.text))
      rows.push_back({"  " + f.by, f.text, f.claim ? f.claim->cls : "-"});
    fmt::print("{}", table(rows));
  }
  const ClassSummary summary = class_summary(origins);
  fmt::print("classes {}{}\n\n", summary.cls.empty() ? "(none: the rules decide without one)" : summary.cls,
             summary.score ? fmt::format(", lowest score {}", *summary.score) : "");
  fmt::print(
      "{}", explain_document(bound_policy(file->config), facts_of(origins, *found.begin()), policy_date(file->config)));
  return exit_ok;
}

struct TrainArgs {
  std::shared_ptr<ConfigArgs> config;
  std::string out;
  ClassifierOptions options;
  int64_t seed = 1;
};

std::string share(int64_t part, int64_t whole) {
  return whole == 0 ? "-" : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

int train(TrainArgs& args) {
  FileSystem& fs = real_file_system();
  if (fs.exists(args.out)) throw Failure(exit_usage, args.out + " exists; name another file");
  const auto file = read_config(*args.config, true);
  if (file->config.run.threads > 0) set_thread_count(static_cast<int>(file->config.run.threads));
  if (args.options.ngrams.shortest > args.options.ngrams.longest)
    throw Failure(exit_usage, fmt::format("--shortest {} is greater than --longest {}", args.options.ngrams.shortest,
                                          args.options.ngrams.longest));
  args.options.seed = static_cast<uint64_t>(args.seed);
  ClassifierTraining t;
  try {
    t = train_classifier(file->config, args.options);
  } catch (const Error& e) {
    throw Failure(exit_data, e.what());
  }
  require(write_classifier(fs, args.out, t.file));
  int64_t trained = 0;
  std::vector<std::vector<std::string>> rows = {{"class", "trained on", "held out", "right"}};
  for (const auto& [cls, count] : t.trained_on) {
    trained += count;
    const auto& names = t.held_out.classes;
    const auto at = static_cast<size_t>(std::lower_bound(names.begin(), names.end(), cls) - names.begin());
    const bool there = at < names.size() && names[at] == cls;
    rows.push_back({cls, grouped(count), there ? grouped(t.held_out.of_class[at]) : "0",
                    there ? grouped(t.held_out.right_class[at]) : "0"});
  }
  fmt::print("{} documents; left out: {} whose sources disagree, {} without a class\n{}", trained, t.several, t.none,
             table(rows));
  const ClassifierReport& r = t.held_out;
  fmt::print("held out: {} {}, {} right; always the most common class: {}\n", r.documents,
             noun(r.documents, "document"), share(r.right, r.documents), share(r.largest_class, r.documents));
  rows = {{"threshold", "documents", "of all", "right"}};
  for (const ClassifierReport::Above& a : r.above)
    rows.push_back({fmt::format("{}", a.threshold), grouped(a.documents), share(a.documents, r.documents),
                    share(a.right, a.documents)});
  if (r.documents > 0) fmt::print("{}", table(rows));
  fmt::print("{} written, SHA-256 {}; use it with sources: [{{model: {}}}]\n", args.out,
             hex(sha256(require(fs.read(args.out)))), args.out);
  return exit_ok;
}

}  // namespace

Verb classify_show_verb() {
  return {"classify show", "Count what each source of the classification claims, and where they disagree",
          "Reads the inputs; excluded records are counted too.", [](CLI::App& app) {
            auto args = add_config_args(app);
            return [args] { return show(*args); };
          }};
}

Verb classify_explain_verb() {
  return {"classify explain", "Say what each source claims for a document, with what score, and what was decided",
          "The document may be one that the policy excludes.", [](CLI::App& app) {
            auto args = add_config_args(app);
            auto document = std::make_shared<std::string>();
            app.add_option("--document", *document, "The document's digest, or the beginning of it")
                ->required()
                ->type_name("HEX");
            return [args, document] { return explain(*args, *document); };
          }};
}

Verb classify_train_verb() {
  return {
      "classify train", "Train a linear classifier on the documents whose class the other sources give",
      "Softmax regression over hashed byte n-grams. Documents that the policy excludes take no part, and neither do "
      "those whose sources disagree. The validation split is held out, and says how good it is.",
      [](CLI::App& app) {
        auto args = std::make_shared<TrainArgs>();
        args->config = add_config_args(app);
        ClassifierOptions& o = args->options;
        app.add_option("--out", args->out, "The file to write")->required()->type_name("FILE");
        app.add_option("--shortest", o.ngrams.shortest, "Shortest n-gram, in bytes (default 1)")
            ->type_name("N")
            ->check(CLI::Range(1, max_ngram));
        app.add_option("--longest", o.ngrams.longest, "Longest n-gram, in bytes (default 3)")
            ->type_name("N")
            ->check(CLI::Range(1, max_ngram));
        app.add_option("--buckets", o.ngrams.buckets, "Features, to which n-grams are hashed (default 4096)")
            ->type_name("N")
            ->check(CLI::Range(2, max_ngram_buckets));
        app.add_option("--epochs", o.epochs, "Passes over the documents (default 60)")
            ->type_name("N")
            ->check(CLI::Range(1, 1'000'000));
        app.add_option("--batch", o.batch, "Documents in a step (default 32)")
            ->type_name("N")
            ->check(CLI::Range(1, 65536));
        app.add_option("--lr", o.lr, "Learning rate at the start (default 0.05)")
            ->type_name("X")
            ->check(CLI::Range(1e-6, 10.0));
        app.add_option("--seed", args->seed, "Seed of the order of documents (default 1)")
            ->type_name("N")
            ->check(CLI::Range(int64_t{0}, int64_t{1} << 53));
        return [args] { return train(*args); };
      }};
}

}  // namespace govtrain
