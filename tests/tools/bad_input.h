// Bad inputs as a table: how each is made from a good run, the command that meets it, and the error that it gives.
// docs/bad_input.md is printed from the same table. Not a fuzzer: every row is a fault that somebody will make one day.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace govtrain_test {

// A copy of a good, tiny, finished run that a row may damage: corpus.jsonl, policy.yaml, config.yaml, cache/, tiny.key,
// and run/ with a log and the checkpoints of steps 1 to 3. Names are relative to its folder.
class Damage {
 public:
  explicit Damage(std::string folder) : folder_(std::move(folder)) {}

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string read(const std::string& name) const;
  void write(const std::string& name, const std::string& text) const;
  void append(const std::string& name, const std::string& text) const { write(name, read(name) + text); }
  void remove(const std::string& name) const;
  void copy(const std::string& from, const std::string& to) const;
  // `govtrain run` with these arguments, which must succeed.
  void run(const std::string& arguments) const;
  // Replaces the first `from`, which must be there.
  void edit(const std::string& name, const std::string& from, const std::string& to) const;
  // The corpus' last line; replaced or added.
  void last_line(const std::string& text) const;
  void cut(const std::string& name, size_t bytes) const;                          // keeps that many
  void poke(const std::string& name, size_t at, const std::string& bytes) const;  // overwrites
  void flip(const std::string& name, size_t at) const;                            // one bit
  void json(const std::string& name, const std::function<void(nlohmann::json&)>& change) const;
  void safetensors_header(const std::string& name, const std::function<void(nlohmann::json&)>& change) const;

  std::string data(const std::string& name) const;        // name of a file of the prepared data
  std::string provenance() const;                         // name of one provenance of the log
  std::string log_size() const;                           // of the signed log, in entries
  void seal_data() const;                                 // makes the manifest agree with the files again
  void seal_checkpoint(const std::string& folder) const;  // makes DONE agree with the files again

 private:
  std::string folder_;
};

struct BadInput {
  std::string id;
  std::string wrong;  // one phrase
  std::function<void(const Damage&)> damage;
  std::string command;  // shell text
  int status;
  // The first line that begins with "problem:" on standard output, if any, then the first line with "error:" on
  // standard error. DIR is the folder; <digest>, <key>, <id> and <pid> stand for what differs from run to run.
  std::string message;
  bool fills_cache = false;  // the command may add to the data cache before it meets the fault
  std::string mounts = "";   // shell text that runs before the command, in a mount namespace of its own
};

struct BadInputs {
  std::string category, introduction;
  std::vector<BadInput> rows;
};

BadInputs bad_configs();
BadInputs bad_policies();
BadInputs bad_blocks();
BadInputs bad_classes();
BadInputs bad_changes();
BadInputs bad_withheld();
BadInputs bad_documents();
BadInputs bad_data();
BadInputs bad_checkpoints();
BadInputs bad_logs();
BadInputs bad_environments();
std::vector<BadInputs> all_bad_inputs();

struct Outcome {
  bool skipped = false;  // mounting is not permitted here
  int status = -1;
  std::string message, out, err;
  std::vector<std::string> changed;  // files that the command created, changed or removed
};

// The good run, made once for this process.
const std::string& good_run();
Outcome meet(const BadInput& row);
std::string bad_input_page(const std::vector<BadInputs>& table);

}  // namespace govtrain_test
