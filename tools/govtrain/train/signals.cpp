#include "tools/govtrain/train/signals.h"

#include <unistd.h>

#include <array>
#include <csignal>

namespace govtrain {
namespace {

volatile std::sig_atomic_t stops = 0;
volatile std::sig_atomic_t saves = 0;

constexpr std::array handled = {SIGINT, SIGTERM, SIGUSR1};
std::array<struct sigaction, handled.size()> former;

void on_signal(int signal) {
  if (signal == SIGUSR1) {
    saves = 1;
    return;
  }
  if (stops != 0) ::_exit(130);
  stops = 1;
}

}  // namespace

SignalGuard::SignalGuard() {
  stops = 0;
  saves = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < handled.size(); ++i) sigaction(handled[i], &action, &former[i]);
}

SignalGuard::~SignalGuard() {
  for (size_t i = 0; i < handled.size(); ++i) sigaction(handled[i], &former[i], nullptr);
}

bool SignalGuard::stop_requested() const { return stops != 0; }

bool SignalGuard::take_save_request() {
  if (saves == 0) return false;
  saves = 0;
  return true;
}

}  // namespace govtrain
