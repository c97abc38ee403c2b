// A tiny corpus, policy and configuration in a temporary folder, and runs of the real program on them. For tests of
// what a whole run promises; not for measuring.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lineage/record.h"

namespace govtrain::testing {

struct TinyDocument {
  std::string text, source, license, cls;
};

class TinyRun {
 public:
  TinyRun();
  ~TinyRun();
  TinyRun(const TinyRun&) = delete;
  TinyRun& operator=(const TinyRun&) = delete;

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  // Writes corpus `name`.jsonl. Documents of the default corpus: licences free, copyleft and (class uncertain)
  // excluded.
  void write_corpus(const std::string& name, const std::vector<TinyDocument>& documents) const;
  static std::vector<TinyDocument> default_documents(uint64_t seed);

  // Runs `govtrain run` with the default configuration and these overrides on corpus `name` into folder `out`; output
  // goes to <out>.log. Returns the exit status, or 128 + the signal that ended it. With `kill_after` it is killed with
  // `signal` after that time, if it is still running.
  int run(const std::string& corpus, const std::string& out, const std::vector<std::string>& overrides,
          std::chrono::milliseconds kill_after = std::chrono::milliseconds(0), int signal = 9) const;
  int program(const std::vector<std::string>& arguments, const std::string& log,
              std::chrono::milliseconds kill_after = std::chrono::milliseconds(0), int signal = 9) const;

  // The same to the end, and how long that took: what kills are aimed by. Throws when it fails.
  std::chrono::milliseconds timed_run(const std::string& corpus, const std::string& out,
                                      const std::vector<std::string>& overrides) const;
  // A run that is killed `kills` times at random moments and goes on each time (the overrides have run.resume=auto),
  // and at last comes to its end. `whole`: how long it takes without. One that ends before its last kill is handed to
  // `ended` as well, and the next kills hit a new one, so that a machine may be as fast or slow as it likes.
  void run_killed(const std::string& corpus, const std::string& out, const std::vector<std::string>& overrides,
                  int kills, std::chrono::milliseconds whole, const std::function<void()>& ended) const;

  std::string read(const std::string& name) const;
  // SHA-256 of a file of the newest checkpoint of run `out`.
  std::string final_sha256(const std::string& out, const std::string& file) const;

  struct Log {
    std::vector<std::string> leaves;  // the effective view: without what a rewind superseded
    std::vector<ExampleRecord> examples;
    std::map<std::string, int> controls;
  };
  Log log(const std::string& out) const;

 private:
  std::string folder_;
};

}  // namespace govtrain::testing
