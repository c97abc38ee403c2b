// `review list|show|approve|reject`: pending shadow updates before a reviewer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "core/config/scalar.h"
#include "core/parallel.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/reason.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/review.h"

namespace govtrain {
namespace {

struct ReviewArgs {
  std::string run, name, probe, reason, reviewer;
  std::optional<double> lr;
};

double norm_of(const std::vector<double>& blocks) {
  double sum = 0;
  for (const double n : blocks) sum += n * n;
  return std::sqrt(sum);
}

double cosine_of(const PendingUpdate& u) {
  double dot = 0;
  for (const double d : u.dot) dot += d;
  const double norms = norm_of(u.withheld) * norm_of(u.admitted);
  return norms == 0 ? 0 : dot / norms;
}

int list(const ReviewArgs& args) {
  const std::vector<PendingName> pending = list_pending(real_file_system(), args.run);
  if (pending.empty()) return fmt::print("{} has no pending update\n", args.run), exit_ok;
  std::vector<std::vector<std::string>> rows = {
      {"update", "steps", "withheld norm", "admitted norm", "cosine", "sha256"}};
  for (const PendingName& name : pending) {
    if (!real_file_system().exists(pending_path(args.run, name.name))) {
      rows.push_back({name.name, "gone", "", "", "", name.sha256.substr(0, 16)});
      continue;
    }
    const PendingUpdate u = read_pending(args.run, name);
    rows.push_back({u.name, grouped(u.steps), fmt::format("{:.4g}", norm_of(u.withheld)),
                    fmt::format("{:.4g}", norm_of(u.admitted)), fmt::format("{:.4f}", cosine_of(u)),
                    name.sha256.substr(0, 16)});
  }
  fmt::print("{}", table(rows));
  return exit_ok;
}

void print_counts(const char* what, const std::map<std::string, int64_t>& counts) {
  std::vector<std::pair<std::string, int64_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  constexpr size_t shown = 10;
  std::vector<std::vector<std::string>> rows = {{what, "uses"}};
  for (size_t i = 0; i < std::min(shown, sorted.size()); ++i)
    rows.push_back({sorted[i].first, grouped(sorted[i].second)});
  fmt::print("\n{}", table(rows));
  if (sorted.size() > shown) fmt::print("... and {} more\n", grouped(static_cast<int64_t>(sorted.size() - shown)));
}

void print_effect(const UpdateEffect& e, const Probe& probe) {
  fmt::print("\nas one optimizer step at learning rate {:.4g}, on {} ({} tokens):\n", e.lr, probe.name(),
             grouped(probe.rows()));
  if (probe.kept_out() > 0)
    fmt::print("  {} of its documents {} kept out by now and {} not looked at\n", grouped(probe.kept_out()),
               are(probe.kept_out()), probe.kept_out() == 1 ? "was" : "were");
  fmt::print("  loss now     {:.6f} nats per token\n  predicted    {:+.6f}  (first order)\n  measured     {:+.6f}\n",
             e.before, e.predicted, e.measured());
}

void print_blocks(const Session& session, const PendingUpdate& u, const UpdateEffect& e) {
  std::vector<std::vector<std::string>> rows = {
      {"block", "withheld norm", "admitted norm", "cosine", "would move", "not finite"}};
  for (size_t b = 0; b < u.withheld.size(); ++b) {
    rows.push_back({session.policy.blocks()[b], fmt::format("{:.4g}", u.withheld[b]),
                    fmt::format("{:.4g}", u.admitted[b]), fmt::format("{:.4f}", u.cosine(b)),
                    fmt::format("{:.4g}", e.moved[b]), grouped(u.not_finite[b])});
  }
  fmt::print("{}", table(rows));
}

int show(const ReviewArgs& args) {
  Review review(real_file_system(), args.run, false);
  const PendingUpdate u = review.read(args.name);
  const Probe probe(review.session(), args.probe);
  const UpdateEffect effect = review.apply(u, probe, args.lr.value_or(u.lr));
  const Contributions from = review.contributions(u);
  const auto examples = static_cast<int64_t>(from.by_example.size());
  fmt::print("{}: steps {} to {}; {} {} of {} {}, {} tokens\n\n", bold(u.name, stdout), u.first, u.last,
             grouped(from.uses), noun(from.uses, "use"), grouped(examples), noun(examples, "example"),
             grouped(from.tokens));
  print_blocks(review.session(), u, effect);
  print_effect(effect, probe);
  if (!from.kept_out.empty())
    fmt::print("\n{} of the documents {} kept out by now: the update can only be rejected\n",
               grouped(static_cast<int64_t>(from.kept_out.size())), are(static_cast<int64_t>(from.kept_out.size())));
  print_counts("source", from.by_source);
  print_counts("rule", from.by_rule);
  print_counts("example", from.by_example);
  return exit_ok;
}

int approve(const ReviewArgs& args) {
  Review review(real_file_system(), args.run, true);
  const PendingUpdate u = review.read(args.name);
  const Probe probe(review.session(), args.probe);
  const UpdateEffect effect = review.apply(u, probe, args.lr.value_or(u.lr));
  const std::string folder = review.approve(u, effect, probe, {args.reason, args.reviewer});
  fmt::print("{} was applied as one optimizer step; the run goes on from {}\n", u.name, folder);
  print_effect(effect, probe);
  return exit_ok;
}

int reject(const ReviewArgs& args) {
  Review review(real_file_system(), args.run, true);
  const PendingUpdate u = review.read(args.name);
  const std::string folder = review.reject(u, {args.reason, args.reviewer});
  fmt::print("{} was destroyed; the log keeps its digest and the reason; the run goes on from {}\n", u.name, folder);
  return exit_ok;
}

std::shared_ptr<ReviewArgs> add_args(CLI::App& app, bool named, bool decides) {
  auto args = std::make_shared<ReviewArgs>();
  app.add_option("RUN", args->run, "The folder of a run with routing.withheld: shadow")->required()->type_name("");
  if (named) app.add_option("NAME", args->name, "The update; not needed when there is only one")->type_name("");
  if (decides) {
    add_reason(app, args->reason);
    app.add_option("--reviewer", args->reviewer, "Who decided; goes into the log as it is given")->type_name("NAME");
  }
  return args;
}

void add_effect_args(CLI::App& app, ReviewArgs& args) {
  app.add_option("--probe", args.probe,
                 "Texts, one per line, or JSONL, to measure the effect on; without it the validation split")
      ->type_name("FILE");
  app.add_option("--lr", args.lr, "Learning rate of the step; without it the mean of the window's steps")
      ->type_name("X")
      ->check([](const std::string& text) {
        double value = 0;
        const bool good = !parse_number({text, false}, "", value) && value > 0;
        return good ? std::string() : fmt::format("expected a number above 0, got '{}'", text);
      });
}

}  // namespace

Verb review_list_verb() {
  return {"review list", "List the pending updates of a run",
          "What was withheld, summed over windows of steps, as of the run's newest checkpoint.", [](CLI::App& app) {
            auto args = add_args(app, false, false);
            return [args] { return list(*args); };
          }};
}

Verb review_show_verb() {
  return {"review show", "Show what a pending update is made of and what it would do",
          "Norms and cosine with the admitted gradient per block, sources, rules and examples from the log, and the "
          "effect on a probe set: predicted, and measured on a copy in memory. Changes nothing.",
          [](CLI::App& app) {
            auto args = add_args(app, true, false);
            add_effect_args(app, *args);
            return [args] { return show(*args); };
          }};
}

Verb review_approve_verb() {
  return {"review approve", "Apply a pending update as one logged optimizer step",
          "To the newest checkpoint of a run that is not in progress. The log is written first, then a new checkpoint "
          "of the same step, from which the run goes on.",
          [](CLI::App& app) {
            auto args = add_args(app, true, true);
            add_effect_args(app, *args);
            return [args] { return approve(*args); };
          }};
}

Verb review_reject_verb() {
  return {"review reject", "Destroy a pending update as a logged event",
          "The bytes are gone, the log keeps their digest and the reason. Parts of the sum in older checkpoints are "
          "destroyed too: those checkpoints can then be read, but not resumed from.",
          [](CLI::App& app) {
            auto args = add_args(app, true, true);
            return [args] { return reject(*args); };
          }};
}

}  // namespace govtrain
