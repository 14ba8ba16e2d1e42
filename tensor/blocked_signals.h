// Signals belong to the main thread: what starts a thread holds this meanwhile, and the new thread inherits
// it.
#pragma once

#include <signal.h>

namespace lux {

/// Blocks all signals in this thread while it lives, then restores what was blocked before.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace lux
