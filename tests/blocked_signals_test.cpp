// Who starts a thread gets its own signals back, also where the start fails; threads get none.
#include "luxgrad/tensor/blocked_signals.h"

#include <doctest/doctest.h>

#include <atomic>
#include <new>
#include <thread>

#include "failing_new.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/loader.h"
#include "luxgrad/tensor/thread_pool.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

bool is_blocked(int signal) {
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  return sigismember(&now, signal) == 1;
}

// A thread needs memory for what it runs, so without memory its start fails.
template <class F>
bool fails_without_memory(const F& start) {
  heap::countdown = 1;
  bool failed = false;
  try {
    start();
  } catch (const std::bad_alloc&) {
    failed = true;
  }
  heap::countdown = 0;
  return failed;
}

}  // namespace

TEST_CASE("signals other than faults are blocked in its scope, and what was blocked before stays so") {
  sigset_t quit;
  sigemptyset(&quit);
  sigaddset(&quit, SIGQUIT);
  pthread_sigmask(SIG_BLOCK, &quit, nullptr);
  {
    const BlockedSignals blocked;
    CHECK(is_blocked(SIGINT));
    CHECK_FALSE(is_blocked(SIGILL));
  }
  CHECK_FALSE(is_blocked(SIGINT));
  CHECK(is_blocked(SIGQUIT));
  pthread_sigmask(SIG_UNBLOCK, &quit, nullptr);
}

TEST_CASE("the pool's threads see no signals, and a failed start leaves the caller's alone") {
  const int threads = num_threads();
  set_num_threads(3);
  CHECK_FALSE(fails_without_memory([] { run_chunks(8, [](int64_t) {}); }));
  CHECK(num_threads() == 1);  // nobody but the caller
  CHECK_FALSE(is_blocked(SIGINT));

  set_num_threads(3);
  std::atomic<int> started = 0, wrong = 0;
  run_chunks(2, [&, caller = std::this_thread::get_id()](int64_t) {
    for (++started; started < 2;) std::this_thread::yield();  // so that each has a thread of its own
    wrong += is_blocked(SIGINT) == (std::this_thread::get_id() == caller) ? 1 : 0;
  });
  CHECK(wrong == 0);
  CHECK_FALSE(is_blocked(SIGINT));
  set_num_threads(threads);
}

TEST_CASE("a loader whose thread cannot start leaves the caller's signals alone") {
  const TemporaryFolder folder;
  save_image((folder.path() / "gray.png").string(), from_tensor(full({1, 8, 8, 3}, 0.5)));
  Loader loader(unpaired_folder(folder.path()), {.batch_size = 1, .size = 8});
  CHECK(fails_without_memory([&] { loader.next(); }));
  CHECK_FALSE(is_blocked(SIGINT));
  CHECK(loader.next().low.shape() == Shape{1, 8, 8, 3});
  CHECK_FALSE(is_blocked(SIGINT));
}
