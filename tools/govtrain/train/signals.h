// Interruption: the first Ctrl-C or SIGTERM asks for a stop after the current step, the second ends the process at
// once; SIGUSR1 asks for a checkpoint. Flags only; what to do about them is the loop's business.
#pragma once

namespace govtrain {

// Installs the handlers for its lifetime and puts the former ones back. One at a time.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

  bool stop_requested() const;
  bool take_save_request();  // true once per request
};

}  // namespace govtrain
