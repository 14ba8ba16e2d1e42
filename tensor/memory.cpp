#include "luxgrad/tensor/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "luxgrad/tensor/error.h"

namespace lux::memory {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kPage = int64_t{64} << 10;   // blocks of mappings are so many of these
constexpr int64_t kMapped = int64_t{1} << 20;  // from here on a block is mapped
constexpr int64_t kGuardBytes = 128;           // before and after; leaves room for TestLayout::shift
constexpr unsigned char kGuardByte = 0xA5;
constexpr int64_t kMost = int64_t{1} << 60;  // no system has more, and sums of sizes below do not overflow

void to_system(void* block, int64_t bytes) noexcept {
  if (bytes >= kMapped)
    munmap(block, static_cast<size_t>(bytes));
  else
    std::free(block);
}

// Free memory of mappings. Maps of one size seldom follow each other in a network of several scales: a block
// is cut from a larger one, and is joined with its free neighbours when it comes back.
class Extents {
 public:
  int64_t bytes() const { return bytes_; }

  // Of the smallest that is large enough; null where none is.
  void* take(int64_t bytes) noexcept {
    const auto found = by_size_.lower_bound({bytes, nullptr});
    if (found == by_size_.end()) return nullptr;
    const auto [size, start] = *found;
    remove(start, size);
    insert(start + bytes, size - bytes);
    return start;
  }

  // Where there is no memory for notes, the system gets it.
  void give(void* block, int64_t bytes) noexcept {
    auto* start = static_cast<char*>(block);
    const auto next = by_address_.lower_bound(start);
    if (next != by_address_.begin()) {
      if (const auto [before, size] = *std::prev(next); before + size == start) {
        remove(before, size);
        start = before;
        bytes += size;
      }
    }
    if (const auto after = by_address_.find(start + bytes); after != by_address_.end()) {
      const int64_t size = after->second;
      remove(after->first, size);
      bytes += size;
    }
    insert(start, bytes);
  }

  // Gives back to the system: the smallest first, which serve fewest. `bytes` is a multiple of kPage.
  void release(int64_t bytes) noexcept {
    while (bytes > 0 && !by_size_.empty()) {
      const auto [size, start] = *by_size_.begin();
      const int64_t part = std::min(size, bytes);
      remove(start, size);
      munmap(start + size - part, static_cast<size_t>(part));
      insert(start, size - part);
      bytes -= part;
    }
  }

 private:
  void insert(char* start, int64_t bytes) noexcept {
    if (bytes == 0) return;
    try {
      by_address_.emplace(start, bytes);
      by_size_.emplace(bytes, start);
      bytes_ += bytes;
    } catch (...) {
      by_address_.erase(start);
      munmap(start, static_cast<size_t>(bytes));
    }
  }
  void remove(char* start, int64_t bytes) noexcept {
    by_address_.erase(start);
    by_size_.erase({bytes, start});
    bytes_ -= bytes;
  }

  std::map<char*, int64_t> by_address_;
  std::set<std::pair<int64_t, char*>> by_size_;
  int64_t bytes_ = 0;
};

// Pages, and below a mapping sixteen steps per power of two: waste at most 1/16.
constexpr int64_t step_of(int64_t bytes) {
  const auto sixteenth = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(bytes))) / 16;
  return std::clamp(sixteenth, kAlignment, kPage);
}

int64_t rounded(int64_t bytes) {
  const int64_t step = step_of(bytes);
  return (bytes + step - 1) / step * step;
}

// The free blocks of one rounded size, below a mapping; their links stand in the blocks.
struct FreeList {
  void* first = nullptr;
  int64_t bytes = 0;  // of a block
};

// Which of the rounded sizes that is.
constexpr size_t rank_of(int64_t size) {
  const int64_t step = step_of(size);
  const int64_t doublings = std::countr_zero(static_cast<uint64_t>(step / kAlignment));
  return static_cast<size_t>(size / step + 16 * doublings);
}

// The allocator of the process: one mutex, because a block belongs to an operator or to one of its tiles,
// never to a pixel.
struct Cache {
  std::mutex mutex;
  Stats stats;  // but for what is reserved
  Extents extents;
  std::array<FreeList, rank_of(kMapped)> small;  // no notes, so that coming and going takes no memory
  int64_t small_bytes = 0;
  int64_t in_use = 0;  // rounded
  int64_t cap = 0;
  int64_t slack = kSlack;  // percent
  int64_t countdown = 0;
  TestLayout layout;

  int64_t cached() const { return extents.bytes() + small_bytes; }
};

Cache& cache() {
  static Cache* const cache = new Cache;  // never destroyed: tensors in static storage may outlive any order
  return *cache;
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

// The link in a free block to the next one.
void*& next_of(void* block) { return *static_cast<void**>(block); }

// Takes the first block off a list; null where there is none.
void* pop(Cache& c, FreeList& list) {
  void* const block = list.first;
  if (block == nullptr) return nullptr;
  c.small_bytes -= list.bytes;
  list.first = next_of(block);
  return block;
}

void push(Cache& c, FreeList& list, void* block, int64_t bytes) {
  next_of(block) = list.first;
  list = {block, bytes};
  c.small_bytes += bytes;
}

void* from_cache(Cache& c, int64_t size) {
  return size >= kMapped ? c.extents.take(size) : pop(c, c.small[rank_of(size)]);
}

// Frees what is cached, small blocks last and the largest of them first, until at most `keep` bytes remain.
void shrink(Cache& c, int64_t keep) {
  if (const int64_t excess = c.cached() - keep; excess > 0)
    c.extents.release((excess + kPage - 1) / kPage * kPage);
  for (size_t rank = c.small.size(); rank-- > 0 && c.cached() > keep;) {
    FreeList& list = c.small[rank];
    while (list.first != nullptr && c.cached() > keep) to_system(pop(c, list), list.bytes);
  }
}

void* take(Cache& c, int64_t bytes) {
  const int64_t size = rounded(bytes);
  void* block = from_cache(c, size);
  if (block == nullptr) {
    // Room for the cache: what the peak allows beyond the blocks in use.
    const int64_t allowed = c.stats.peak + c.stats.peak / 100 * c.slack;
    shrink(c, std::max<int64_t>(0, allowed - c.in_use - size));
    block = from_system(size);
  }
  if (block == nullptr) {
    shrink(c, 0);
    block = from_system(size);
  }
  if (block != nullptr) c.in_use += size;
  return block;
}

}  // namespace

Stats stats() {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  Stats stats = c.stats;
  stats.reserved = c.in_use + c.cached();
  return stats;
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

void set_slack(int64_t percent) {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  c.slack = percent;
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
  c.in_use -= size;
  size >= kMapped ? c.extents.give(block.base, size) : push(c, c.small[rank_of(size)], block.base, size);
}

}  // namespace lux::memory
