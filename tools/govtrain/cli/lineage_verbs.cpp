// `lineage verify|show|prove`: the log for people and scripts.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "core/config/diagnostics.h"
#include "core/file.h"
#include "lineage/encoding.h"
#include "lineage/proof.h"
#include "lineage/reader.h"
#include "lineage/record.h"
#include "lineage/verify.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/lineage_story.h"
#include "tools/govtrain/cli/lineage_summary.h"
#include "tools/govtrain/cli/log_args.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

std::string count(uint64_t n) { return grouped(static_cast<int64_t>(n)); }

void print_list(const char* what, const std::vector<std::string>& lines, uint64_t total) {
  for (const std::string& line : lines) fmt::print("{}: {}\n", what, line);
  if (total > lines.size()) fmt::print("... and {} more\n", count(total - lines.size()));
}

int verify(const LogArgs& args) {
  const std::string folder = args.folder();
  const NoteKey key = args.read_key();
  const VerifyReport report = verify_log(real_file_system(), folder, key);
  fmt::print("log         {}\n", folder);
  fmt::print("origin      {}\n", report.checkpoint.origin);
  fmt::print("key         {}{}\n", key.text(), args.key.empty() ? "  (from the log's own folder)" : "");
  fmt::print("entries     {}: {} {}, {} of them excluded at the start\n", count(report.entries), count(report.examples),
             noun(static_cast<int64_t>(report.examples), "example"), count(report.excluded));
  std::string controls;
  for (const auto& [kind, n] : report.controls)
    controls += fmt::format("{}{} {}", controls.empty() ? "" : ", ", count(n), kind);
  if (!controls.empty()) fmt::print("control     {}\n", controls);
  if (report.superseded > 0)
    fmt::print("superseded  {} by resumes, {} repeated since\n", count(report.superseded), count(report.replayed));
  fmt::print("provenance  {} {}\n", count(report.provenance), noun(static_cast<int64_t>(report.provenance), "object"));
  fmt::print("tree        {} {}, root {}\n", count(report.tiles), noun(static_cast<int64_t>(report.tiles), "tile"),
             hex(report.checkpoint.root));
  print_list("warning", report.warnings, report.warning_count);
  print_list("problem", report.problems, report.problem_count);
  if (!report.ok()) {
    std::fflush(stdout);
    throw Failure(exit_unverified, fmt::format("lineage verify FAILED: {} problem{}", count(report.problem_count),
                                               report.problem_count == 1 ? "" : "s"));
  }
  fmt::print("lineage verify OK\n");
  return exit_ok;
}

struct ShowArgs {
  std::vector<uint64_t> indices;
  std::string example, kind;
  std::optional<int64_t> step;
  uint64_t limit = 20;
  bool effective = false, summary = false, story = false;
};

bool wanted(const ShowArgs& args, std::string_view leaf) {
  if (args.example.empty() && args.kind.empty() && !args.step) return true;
  const auto kind = leaf_kind(leaf);
  if (!kind.ok()) return false;
  if (!args.kind.empty() && kind.value() != args.kind) return false;
  if (args.example.empty() && !args.step) return true;
  const auto record = nlohmann::json::parse(leaf, nullptr, false);
  if (!record.is_object()) return false;
  if (args.step && record.value("step", nlohmann::json()) != *args.step) return false;
  const std::string ex = record.value("ex", "");
  return args.example.empty() || ex.starts_with(args.example) || ex.starts_with("sha256:" + args.example);
}

void check_kind(const std::string& kind) {
  if (kind.empty()) return;
  std::vector<std::string> kinds = control_kinds();
  kinds.insert(kinds.begin(), "ex");
  if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) return;
  const std::string near = did_you_mean(kind, kinds);
  throw Failure(exit_usage, fmt::format("--kind: no record is of kind {}; expected one of {}{}", in_quotes(kind),
                                        join(kinds), near.empty() ? "" : "; " + near));
}

int show(const LogArgs& log_args, const ShowArgs& args) {
  check_kind(args.kind);
  LogReader log = require(LogReader::open(real_file_system(), log_args.folder(), log_args.read_key()), exit_unverified);
  if (args.summary) return print_lineage_summary(real_file_system(), log_args.folder(), log), exit_ok;
  if (args.story) return print_lineage_story(log), exit_ok;
  for (const uint64_t index : args.indices) {
    if (index >= log.size())
      throw Failure(exit_usage, fmt::format("there is no entry {}; the log has {} (0 to {})", index, log.size(),
                                            log.size() == 0 ? 0 : log.size() - 1));
    fmt::print("{}\t{}\n", index, require(log.entry(index), exit_unverified));
  }
  if (!args.indices.empty()) return exit_ok;
  uint64_t found = 0;
  const auto print = [&](uint64_t index, std::string_view leaf) {
    if (!wanted(args, leaf)) return true;
    if (args.limit == 0 || found < args.limit) fmt::print("{}\t{}\n", index, leaf);
    ++found;
    return true;
  };
  require(args.effective ? log.visit_effective(0, log.size(), print) : log.visit(0, log.size(), print),
          exit_unverified);
  std::fflush(stdout);
  if (args.limit > 0 && found > args.limit)
    fmt::print(stderr, "{} of {} matching entries shown; --limit 0 shows all\n", args.limit, count(found));
  if (found == 0) fmt::print(stderr, "none of the {} entries matches (all were read and checked)\n", count(log.size()));
  return exit_ok;
}

struct ProveArgs {
  std::optional<uint64_t> index;
  std::string extends, out, check, entry;
};

// Checks a proof of inclusion without the log.
int check_proof(const LogArgs& log_args, const ProveArgs& args) {
  if (args.entry.empty()) throw Failure(exit_usage, "--check needs --entry, a file with the exact bytes of the entry");
  FileSystem& fs = real_file_system();
  const EntryProof proof = require(parse_entry_proof(require(fs.read(args.check))), exit_unverified);
  std::string leaf = require(fs.read(args.entry));
  if (!leaf.empty() && leaf.back() == '\n') leaf.pop_back();
  const Checkpoint checkpoint = require(check_entry(proof, leaf, log_args.read_key()), exit_unverified);
  fmt::print("the entry is number {} of the {} entries of {}\n", proof.index, count(checkpoint.size),
             checkpoint.origin);
  return exit_ok;
}

int prove(const LogArgs& log_args, const ProveArgs& args) {
  if (log_args.path.empty() && (args.check.empty() || log_args.key.empty()))
    throw Failure(exit_usage, "LOG is required, but with --check and --key\n  see 'govtrain help lineage prove'");
  if (!args.check.empty()) return check_proof(log_args, args);
  if (args.index.has_value() == !args.extends.empty())
    throw Failure(exit_usage,
                  "expected either the index of an entry or --extends NOTE\n  see 'govtrain help lineage prove'");
  FileSystem& fs = real_file_system();
  const NoteKey key = log_args.read_key();
  LogReader log = require(LogReader::open(fs, log_args.folder(), key), exit_unverified);
  std::string text;
  if (args.index) {
    text = entry_proof_text(require(prove_entry(log, *args.index), exit_unverified));
  } else {
    const std::string note = require(fs.read(args.extends));
    const Checkpoint old = require(verify_checkpoint(note, key), exit_unverified);
    const Proof proof = require(prove_extension(log, old.size), exit_unverified);
    require(check_extension(proof, note, log.checkpoint_note(), key), exit_unverified);
    text = proof_text(proof);
    fmt::print(stderr, "the log extends the {} entries of {}\n", count(old.size), args.extends);
  }
  if (args.out.empty())
    fmt::print("{}", text);
  else if (fs.exists(args.out) && !std::filesystem::is_regular_file(args.out))
    require(fs.write(args.out, text));  // a device or a pipe is written to, not replaced
  else
    require(write_atomic(fs, args.out, text));
  return exit_ok;
}

}  // namespace

Verb lineage_verify_verb() {
  return {"lineage verify", "Check a log: every hash, the signature, what the records say",
          "Derives the tree from the entries alone and compares it with the signed checkpoint. Exit status 4 when "
          "anything disagrees.",
          [](CLI::App& app) {
            auto log = add_log_args(app);
            return [log] { return verify(*log); };
          }};
}

Verb lineage_show_verb() {
  return {
      "lineage show", "Print entries of a log, or what taught the model",
      "Prints 'index<TAB>entry' (JSON). Each entry is checked against the signed tree before it is printed. To "
      "answer 'what taught this model', use --summary; to read what happened, --story.",
      [](CLI::App& app) {
        auto log = add_log_args(app);
        auto args = std::make_shared<ShowArgs>();
        app.add_option("INDEX", args->indices, "Entries to print; without any, all that match")->type_name("");
        app.add_option("--example", args->example, "Only records of the document with this digest, or its beginning")
            ->type_name("HEX");
        app.add_option("--step", args->step, "Only records of this optimizer step")->type_name("N");
        app.add_option("--kind", args->kind, "Only records of this kind: ex, run, policy, step, ckpt, ...")
            ->type_name("KIND");
        app.add_option("--limit", args->limit, "Print at most this many; 0 prints all (default 20)")->type_name("N");
        app.add_flag("--effective", args->effective, "Leave out what a later resume superseded");
        app.add_flag("--summary", args->summary,
                     "For each source and licence: examples, tokens, weight and share of each block");
        app.add_flag("--story", args->story, "What happened, in order: one line for each event")->excludes("--summary");
        return [log, args] { return show(*log, *args); };
      }};
}

Verb lineage_prove_verb() {
  return {"lineage prove", "Prove that an entry is in a log, or that a log extends an older checkpoint",
          "The proof of an entry (c2sp.org/tlog-proof) can be checked by whoever has the entry and the verifier key, "
          "without the log: with --check, --entry and --key.",
          [](CLI::App& app) {
            auto log = add_log_args(app);
            app.get_option("LOG")->required(false);
            auto args = std::make_shared<ProveArgs>();
            app.add_option("INDEX", args->index, "The entry to prove")->type_name("");
            app.add_option("--extends", args->extends, "An older signed checkpoint of this log, as a file")
                ->type_name("NOTE");
            app.add_option("--out", args->out, "Write the proof to this file")->type_name("FILE");
            app.add_option("--check", args->check, "Check this proof instead of making one")->type_name("PROOF");
            app.add_option("--entry", args->entry, "The entry's bytes, for --check")->type_name("FILE");
            return [log, args] { return prove(*log, *args); };
          }};
}

}  // namespace govtrain
