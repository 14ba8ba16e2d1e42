#include "luxgrad/tools/stages.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "luxgrad/tensor/blocked_signals.h"

namespace lux {
namespace {

class StageRun {
 public:
  StageRun(size_t jobs, int loaders, int workers, int savers, const Stages& stages)
      : jobs_(jobs), stages_(stages), done_(jobs, Step::none) {
    const BlockedSignals blocked;
    const std::lock_guard all_there(mutex_);
    try {
      for (int i = 0; i < loaders; ++i, ++loaders_) start([this] { load_all(); });
      for (int i = 0; i < savers; ++i, ++savers_) start([this] { save_all(); });
      for (int i = 0; i < workers && workers > 1; ++i, ++workers_) start([this] { work_all(); });
    } catch (const std::system_error&) {  // fewer, or none
    } catch (const std::bad_alloc&) {
    }
  }
  StageRun(const StageRun&) = delete;
  StageRun& operator=(const StageRun&) = delete;

  ~StageRun() {
    stop();
    for (std::thread& thread : threads_) thread.join();
  }

  /// The caller's part. What no thread does is done here.
  void run() {
    if (workers_ == 0) work_all();
    report_what_is_done(true);
  }

 private:
  enum class Step : unsigned char { none, loaded, worked, saved };

  template <class F>
  void start(F work) {
    threads_.emplace_back([this, work] {
      try {
        { const std::lock_guard until_all_are_there(mutex_); }
        work();
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (error_ == nullptr) error_ = std::current_exception();
        stop_locked();
      }
    });
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stop_locked();
  }

  void stop_locked() {
    stopping_ = true;
    changed_.notify_all();
    stages_.stop();
  }

  /// Waits, and throws what a thread has thrown; whether the work goes on.
  template <class F>
  bool wait_until(F ready) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || ready(); });
    if (error_ != nullptr) std::rethrow_exception(error_);
    return !stopping_;
  }

  void load_all() {
    for (;;) {
      size_t job = 0;
      {
        std::unique_lock lock(mutex_);
        if (to_load_ == jobs_) return;
        job = to_load_++;
        changed_.wait(lock, [&] { return stopping_ || job < worked_ + at_work() + 2 * loaders_; });
        if (stopping_) return;
      }
      stages_.load(job);
      set(job, Step::loaded);
    }
  }

  /// In threads of their own, or in the caller's, which then reports in between.
  void work_all() {
    for (;;) {
      size_t job = 0;
      {
        const std::lock_guard turn(turn_);
        if (begun_ == jobs_) return;
        job = begun_++;
        if (loaders_ == 0) stages_.load(job);
        if (loaders_ == 0) set(job, Step::loaded);
        const bool goes_on = wait_until([&] {
          return done_[job] == Step::loaded && (savers_ == 0 || job - saved_ < savers_ + 1 + at_work());
        });
        if (!goes_on) return;
        stages_.begin(job);
      }
      stages_.work(job);
      set(job, Step::worked);
      if (savers_ == 0) stages_.save(job);
      if (savers_ == 0) set(job, Step::saved);
      if (workers_ == 0) report_what_is_done(false);
    }
  }

  void save_all() {
    for (;;) {
      size_t job = 0;
      {
        std::unique_lock lock(mutex_);
        if (to_save_ == jobs_) return;
        job = to_save_++;
        changed_.wait(lock, [&] { return stopping_ || done_[job] == Step::worked; });
        if (stopping_) return;
      }
      stages_.save(job);
      set(job, Step::saved);
    }
  }

  void set(size_t job, Step step) {
    {
      const std::lock_guard lock(mutex_);
      done_[job] = step;
      if (step == Step::worked) ++worked_;
      if (step == Step::saved) ++saved_;
    }
    changed_.notify_all();
  }

  void report_what_is_done(bool wait) {
    for (; reported_ < jobs_; ++reported_) {
      const auto ready = [&] { return done_[reported_] == Step::saved; };
      if (wait) wait_until(ready);
      {
        const std::lock_guard lock(mutex_);
        if (!ready()) return;
      }
      stages_.report(reported_);
    }
  }

  /// How many jobs may be at work.
  size_t at_work() const { return std::max<size_t>(1, workers_); }

  size_t jobs_;
  const Stages& stages_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Step> done_;
  size_t to_load_ = 0, worked_ = 0, to_save_ = 0, saved_ = 0, reported_ = 0;
  std::mutex turn_;  // of the worker that begins a job
  size_t begun_ = 0;
  size_t loaders_ = 0, workers_ = 0, savers_ = 0;
  bool stopping_ = false;     // no new job begins
  std::exception_ptr error_;  // the first of a thread
  std::vector<std::thread> threads_;
};

}  // namespace

void run_stages(size_t jobs, int loaders, int workers, int savers, const Stages& stages) {
  if (jobs == 1) loaders = savers = 0;
  StageRun(jobs, loaders, jobs == 1 ? 1 : workers, savers, stages).run();
}

}  // namespace lux
