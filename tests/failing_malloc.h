// Every allocation of the process for tests: counts the blocks in use, and lets the k-th fail, alone or with
// all that follow. Stands in the place of the C library's malloc, so that nothing is missed: `new`, the
// tensors' cache, zlib, threads, folders. Where a sanitizer needs that place, it stands in that of `new`
// only. To be included by one source of an executable.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "instrumented.h"

namespace heap {

inline std::atomic<int64_t> live{0};   ///< blocks in use
inline std::atomic<int64_t> left{-1};  ///< allocations until one fails; -1: none will
inline std::atomic<bool> lasting{false};
inline std::atomic<int64_t> failures{0};  ///< since `fail_allocation`

/// Lets the k-th allocation from now fail (1 = the next), and all after it where `forever`.
inline void fail_allocation(int64_t k, bool forever) {
  failures = 0;
  lasting = forever;
  left = k;
}
inline void fail_none() { left = -1; }

/// Whether this allocation may succeed.
inline bool permitted() {
  for (int64_t now = left; now >= 0;) {
    if (now == 0) return !lasting || (++failures, false);
    if (!left.compare_exchange_weak(now, now - 1)) continue;
    if (now > 1) return true;
    ++failures;
    return false;
  }
  return true;
}

inline void* counted(void* block) {
  if (block != nullptr) ++live;
  return block;
}

}  // namespace heap

#ifdef LUX_SANITIZED

void* operator new(size_t size) {
  if (void* const block = heap::permitted() ? heap::counted(std::malloc(size)) : nullptr) return block;
  throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return heap::permitted() ? heap::counted(std::malloc(size)) : nullptr;
}
void operator delete(void* block) noexcept {
  if (block != nullptr) --heap::live;
  std::free(block);
}
void operator delete(void* block, size_t) noexcept { operator delete(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { operator delete(block); }

#else

extern "C" {

// NOLINTBEGIN(bugprone-reserved-identifier): the C library's own, behind the names that are replaced here
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* block);
// NOLINTEND(bugprone-reserved-identifier)

static void* refused() {
  errno = ENOMEM;
  return nullptr;
}

void* malloc(size_t size) noexcept {
  return heap::permitted() ? heap::counted(__libc_malloc(size)) : refused();
}
void* calloc(size_t count, size_t size) noexcept {
  return heap::permitted() ? heap::counted(__libc_calloc(count, size)) : refused();
}
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return heap::permitted() ? heap::counted(__libc_memalign(alignment, size)) : refused();
}
void* realloc(void* block, size_t size) noexcept {
  if (!heap::permitted()) return refused();
  void* const moved = __libc_realloc(block, size);
  if (block == nullptr) heap::counted(moved);
  if (block != nullptr && size == 0) --heap::live;
  return moved;
}
void free(void* block) noexcept {
  if (block != nullptr) --heap::live;
  __libc_free(block);
}

}  // extern "C"

#endif
