// A heap for tests: counts what `new` hands out, and lets one allocation fail. To be included by one source
// of an executable, because it replaces the global operators.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace heap {

inline std::atomic<int64_t> countdown{0};  ///< the allocation that fails (1 = the next), 0 for none
inline std::atomic<int64_t> live{0};       ///< blocks in use
inline std::atomic<int64_t> bytes{0};      ///< bytes in use
inline std::atomic<int64_t> peak{0};       ///< highest `bytes` since it was last set

constexpr size_t kHead = alignof(std::max_align_t);  // in front of each block, holds its size

inline void* allocate(size_t size) {
  if (countdown > 0 && --countdown == 0) return nullptr;
  auto* const base = static_cast<std::byte*>(std::malloc(kHead + size));
  if (base == nullptr) return nullptr;
  new (base) size_t(size);
  ++live;
  const int64_t now = bytes += static_cast<int64_t>(size);
  int64_t highest = peak;
  while (now > highest && !peak.compare_exchange_weak(highest, now)) {
  }
  return base + kHead;
}

// Where GCC 12 inlines one of the operators but not the other, it warns of a mismatch.
[[gnu::noinline]] inline void release(void* memory) {
  if (memory == nullptr) return;
  std::byte* const base = static_cast<std::byte*>(memory) - kHead;
  --live;
  bytes -= static_cast<int64_t>(*std::launder(reinterpret_cast<size_t*>(base)));
  std::free(base);
}

}  // namespace heap

void* operator new(size_t size) {
  if (void* const memory = heap::allocate(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return heap::allocate(size); }
void operator delete(void* memory) noexcept { heap::release(memory); }
void operator delete(void* memory, size_t) noexcept { heap::release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { heap::release(memory); }
