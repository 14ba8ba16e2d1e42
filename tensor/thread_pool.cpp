#include "luxgrad/tensor/thread_pool.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <new>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "luxgrad/tensor/blocked_signals.h"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/many_at_work.h"

namespace lux {
namespace {

constexpr auto kSpin = std::chrono::microseconds(20);

thread_local bool inside_task = false;
std::atomic<int64_t> divided{0};
std::atomic<int> at_work{0};  // with work of their own

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Chunks that one thread begins with. The same part of a section as of the section before it, so that a
// thread finds in its cache what it has just written there.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

// One parallel section. Workers hold it by count, so it lives on the caller's stack.
struct Section {
  FunctionRef<void(int64_t)> task;
  Share* shares;
  int64_t count;  // of shares
  std::mutex error_mutex{};
  std::exception_ptr error{};

  // All shares in turn from `own` on: whoever is ready helps the others.
  void work(int64_t own) {
    const FlushDenormals flush;
    const bool outer = std::exchange(inside_task, true);
    for (int64_t i = 0; i < count; ++i) {
      Share& share = shares[(own + i) % count];
      for (int64_t chunk = share.next.fetch_add(1); chunk < share.end; chunk = share.next.fetch_add(1)) {
        try {
          task(chunk);
        } catch (...) {
          const std::lock_guard lock(error_mutex);
          if (error == nullptr) error = std::current_exception();
        }
      }
    }
    inside_task = outer;
  }
};

class ThreadPool {
 public:
  ThreadPool() : wanted_(default_threads()) {}

  ~ThreadPool() { stop(); }

  int threads() const {
    check(wanted_ > 0, "LUX_THREADS: expected 1 to ", kMaxThreads, ", got ", std::getenv("LUX_THREADS"));
    return wanted_.load();
  }

  void resize(int threads) {
    check(threads >= 1 && threads <= kMaxThreads, "threads: expected 1 to ", kMaxThreads, ", got ", threads);
    check(!inside_task, "threads: cannot be changed by a task");
    const std::lock_guard lock(owner_);
    stop();
    wanted_ = threads;
  }

  void run(int64_t chunks, FunctionRef<void(int64_t)> task) {
    if (chunks > 1) divided.fetch_add(1, std::memory_order_relaxed);
    Share all{0, chunks};
    Section section{task, &all, 1};
    std::unique_lock<std::mutex> owner;
    if (chunks > 1 && !inside_task && at_work.load(std::memory_order_relaxed) < 2)
      owner = std::unique_lock(owner_, std::try_to_lock);
    if (owner.owns_lock() && start()) {
      divide(chunks, section);
      publish(&section);
      section.work(0);
      retire();
    } else {  // nested, tiny, or other threads are at work: chunks do not care who runs them
      section.work(0);
    }
    if (section.error != nullptr) std::rethrow_exception(section.error);
  }

 private:
  // A share for each thread.
  void divide(int64_t chunks, Section& section) {
    section.shares = shares_;
    section.count = static_cast<int64_t>(workers_.size()) + 1;
    for (int64_t i = 0; i < section.count; ++i) {
      shares_[i].next = i * chunks / section.count;
      shares_[i].end = (i + 1) * chunks / section.count;
    }
  }

  // Starts the workers on first use; false when there is nobody but the caller.
  bool start() {
    while (static_cast<int>(workers_.size()) < wanted_ - 1) {
      const BlockedSignals blocked;
      try {
        const auto own = static_cast<int64_t>(workers_.size()) + 1;
        workers_.emplace_back([this, own, seen = generation_.load()] { serve(own, seen); });
      } catch (const std::system_error&) {
        go_on_with_half();
      } catch (const std::bad_alloc&) {
        go_on_with_half();
      }
    }
    return !workers_.empty();
  }

  // The stacks of those that there are may have taken all memory, which the work needs, too.
  void go_on_with_half() {
    const auto started = static_cast<int>(workers_.size());
    stop();
    wanted_ = 1 + started / 2;
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
  }

  void publish(Section* section) {
    bool sleeping;
    {
      const std::lock_guard lock(mutex_);
      section_ = section;
      busy_.store(static_cast<int>(workers_.size()));
      generation_.fetch_add(1);
      sleeping = sleepers_ > 0;
    }
    if (sleeping) wake_.notify_all();
  }

  // Every worker reports once per generation, so the section may leave the stack afterwards.
  void retire() {
    const auto start = std::chrono::steady_clock::now();
    while (busy_.load() > 0) {
      relax();
      if (std::chrono::steady_clock::now() - start > kSpin) {
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return busy_.load() == 0; });
      }
    }
  }

  void serve(int64_t own, uint64_t seen) {
    for (;;) {
      const auto start = std::chrono::steady_clock::now();
      while (generation_.load() == seen && std::chrono::steady_clock::now() - start < kSpin) relax();
      Section* section;
      {
        std::unique_lock lock(mutex_);
        ++sleepers_;
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        --sleepers_;
        if (stopping_) return;
        seen = generation_.load();
        section = section_;
      }
      section->work(own);
      if (busy_.fetch_sub(1) == 1) {
        const std::lock_guard lock(mutex_);
        done_.notify_one();
      }
    }
  }

  // LUX_THREADS, else affinity capped by the cgroup's CPU quota; 0 where LUX_THREADS is no number of threads.
  // `threads` reports that, for the pool may be made before main, where nobody would catch it.
  static int default_threads() {
    if (const char* const text = std::getenv("LUX_THREADS"); text != nullptr && *text != '\0') {
      const std::string_view digits = text;
      int threads = 0;
      const auto [end, error] = std::from_chars(digits.begin(), digits.end(), threads);
      const bool sound =
          error == std::errc() && end == digits.end() && threads >= 1 && threads <= kMaxThreads;
      return sound ? threads : 0;
    }
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    std::ifstream limit("/sys/fs/cgroup/cpu.max");
    int64_t quota = 0, period = 0;
    if (limit >> quota >> period && quota > 0 && period > 0)
      cpus = std::min(cpus, static_cast<int>((quota + period - 1) / period));
    return std::clamp(cpus, 1, kMaxThreads);
  }

  Share shares_[kMaxThreads];  // of the section that runs
  std::mutex owner_;           // held by the thread whose section runs
  std::atomic<int> wanted_;
  std::vector<std::thread> workers_;

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Section* section_ = nullptr;
  int sleepers_ = 0;
  bool stopping_ = false;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> busy_{0};
};

ThreadPool& pool() {
  static ThreadPool pool;
  return pool;
}

}  // namespace

int num_threads() { return pool().threads(); }
void set_num_threads(int threads) { pool().resize(threads); }
int64_t divided_sections() { return divided.load(); }
void run_chunks(int64_t chunks, FunctionRef<void(int64_t)> task) { pool().run(chunks, task); }

ManyAtWork::ManyAtWork() { at_work.fetch_add(1); }
ManyAtWork::~ManyAtWork() { at_work.fetch_sub(1); }

#if defined(__x86_64__)
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }
FlushDenormals::~FlushDenormals() { _mm_setcsr(saved_); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() = default;
#endif

}  // namespace lux
