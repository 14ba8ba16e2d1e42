// tensor/memory.h: rounding, cache, counters, cap, and what tests may disturb.
#include "luxgrad/tensor/memory.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "failing_new.h"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/random.h"

using namespace lux;

namespace {

std::string error_of(int64_t bytes) {
  try {
    memory::deallocate(memory::allocate(bytes));
  } catch (const OutOfMemory& error) {
    return error.what();
  }
  return "no error";
}

bool is_aligned(const void* data, uintptr_t to) { return reinterpret_cast<uintptr_t>(data) % to == 0; }

}  // namespace

TEST_CASE("blocks are aligned, counted, and rounded up by at most a sixteenth") {
  memory::trim();
  Generator generator(1, "sizes");
  for (int i = 0; i < 300; ++i) {
    const auto bytes = static_cast<int64_t>(generator.below(uint64_t{1} << (1 + i % 23)));
    const memory::Stats before = memory::stats();
    const memory::Block block = memory::allocate(bytes);
    const memory::Stats with = memory::stats();
    CHECK(is_aligned(block.data, 64));
    if (bytes > 0) std::memset(block.data, 1, static_cast<size_t>(bytes));
    CHECK(with.live - before.live == bytes);
    CHECK(with.peak >= with.live);
    CHECK(with.allocations - before.allocations == 1);
    CHECK(with.reserved - before.reserved <= bytes + bytes / 16 + 64);
    memory::deallocate(block);
    CHECK(memory::stats().live == before.live);
    memory::trim();
    CHECK(memory::stats().reserved == before.reserved);
  }
}

TEST_CASE("what is counted of large blocks is what is mapped, and given back") {
  const auto mapped_bytes = [] {
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages * sysconf(_SC_PAGESIZE);
  };
  memory::deallocate(memory::allocate(int64_t{1} << 20));  // what the counting itself needs once
  memory::trim();
  mapped_bytes();
  for (const int64_t bytes :
       {int64_t{1} << 20, (int64_t{4} << 20) + 1, int64_t{5} << 20, int64_t{37} << 20}) {
    const int64_t before = mapped_bytes(), reserved = memory::stats().reserved;
    const memory::Block block = memory::allocate(bytes);
    CHECK(mapped_bytes() - before == memory::stats().reserved - reserved);
    CHECK(memory::stats().reserved - reserved <= bytes + bytes / 16);
    if (bytes >= int64_t{4} << 20) CHECK(is_aligned(block.data, uintptr_t{2} << 20));
    std::memset(block.data, 1, static_cast<size_t>(bytes));
    memory::deallocate(block);
    memory::trim();
    CHECK(mapped_bytes() == before);
  }
}

TEST_CASE("a freed block is used again") {
  const memory::Block first = memory::allocate(100000);
  memory::deallocate(first);
  const int64_t reserved = memory::stats().reserved;
  const memory::Block second = memory::allocate(100001);  // rounds to the same size
  CHECK(second.data == first.data);
  CHECK(memory::stats().reserved == reserved);
  memory::deallocate(second);
}

TEST_CASE("blocks that come and go take nothing else from the system, and leave nothing behind") {
  const int64_t live = heap::live;
  for (int64_t bytes = 1; bytes < 1'000'000; bytes += bytes / 40 + 1) {
    memory::deallocate(memory::allocate(bytes));
    heap::countdown = 1;  // the next `new` would count it down
    memory::deallocate(memory::allocate(bytes));
    CHECK(heap::countdown == 1);
    heap::countdown = 0;
  }
  CHECK(heap::live == live);
}

TEST_CASE("small blocks are cut from a large free one, which is whole again when they are back") {
  constexpr int64_t kMiB = int64_t{1} << 20;
  memory::trim();
  memory::reset_peak();
  const memory::Block whole = memory::allocate(12 * kMiB);
  memory::deallocate(whole);
  const int64_t reserved = memory::stats().reserved;
  memory::Block parts[3];
  for (memory::Block& part : parts) part = memory::allocate(4 * kMiB);
  CHECK(parts[0].data == whole.data);
  CHECK(memory::stats().reserved == reserved);
  for (const int i : {0, 2, 1}) memory::deallocate(parts[i]);
  const memory::Block again = memory::allocate(12 * kMiB);
  CHECK(again.data == whole.data);
  CHECK(memory::stats().reserved == reserved);
  memory::deallocate(again);
}

TEST_CASE("whatever the cache holds, the system lends at most 8 % more than the peak") {
  memory::trim();
  memory::reset_peak();
  Generator generator(2, "sequence");
  std::vector<memory::Block> live;
  int64_t worst_permille = 0, blocks_at_most = 0;
  for (int i = 0; i < 20000; ++i) {
    // Few, then many, then few blocks; sizes over three orders of magnitude.
    const uint64_t wanted = i % 4000 < 2000 ? 40 : 4;
    if (live.size() < wanted && generator.below(3) != 0) {
      live.push_back(
          memory::allocate(static_cast<int64_t>(1000 + generator.below(uint64_t{1} << (10 + i % 11)))));
    } else if (!live.empty()) {
      const size_t victim = generator.below(live.size());
      std::swap(live[victim], live.back());
      memory::deallocate(live.back());
      live.pop_back();
    }
    const memory::Stats now = memory::stats();
    blocks_at_most = std::max(blocks_at_most, static_cast<int64_t>(live.size()));
    if (now.peak > 0) worst_permille = std::max(worst_permille, (now.reserved - 64 * 40) * 1000 / now.peak);
  }
  CHECK(blocks_at_most == 40);
  CHECK(worst_permille <= 1080);
  CHECK(worst_permille > 1000);  // the cache was used
  for (const memory::Block& block : live) memory::deallocate(block);
}

TEST_CASE("the cap refuses, says why, and leaves no trace") {
  const memory::Stats before = memory::stats();
  memory::set_cap(before.live + 1000);
  const memory::Block block = memory::allocate(900);
  CHECK(error_of(101) == cat("memory: 101 bytes more than the ", before.live + 900,
                             " in use would exceed the cap of ", before.live + 1000));
  CHECK(memory::stats().live == before.live + 900);
  CHECK(error_of(100) == "no error");
  memory::deallocate(block);
  memory::set_cap(0);
  CHECK(memory::stats().live == before.live);
}

TEST_CASE("what no system has is refused without a trace") {
  const memory::Stats before = memory::stats();
  CHECK(error_of(INT64_MAX) == cat("memory: no system has ", INT64_MAX, " bytes"));
  CHECK(error_of(int64_t{1} << 56).find("memory: the system has no 72057594037927936 bytes left") == 0);
  CHECK(memory::stats().live == before.live);
  CHECK(memory::stats().peak == before.peak);
}

TEST_CASE("a chosen allocation fails, and only that one") {
  for (int64_t countdown = 1; countdown <= 5; ++countdown) {
    const int64_t live = memory::stats().live;
    memory::fail_allocation(countdown);
    std::vector<memory::Block> blocks;
    bool failed = false;
    try {
      for (int i = 0; i < 5; ++i) blocks.push_back(memory::allocate(10));
    } catch (const OutOfMemory&) {
      failed = true;
    }
    CHECK(failed);
    CHECK(static_cast<int64_t>(blocks.size()) == countdown - 1);
    for (const memory::Block& block : blocks) memory::deallocate(block);
    CHECK(memory::stats().live == live);
    CHECK(error_of(10) == "no error");
  }
  memory::fail_allocation(1);
  memory::fail_allocation(0);
  CHECK(error_of(10) == "no error");
}

TEST_CASE("guard bytes notice a write on either side, and shift moves the data") {
  for (const int shift : {0, 8, 56}) {
    for (const int64_t at : {int64_t{-1}, int64_t{-64}, int64_t{100}, int64_t{163}}) {
      memory::set_test_layout({.guard = true, .shift = shift});
      const memory::Block block = memory::allocate(100);
      memory::set_test_layout({});
      CHECK(is_aligned(static_cast<char*>(block.data) - shift, 64));
      const int64_t overruns = memory::stats().overruns;
      static_cast<char*>(block.data)[at] = 1;
      memory::deallocate(block);
      CHECK(memory::stats().overruns == overruns + 1);
    }
    memory::set_test_layout({.guard = true, .shift = shift});
    const memory::Block block = memory::allocate(100);
    const int64_t overruns = memory::stats().overruns;
    std::memset(block.data, 1, 100);
    memory::deallocate(block);
    memory::set_test_layout({});
    CHECK(memory::stats().overruns == overruns);
  }
}

TEST_CASE("threads may allocate at once") {
  const int64_t live = memory::stats().live;
  std::vector<std::thread> threads;
  std::vector<int> corrupt(4);
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([t, &corrupt] {
      Generator generator(t, "threads");
      for (int i = 0; i < 2000; ++i) {
        const auto bytes = static_cast<int64_t>(1 + generator.below(5000));
        const memory::Block block = memory::allocate(bytes);
        std::memset(block.data, static_cast<int>(t), static_cast<size_t>(bytes));
        corrupt[t] += static_cast<unsigned char*>(block.data)[bytes / 2] != t;
        memory::deallocate(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : corrupt) CHECK(count == 0);
  CHECK(memory::stats().live == live);
}
