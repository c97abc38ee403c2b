// `proposals`: how people decide on what the meta-controller of a run proposes. Reads the log, writes verdicts into the
// run folder, or, when the run is complete, rejections into its log; changes no weights itself.
#include <fmt/format.h>

#include <memory>

#include "core/config/scalar.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/reason.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/proposals.h"
#include "tools/govtrain/train/recorded_changes.h"

namespace govtrain {
namespace {

using nlohmann::json;

struct ProposalArgs {
  std::string run, reason;
  int64_t id = 0;
};

std::shared_ptr<ProposalArgs> add_args(CLI::App& app, bool one) {
  auto args = std::make_shared<ProposalArgs>();
  app.add_option("RUN", args->run, "The folder of a run whose policy has a controller")->required()->type_name("");
  if (one) {
    app.add_option("ID", args->id, "The proposal's number")
        ->required()
        ->type_name("")
        ->check([](const std::string& text) {
          int64_t value = 0;
          const bool good = !parse_integer({text, false}, "", value) && value >= 0;
          return good ? std::string() : fmt::format("expected the number of a proposal, got '{}'", text);
        });
  }
  return args;
}

std::string outcome(const ProposalArgs& args, const RecordedChanges& log, const RecordedChange& change) {
  const json& proposal = change.record.payload;
  const int64_t id = proposal.at("id");
  if (const auto verdict = log.verdicts.find(id); verdict != log.verdicts.end()) return verdict->second;
  if (proposal.at("outcome") != "pending") return proposal.at("outcome");
  // What the run did not take in before it ended never will be.
  const auto verdict = read_verdict(real_file_system(), args.run, proposal);
  if (verdict && !run_is_complete(real_file_system(), args.run))
    return verdict->approved ? "approved, from the next checkpoint on" : "rejected, from the next checkpoint on";
  return stale(log, change) ? "stale" : "pending";
}

int list(const ProposalArgs& args) {
  const RecordedChanges log = read_recorded_changes(real_file_system(), args.run);
  for (const RecordedChange& p : log.proposals) {
    const json& record = p.record.payload;
    fmt::print("{:>4}  step {:>6}  {:<20} {}\n", record.at("id").get<int64_t>(), p.step,
               record.at("profile").get<std::string>(), outcome(args, log, p));
  }
  fmt::print("{} {}\n", log.proposals.size(), noun(static_cast<int64_t>(log.proposals.size()), "proposal"));
  return exit_ok;
}

const RecordedChange& find(const ProposalArgs& args, const RecordedChanges& log) {
  for (const RecordedChange& p : log.proposals) {
    if (p.record.payload.at("id") == args.id) return p;
  }
  throw Failure(exit_usage, fmt::format("there is no proposal {}; 'govtrain proposals list {}' shows all {}", args.id,
                                        args.run, log.proposals.size()));
}

int show(const ProposalArgs& args) {
  const RecordedChanges log = read_recorded_changes(real_file_system(), args.run);
  const RecordedChange& found = find(args, log);
  const json& p = found.record.payload;
  fmt::print("proposal {} for profile {}: {}\n", args.id, p.at("profile").get<std::string>(),
             outcome(args, log, found));
  std::string changes;
  for (const json& change : p.at("evidence").at("loss_change"))
    changes += fmt::format("{}{:+.5f}", changes.empty() ? "" : ", ", change.get<double>());
  fmt::print("  relative change of the protected loss, by evaluation: {}\n", changes);
  fmt::print("  {:<24} {:>9} {:>9}   {}\n", "block", "before", "after", "correlation with the loss");
  for (size_t b = 0; b < log.blocks.size(); ++b) {
    fmt::print("  {:<24} {:>9.4g} {:>9.4g}   {:+.3f}\n", log.blocks[b], p.at("before").at(b).get<double>(),
               p.at("after").at(b).get<double>(), p.at("credit").at(b).get<double>());
  }
  return exit_ok;
}

int decide(const ProposalArgs& args, bool approve) {
  const RecordedChanges log = read_recorded_changes(real_file_system(), args.run);
  const RecordedChange& proposal = find(args, log);
  const std::string now = outcome(args, log, proposal);
  if (now != "pending" && now != "stale")
    throw Failure(exit_usage, fmt::format("proposal {} is decided: {}", args.id, now));
  if (const auto why = stale(log, proposal); approve && why) {
    throw Failure(exit_usage, fmt::format("proposal {} is stale, and can only be rejected: {}", args.id, *why));
  }
  const bool logged = decide_proposal(real_file_system(), args.run, proposal.record.payload, {approve, args.reason});
  fmt::print(
      "proposal {} is {}; {}\n", args.id, approve ? "approved" : "rejected",
      logged ? "the run is complete, and its log says so now" : "the run takes that in with its next checkpoint");
  return exit_ok;
}

Verb decision(const char* name, const char* summary, bool approve) {
  return {name, summary,
          "The verdict lies in the run folder until the run saves a checkpoint; then it is in the log, and in force. "
          "Proposals of a complete run can only be rejected; that goes into its log at once.",
          [approve](CLI::App& app) {
            auto args = add_args(app, true);
            add_reason(app, args->reason);
            return [args, approve] { return decide(*args, approve); };
          }};
}

}  // namespace

Verb proposals_list_verb() {
  return {"proposals list", "List what the meta-controller of a run has proposed, and what became of it", "",
          [](CLI::App& app) {
            auto args = add_args(app, false);
            return [args] { return list(*args); };
          }};
}

Verb proposals_show_verb() {
  return {"proposals show", "Show a proposal with its evidence", "", [](CLI::App& app) {
            auto args = add_args(app, true);
            return [args] { return show(*args); };
          }};
}

Verb proposals_approve_verb() {
  return decision("proposals approve", "Approve a proposal: the run applies it with its next checkpoint", true);
}

Verb proposals_reject_verb() { return decision("proposals reject", "Reject a proposal", false); }

}  // namespace govtrain
