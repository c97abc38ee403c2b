// How a run's log begins, or goes on after a resume.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "lineage/log_format.h"
#include "lineage/reader.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/loop.h"
#include "tools/govtrain/train/publish.h"
#include "tools/govtrain/train/run_head.h"

namespace govtrain {

using nlohmann::json;

bool Loop::has_log() const { return fs_.exists(join_path(log_options(config_).folder, checkpoint_file)); }

void Loop::open_log(const std::optional<ResumePoint>& point, std::optional<KeyMaker> key_maker) {
  const RunLogOptions options = log_options(config_);
  if (point ? !has_log() : key_maker.has_value()) {
    if (point)
      throw Failure(exit_unverified, fmt::format("{} has no log, but {} has weights", options.folder, point->folder));
    if (fs_.exists(join_path(options.folder, "tile"))) {
      throw Failure(exit_unverified, fmt::format("{} holds records, but not the signed file 'checkpoint' that covers "
                                                 "them; restore it, or start another run with run.out=DIR",
                                                 options.folder));
    }
    if (fs_.exists(options.folder)) {  // a log that was interrupted while it was made holds no record
      require(fs_.make_dirs(join_path(options.folder, state_dir)));  // a kill may have come before it was there
      const auto lock = require(fs_.lock(join_path(options.folder, lock_file)));
      require(fs_.remove_all(options.folder));
    }
    std::string notice;
    log_ = require(RunLog::create(fs_, options, *key_maker, notice));
    if (!notice.empty()) say(notice);
    write_head();
    return;
  }
  const auto key = [&] { return require(find_log_key(fs_, options.key_path, options.folder)).public_key(); };
  if (point) check_lineage_covers(fs_, *point, options.folder, key());
  log_ = require(RunLog::open(fs_, options), exit_unverified);
  // Before the rewind supersedes their records: no later resume may go on from weights that this one abandons.
  if (point) require(checkpoints_.set_aside_after(step_));
  const uint64_t from = point ? point->state.log_size : 0;
  bool ahead = log_->size() > from;
  if (ahead && point) {
    LogReader reader = require(LogReader::open(fs_, options.folder, key()), exit_unverified);
    require(outside_.replay(reader, from, step_), exit_unverified);
    ahead = false;  // texts that were written meanwhile are not of training
    const auto visit = [&](uint64_t, std::string_view leaf) {
      const Result<std::string> kind = leaf_kind(leaf);
      ahead = !kind.ok() || kind.value() != "infer";
      return !ahead;
    };
    require(reader.visit(from, reader.size(), visit), exit_unverified);
  }
  if (ahead) {
    require(log_->control("rewind", {{"from", from}, {"to_step", step_}}));
    say(fmt::format("the log is ahead of the checkpoint: its records {} to {} are superseded, not deleted", from,
                    log_->size() - 2));
  }
  if (point) {
    store_provenance();
  } else {
    write_head();
  }
}

void Loop::write_head() {
  require(log_->control("run", run_record(s_)));
  for (json& blocks : block_records(s_)) require(log_->control("blocks", std::move(blocks)));
  if (s_.classifier) require(log_->control("classes", classes_record(s_)));
  for (json& policy : policy_records(s_.policy)) require(log_->control("policy", std::move(policy)));
  std::set<std::string> profiles;
  for (json& profile : profile_records(s_)) {
    profiles.insert(profile.at("id"));
    require(log_->control("profile", std::move(profile)));
  }
  for (const ExcludedDocument& document : excluded_documents(fs_, s_.prepared.folder)) {
    ExampleRecord record = excluded_record(document, s_.policy, s_.date, s_.dataset.classification());
    if (profiles.insert(record.prof).second) {
      require(log_->control("profile", {{"id", record.prof}, {"w", record.w}}));
    }
    record.prov = require(log_->provenance(provenance_json(document.origins, digest_from_hex(document.digest))));
    require(log_->excluded(record));
  }
  store_provenance();
  require(log_->flush());
}

void Loop::store_provenance() {
  const auto& documents = s_.dataset.documents();
  for (size_t d = 0; d < documents.size(); ++d) {
    s_.governance->labels()[d].prov =
        require(log_->provenance(provenance_json(documents[d].origins(), documents[d].digest)));
  }
}

}  // namespace govtrain
