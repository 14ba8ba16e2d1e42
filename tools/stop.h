// Signals that ask a long work to stop: the first lets it end in order, a second ends the process at once.
#pragma once

#include <atomic>
#include <cstdint>

namespace lux {

/// From now on SIGINT, SIGTERM, SIGHUP and SIGUSR1 end the process as ever, but leave no half-written file,
/// and of several pictures say how many are done.
void clean_up_on_signals();

/// What that sentence knows.
struct PicturesSoFar {
  std::atomic<int64_t> done{0}, all{0};
};
extern PicturesSoFar pictures_so_far;

/// True from the first signal on.
extern std::atomic<bool> stop_requested;

/// From now on they set `stop_requested`. What whoever started us wants
/// ignored, as nohup does, stays ignored.
void stop_on_signals();

/// The number of the last signal; 0 before the first.
int last_signal();

}  // namespace lux
