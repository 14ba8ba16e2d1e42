// The thread pool of the process: numbered chunks that do not know their thread, so results cannot depend on
// the thread count.
//
// Each thread begins with its own share of the chunks, which are neighbours, and then helps the others.
// A worker spins for at most 20 µs after its last chunk, then sleeps. While chunks run, denormals are flushed
// to zero in every participating thread (a quarter of a trained network's weights can be denormal, and each
// costs a microcode assist); the caller's floating-point mode is restored afterwards.
#pragma once

#include <cstdint>

#include "luxgrad/tensor/function_ref.h"

namespace lux {

inline constexpr int kMaxThreads = 256;

/// Threads used by the next parallel section, the caller included. Default: `LUX_THREADS`, else the CPUs this
/// process may use (affinity and cgroup quota). Throws Error when `LUX_THREADS` is not a number of threads.
int num_threads();
/// Throws Error below 1, above kMaxThreads, and inside a task. If the system refuses a thread, fewer are
/// used.
void set_num_threads(int threads);

/// Runs `task(chunk)` for every chunk in [0, chunks), in any order on any thread; returns when all are done.
/// Called from inside a task it runs in place. The first exception of a task is rethrown after the others
/// have finished.
void run_chunks(int64_t chunks, FunctionRef<void(int64_t)> task);

/// How many sections of several chunks have begun so far, on any thread: tests ask it whether there was
/// anything to divide.
int64_t divided_sections();

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
