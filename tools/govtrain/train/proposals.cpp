#include "tools/govtrain/train/proposals.h"

#include <fmt/format.h>

#include "core/hash.h"
#include "lineage/record.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/publish.h"

namespace govtrain {
namespace {

using nlohmann::json;

std::string path_of(const std::string& run, const json& proposal) {
  return join_path(join_path(run, "proposals"), fmt::format("{}.json", proposal.at("id").get<int64_t>()));
}

std::string digest_of(const json& proposal) {
  std::string leaf;
  require(write_leaf(leaf, ControlRecord{"proposal", proposal}));
  return "sha256:" + hex(sha256(leaf));
}

}  // namespace

std::optional<Verdict> read_verdict(FileSystem& fs, const std::string& run, const json& proposal) {
  const std::string path = path_of(run, proposal);
  if (!fs.exists(path)) return std::nullopt;
  const json parsed = json::parse(require(fs.read(path)), nullptr, false);
  const auto text = [&](const char* key) {
    return parsed.is_object() && parsed.contains(key) && parsed.at(key).is_string() ? parsed.at(key).get<std::string>()
                                                                                    : std::string();
  };
  const std::string verdict = text("verdict");
  const bool complete = parsed.is_object() && parsed.contains("reason") && parsed.at("reason").is_string();
  if ((verdict != "approve" && verdict != "reject") || !complete) {
    throw Failure(exit_data, path +
                                 ": expected {\"reason\": \"..\", \"verdict\": \"approve\" or \"reject\"}; remove it "
                                 "and decide again with 'govtrain proposals'");
  }
  if (text("proposal") != digest_of(proposal)) {
    throw Failure(exit_data, path +
                                 ": the verdict was given on another proposal of that number; remove it and decide "
                                 "again with 'govtrain proposals'");
  }
  return Verdict{verdict == "approve", text("reason")};
}

Status write_verdict(FileSystem& fs, const std::string& run, const json& proposal, const Verdict& verdict) {
  const std::string path = path_of(run, proposal);
  if (fs.exists(path)) return {StatusCode::exists, path + " holds a verdict already"};
  if (Status s = fs.make_dirs(join_path(run, "proposals")); !s.ok()) return s;
  const json text = {{"proposal", digest_of(proposal)},
                     {"verdict", verdict.approved ? "approve" : "reject"},
                     {"reason", verdict.reason}};
  return write_atomic(fs, path, text.dump() + "\n");
}

namespace {

std::unique_ptr<RunConfigFile> config_of(const std::string& run) {
  auto file = read_run_config(run, {"run.resume=auto"});
  if (file->diagnostics.has_errors()) throw ConfigError(file->diagnostics);
  return file;
}

int64_t newest_step(FileSystem& fs, const std::string& run) {
  const std::vector<int64_t> steps = require(CheckpointStore(fs, join_path(run, "ckpt")).steps());
  return steps.empty() ? 0 : steps.back();
}

}  // namespace

bool run_is_complete(FileSystem& fs, const std::string& run) {
  return newest_step(fs, run) >= config_of(run)->config.train.steps;
}

json verdict_record(const json& proposal, const Verdict& verdict, int64_t step) {
  return {{"proposal", proposal.at("id")},
          {"profile", proposal.at("profile")},
          {"step", step},
          {"after", proposal.at("after")},
          {"reason", verdict.reason},
          {"outcome", verdict.approved ? "applied" : "rejected"}};
}

bool decide_proposal(FileSystem& fs, const std::string& run, const json& proposal, const Verdict& verdict) {
  const auto file = config_of(run);
  Result<std::unique_ptr<RunLog>> log = RunLog::open(fs, log_options(file->config));
  const bool in_progress = !log.ok() && log.status().code() == StatusCode::locked;
  if (!in_progress && !log.ok()) require(log.status(), exit_unverified);
  const int64_t step = newest_step(fs, run);
  if (in_progress || step < file->config.train.steps) {
    require(write_verdict(fs, run, proposal, verdict));
    return false;
  }
  if (verdict.approved) {
    throw Failure(exit_usage, fmt::format("{} is complete: there is no step left in which proposal {} could count; "
                                          "nothing was changed. Reject it, or train another run under a policy with "
                                          "these weights",
                                          run, proposal.at("id").get<int64_t>()));
  }
  require(log.value()->control("review", verdict_record(proposal, verdict, step)));
  require(log.value()->flush());
  // A run that is repeated from an older checkpoint supersedes that record and meets the file.
  const std::string path = path_of(run, proposal);
  if (fs.exists(path)) require(fs.remove(path));
  require(write_verdict(fs, run, proposal, verdict));
  return true;
}

}  // namespace govtrain
