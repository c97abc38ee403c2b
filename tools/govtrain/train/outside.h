// What reaches a run from outside while it trains: the day, the revocation list, a newer version of the policy. Looked
// at before every step. What was seen is in the log; a run that goes on from an older checkpoint sees it again from
// there, at the same steps, and looks at the world only after the last step that the log knows. Decides nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lineage/reader.h"
#include "routing/date.h"
#include "tools/govtrain/config/run_config.h"

namespace govtrain {

// A file as it was found: `problem` says why it cannot be used, else `content` holds what it says.
struct SeenFile {
  std::string sha256;  // hex, of all bytes that were read; "missing" when there is none
  std::string problem;
  std::vector<std::string> content;  // revocations as lines; the policy as one canonical text
};

struct Observation {
  std::optional<Date> day;
  std::optional<SeenFile> revocations, policy;
};

// Whether files may have changed: by inode, size and time of change; files touched within the last seconds always may.
class FileWatch {
 public:
  bool stirred(const std::vector<std::string>& paths);

 private:
  std::vector<int64_t> last_;
  bool settled_ = false;
};

class Outside {
 public:
  // `start`: the first day of the run. `today` is the wall clock.
  Outside(const RunConfig& config, const Date& start, std::function<Date()> today = Date::today);

  // What is new before `step` (from 1). Called once per step, ascending.
  Observation look(int64_t step);

  // Entries [from, log.size()) of the log were written by a run that went on from here: what it saw after `step` is
  // what this one will see.
  Status replay(LogReader& log, uint64_t from, int64_t step);

  nlohmann::json state() const;
  void restore(const nlohmann::json& state);  // throws json::exception

 private:
  Observation look_around(int64_t step);
  SeenFile read_revocations_file();
  SeenFile read_policy_files();

  RunConfig config_;
  std::string clock_;
  int64_t steps_per_day_;
  Date start_, day_;
  std::function<Date()> today_;
  std::string revocations_, policy_;
  std::vector<std::string> policy_files_;
  FileWatch revocations_watch_, policy_watch_;
  std::string revocations_seen_, policy_seen_;  // SHA-256
  int64_t horizon_ = 0;                         // last step that is seen again from the log
  std::map<int64_t, nlohmann::json> replay_;
};

}  // namespace govtrain
