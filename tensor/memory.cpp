#include "luxgrad/tensor/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "luxgrad/tensor/error.h"

namespace lux::memory {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kMapped = int64_t{1} << 20;  // from here on a block is a mapping of its own
constexpr int64_t kGuardBytes = 128;           // before and after; leaves room for TestLayout::shift
constexpr unsigned char kGuardByte = 0xA5;
constexpr int64_t kMost = int64_t{1} << 60;  // no system has more, and sums of sizes below do not overflow

// The allocator of the process: one mutex, because a block belongs to an operator or to one of its tiles,
// never to a pixel.
struct Cache {
  std::mutex mutex;
  Stats stats;
  std::map<int64_t, void*> free;  // by rounded size, the first of a list whose links stand in the blocks
  int64_t cached = 0;
  int64_t cap = 0;
  int64_t countdown = 0;
  TestLayout layout;
};

Cache& cache() {
  static Cache* const cache = new Cache;  // never destroyed: tensors in static storage may outlive any order
  return *cache;
}

// Sixteen steps per power of two: waste at most 1/16.
int64_t rounded(int64_t bytes) {
  const int64_t step =
      std::max(kAlignment, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(bytes))) / 16);
  return (bytes + step - 1) / step * step;
}

void* map(int64_t bytes) {
  void* const start =
      mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return start == MAP_FAILED ? nullptr : start;
}

// Exactly `bytes`, a multiple of 4 KiB, on a border of huge pages: what was mapped around it goes back.
void* map_aligned(int64_t bytes) {
  auto* const start = static_cast<char*>(map(bytes + kHugePage));
  if (start == nullptr) return nullptr;
  const auto before = static_cast<size_t>(-reinterpret_cast<intptr_t>(start) & (kHugePage - 1));
  char* const block = start + before;
  if (before > 0) munmap(start, before);
  if (before < kHugePage) munmap(block + bytes, static_cast<size_t>(kHugePage) - before);
  madvise(block, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return block;
}

// `bytes` is rounded, as in `to_system`.
void* from_system(int64_t bytes) {
  if (bytes >= 2 * kHugePage) return map_aligned(bytes);
  return bytes >= kMapped ? map(bytes) : std::aligned_alloc(kAlignment, static_cast<size_t>(bytes));
}

void to_system(void* block, int64_t bytes) {
  if (bytes >= kMapped)
    munmap(block, static_cast<size_t>(bytes));
  else
    std::free(block);
}

// The link in a free block to the next one.
void*& next_of(void* block) { return *static_cast<void**>(block); }

// Takes the first block off a list of the cache.
void* pop(Cache& c, std::map<int64_t, void*>::iterator list) {
  void* const block = list->second;
  c.cached -= list->first;
  list->second = next_of(block);
  if (list->second == nullptr) c.free.erase(list);
  return block;
}

// Frees cached blocks, largest first, until at most `keep` bytes remain cached.
void shrink(Cache& c, int64_t keep) {
  while (c.cached > keep) {
    const auto largest = std::prev(c.free.end());
    const int64_t bytes = largest->first;
    to_system(pop(c, largest), bytes);
    c.stats.reserved -= bytes;
  }
}

void* take(Cache& c, int64_t bytes) {
  const int64_t size = rounded(bytes);
  if (const auto found = c.free.find(size); found != c.free.end()) return pop(c, found);
  // Room for the cache: what the peak allows beyond the blocks in use.
  const int64_t allowed = c.stats.peak + c.stats.peak / 100 * 12;
  shrink(c, std::max<int64_t>(0, allowed - (c.stats.reserved - c.cached) - size));
  void* block = from_system(size);
  if (block == nullptr) {
    shrink(c, 0);
    block = from_system(size);
  }
  if (block != nullptr) c.stats.reserved += size;
  return block;
}

}  // namespace

Stats stats() {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  return c.stats;
}

void reset_peak() {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  c.stats.peak = c.stats.live;
}

void set_cap(int64_t bytes) {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  c.cap = bytes;
}

void trim() {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  shrink(c, 0);
}

void set_test_layout(TestLayout layout) {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  c.layout = layout;
}

void fail_allocation(int64_t countdown) {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  c.countdown = countdown;
}

Block allocate(int64_t bytes) {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  ++c.stats.allocations;
  if (c.countdown > 0 && --c.countdown == 0)
    throw OutOfMemory("memory: allocation failed on request of a test");
  if (c.cap > 0 && bytes > c.cap - c.stats.live) {
    throw OutOfMemory(cat("memory: ", bytes, " bytes more than the ", c.stats.live,
                          " in use would exceed the cap of ", c.cap));
  }
  if (bytes > kMost) throw OutOfMemory(cat("memory: no system has ", bytes, " bytes"));
  Block block{nullptr, nullptr, bytes, c.layout.guard || c.layout.shift != 0 ? kGuardBytes : 0};
  const int64_t peak_before = c.stats.peak;
  c.stats.live += bytes;
  c.stats.peak = std::max(c.stats.peak, c.stats.live);
  block.base = take(c, std::max<int64_t>(bytes, 1) + 2 * block.padding);
  if (block.base == nullptr) {
    c.stats.live -= bytes;
    c.stats.peak = peak_before;
    throw OutOfMemory(cat("memory: the system has no ", bytes, " bytes left (", c.stats.live, " in use)"));
  }
  auto* const start = static_cast<unsigned char*>(block.base);
  block.data = start;
  if (block.padding > 0) {
    std::memset(start, kGuardByte, static_cast<size_t>(bytes + 2 * block.padding));
    block.data = start + block.padding + c.layout.shift;
  }
  return block;
}

void deallocate(const Block& block) noexcept {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  if (block.padding > 0) {
    const auto* const start = static_cast<const unsigned char*>(block.base);
    const auto* const data = static_cast<const unsigned char*>(block.data);
    const auto intact = [](const unsigned char* b, const unsigned char* e) {
      return std::all_of(b, e, [](unsigned char byte) { return byte == kGuardByte; });
    };
    const unsigned char* const end = start + block.bytes + 2 * block.padding;
    if (!intact(start, data) || !intact(data + block.bytes, end)) ++c.stats.overruns;
  }
  const int64_t size = rounded(std::max<int64_t>(block.bytes, 1) + 2 * block.padding);
  c.stats.live -= block.bytes;
  try {
    void*& first = c.free[size];
    next_of(block.base) = first;
    first = block.base;
    c.cached += size;
  } catch (...) {  // no memory for a list of this size: give the block back
    to_system(block.base, size);
    c.stats.reserved -= size;
  }
}

}  // namespace lux::memory
