// The thread pool of the process: numbered chunks, no per-thread state, so results cannot depend on the
// thread count.
//
// A worker spins for at most 20 µs after its last chunk, then sleeps. While chunks run, denormals are flushed
// to zero in every participating thread (a quarter of a trained network's weights can be denormal, and each
// costs a microcode assist); the caller's floating-point mode is restored afterwards.
#pragma once

#include <cstdint>

#include "luxgrad/tensor/function_ref.h"

namespace lux {

/// Threads used by the next parallel section, the caller included. Default: `LUX_THREADS`, else the CPUs this
/// process may use (affinity and cgroup quota).
int num_threads();
/// Throws Error below 1, and inside a task. If the system refuses a thread, fewer are used.
void set_num_threads(int threads);

/// Runs `task(chunk)` for every chunk in [0, chunks), in any order on any thread; returns when all are done.
/// Called from inside a task it runs in place. The first exception of a task is rethrown after the others
/// have finished.
void run_chunks(int64_t chunks, FunctionRef<void(int64_t)> task);

/// Flushes denormals in this thread while it lives, as the pool does for its tasks.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned saved_;
};

}  // namespace lux
