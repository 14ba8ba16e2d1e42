// Three stages of many jobs at the same time: while one picture is enhanced, the next are read and the last
// are written.
#pragma once

#include <cstddef>

#include "luxgrad/tensor/function_ref.h"

namespace lux {

struct Stages {
  FunctionRef<void(size_t)> load;    ///< of any number of jobs at the same time
  FunctionRef<void(size_t)> begin;   ///< one job after the other, in their order; may wait for work under way
  FunctionRef<void(size_t)> work;    ///< what began; of as many jobs at the same time as there are workers
  FunctionRef<void(size_t)> save;    ///< as load
  FunctionRef<void(size_t)> report;  ///< in the caller's thread, in the order of the jobs
  FunctionRef<void()> stop;          ///< no new job begins: a stage that waits for another job waits no more
};

/// Runs each job through the stages, in `loaders` and `savers` threads beside the caller's; of several
/// `workers` each has a thread, else the caller does their part. While as many jobs as there are workers are
/// at work, at most 2·loaders are loaded or being loaded, and savers + 1 wait for their save or are in it.
/// Where the system has no more threads or memory for them, those that there are do the work. Throws what a
/// stage throws, the first where several do; by then no job is at work any more, and those that had not begun
/// never will.
void run_stages(size_t jobs, int loaders, int workers, int savers, const Stages& stages);

}  // namespace lux
