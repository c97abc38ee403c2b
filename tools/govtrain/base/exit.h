// The program's exit statuses, and the exception that carries one up to run_program(). Not for errors that a caller
// handles: those are Status and Result (core/status.h).
#pragma once

#include <stdexcept>
#include <string>

#include "core/status.h"

namespace govtrain {

enum ExitCode : int {
  exit_ok = 0,
  exit_failure = 1,       // a failure while running: input or output, a peer, a non-finite value
  exit_usage = 2,         // the command line or the configuration
  exit_data = 3,          // the input data, a checkpoint or a shard is damaged or missing
  exit_unverified = 4,    // a log, a proof or a digest does not verify
  exit_resource = 5,      // memory or disk
  exit_refused = 6,       // the policy does not admit what was asked for
  exit_interrupted = 130  // stopped by a signal after a clean save
};

// Ends the command with `code`; what() is printed after "error: ".
class Failure : public std::runtime_error {
 public:
  Failure(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// The exit status for a failed `status`; `corrupt` is what damage means where the caller stands (data or unverified).
inline ExitCode exit_code(const Status& status, ExitCode corrupt = exit_data) {
  switch (status.code()) {
    case StatusCode::ok:
      return exit_ok;
    case StatusCode::not_found:
      return exit_data;
    case StatusCode::corrupt:
      return corrupt;
    case StatusCode::rolled_back:
      return exit_unverified;
    case StatusCode::no_space:
      return exit_resource;
    case StatusCode::exists:
    case StatusCode::io:
    case StatusCode::locked:
    case StatusCode::invalid:
      return exit_failure;
  }
  return exit_failure;
}

// Throws Failure with the status' message unless it is ok.
inline void require(const Status& status, ExitCode corrupt = exit_data) {
  if (!status.ok()) throw Failure(exit_code(status, corrupt), status.message());
}

// The value, or Failure with the status' message.
template <class T>
T require(Result<T> result, ExitCode corrupt = exit_data) {
  if (!result.ok()) throw Failure(exit_code(result.status(), corrupt), result.status().message());
  return std::move(result).value();
}

}  // namespace govtrain
