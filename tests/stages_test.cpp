// tools/stages.h and tools/memory_at_work.h: many jobs in stages, and the memory that they share.
#include "luxgrad/tools/stages.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tools/memory_at_work.h"

using namespace lux;

namespace {

constexpr int64_t kRoom = 100;

/// Counts as MemoryAtWork should, from outside: never less than is held.
class Held {
 public:
  void add(int64_t bytes) {
    const int64_t now = bytes_ += bytes;
    int64_t most = most_;
    while (most < now && !most_.compare_exchange_weak(most, now)) {
    }
  }
  int64_t now() const { return bytes_; }
  int64_t most() const { return most_; }

 private:
  std::atomic<int64_t> bytes_ = 0, most_ = 0;
};

/// Jobs of any size, some of which need nothing; all are done, whatever the numbers of threads.
void run_within_room(uint64_t seed, int loaders, int workers, int savers) {
  constexpr size_t kJobs = 60;
  Generator random{seed};
  std::vector<int64_t> most(kJobs), later(kJobs);
  for (size_t i = 0; i < kJobs; ++i) {
    most[i] = std::max<int64_t>(0, static_cast<int64_t>(random.below(kRoom + 20)) - 20);
    later[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(most[i]) + 1));
  }
  MemoryAtWork memory(kJobs, kRoom);
  Held held;
  size_t reported = 0;
  run_stages(kJobs, loaders, workers, savers,
             {.load =
                  [&](size_t i) {
                    if (most[i] == 0) return memory.release(i);
                    memory.reserve(i, most[i]);
                    held.add(most[i]);
                  },
              .begin = [](size_t) {},
              .work =
                  [&](size_t i) {
                    held.add(later[i] - most[i]);
                    memory.release(i, later[i]);
                  },
              .save =
                  [&](size_t i) {
                    held.add(-later[i]);
                    memory.release(i);
                  },
              .report = [&](size_t) { ++reported; },
              .stop = [&] { memory.stop(); }});
  CHECK(reported == kJobs);
  CHECK(held.now() == 0);
  CHECK(held.most() <= kRoom);
  CHECK(held.most() > kRoom / 2);
}

}  // namespace

TEST_CASE("jobs never hold more than there is room for, and all of them come to their end") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    for (const int workers : {1, 3}) {
      run_within_room(seed, 0, workers, 0);
      run_within_room(seed, 1, workers, 1);
      run_within_room(seed, 3, workers, 2);
    }
  }
}

TEST_CASE("what is more than the room is done alone") {
  MemoryAtWork memory(3, kRoom);
  memory.reserve(0, kRoom / 2);
  std::atomic<bool> alone = false, both = false;
  std::thread large([&] {
    memory.reserve(1, 3 * kRoom);
    both = !alone;
  });
  alone = true;  // from here on
  memory.release(0);
  large.join();
  CHECK_FALSE(both);
  memory.release(1, kRoom);
  memory.release(1);
  memory.reserve(2, 1);
}

TEST_CASE("whoever wants more is not kept waiting by those behind it") {
  MemoryAtWork memory(2, kRoom);
  memory.reserve(0, 1);
  memory.reserve(1, kRoom - 1);
  memory.reserve(0, kRoom);  // returns
  memory.release(0);
  memory.release(1);
}

TEST_CASE("a stage that fails ends jobs that wait for memory, too") {
  constexpr size_t kJobs = 8;
  for (const int threads : {1, 3}) {
    MemoryAtWork memory(kJobs, kRoom);
    CHECK_THROWS_WITH_AS(run_stages(kJobs, threads, threads, 0,
                                    {.load = [&](size_t i) { memory.reserve(i, kRoom); },
                                     .begin = [](size_t) {},
                                     .work = [](size_t) {},
                                     .save = [](size_t) {},
                                     .report = [](size_t) { throw Error("no report"); },
                                     .stop = [&] { memory.stop(); }}),
                         "no report", Error);
  }
}
