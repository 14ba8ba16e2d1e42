// Signals belong to the main thread: what starts a thread holds this meanwhile, and the new thread inherits
// it.
#pragma once

#include <signal.h>

#include <initializer_list>

namespace lux {

/// Blocks signals in this thread while it lives, then restores what was blocked before. Not those of faults
/// of the thread itself, which POSIX leaves undefined where they are blocked.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGILL, SIGSEGV, SIGBUS, SIGFPE}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace lux
