// Host memory: a caching allocator with 64-byte aligned blocks, byte counters, a cap, and hooks for tests.
//
// Freed blocks are kept for reuse, because fresh mappings cost page faults on every training step. A block is
// rounded up by at most a sixteenth, below a kilobyte to the next multiple of 64 bytes. From 1 MiB on it is
// mapped, so that giving it back does give it back, and may be cut from a larger free one; smaller ones come
// from `malloc`, whose own bookkeeping is not counted. Rounding and cache together, the bytes taken from the
// system exceed the peak of the live bytes by at most 8 % (`set_slack`), and 64 bytes for every small block.
#pragma once

#include <cstdint>

namespace lux::memory {

struct Stats {
  int64_t live = 0;         ///< bytes in use now, as requested
  int64_t peak = 0;         ///< highest `live` since the start or `reset_peak`
  int64_t reserved = 0;     ///< bytes taken from the system: live blocks with their rounding, and the cache
  int64_t allocations = 0;  ///< requests so far
  int64_t overruns = 0;  ///< freed blocks whose guard bytes were overwritten (only with `TestLayout::guard`)
};

Stats stats();
/// Sets `peak` to the live bytes of now.
void reset_peak();
/// Upper limit for `live`; 0 means none. Beyond it `allocate` throws OutOfMemory.
void set_cap(int64_t bytes);
/// Gives every cached block back to the system.
void trim();
/// By how many percent of the peak of the live bytes those taken from the system may exceed it; kSlack at the
/// start. With as much again a work that repeats itself, such as a film, finds all its blocks in the cache.
inline constexpr int64_t kSlack = 8;
void set_slack(int64_t percent);

/// One allocation: `data` is what the caller uses, `base` what the cache knows.
struct Block {
  void* data = nullptr;
  void* base = nullptr;
  int64_t bytes = 0;
  int64_t padding = 0;
};

/// Uninitialised bytes aligned to 64. Throws OutOfMemory. Thread-safe.
Block allocate(int64_t bytes);
void deallocate(const Block& block) noexcept;

/// How tests disturb the layout of blocks allocated from now on.
struct TestLayout {
  bool guard = false;  ///< put guard bytes around every block, checked when it is freed
  int shift = 0;       ///< move `data` off its alignment by this many bytes (multiple of 8, below 64)
};
void set_test_layout(TestLayout layout);
/// Lets the `countdown`-th allocation from now throw OutOfMemory (1 = the next); 0 turns it off.
void fail_allocation(int64_t countdown);

}  // namespace lux::memory
