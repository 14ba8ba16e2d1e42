// Pictures of three channels for kernels with a thread per pixel. The 256 pixels of a block are 768 values:
// between memory and shared memory they travel by 16 bytes, and from there a thread takes its three, whose
// stride meets every bank once.
#pragma once

#include <cstdint>

#include "luxgrad/kernels/cuda/launch.cuh"

namespace lux::cuda {

inline constexpr int kBlockValues = 3 * kThreads;

/// f(i, lanes) for the packs of a block's values that this thread carries; with one lane where `aligned` is
/// false, and for what is left at the end of `count` values.
template <class T, class F>
LUX_DEVICE void each_pack_of_block(int64_t count, bool aligned, const F& f) {
  constexpr int kL = kWide<T>;
  for (int i = thread_index() * kL; aligned && i < kBlockValues && i + kL <= count; i += kThreads * kL)
    f(i, std::integral_constant<int, kL>{});
  const int64_t end = count < kBlockValues ? count : kBlockValues;
  for (int64_t i = (aligned ? end / kL * kL : 0) + thread_index(); i < end; i += kThreads)
    f(i, std::integral_constant<int, 1>{});
}

/// Rows of a picture may begin anywhere.
LUX_DEVICE bool is_wide(const void* address) { return reinterpret_cast<uintptr_t>(address) % 16 == 0; }

/// The colours of pixel `global_index()` of n pictures with `pixels` pixels each; unchanged past the end. All
/// threads call it, once in a kernel.
template <int n, class T>
LUX_DEVICE void read_pixels(const T* const* pictures, int64_t pixels, float (&colors)[n][3]) {
  LUX_SHARED Shared<float, n * kBlockValues> values;
  const int64_t first = block_index() * kBlockValues, count = 3 * pixels - first;
  LUX_UNROLL
  for (int k = 0; k < n; ++k) {
    const T* const from = pictures[k] + first;
    each_pack_of_block<T>(count, is_wide(from), [&](int64_t i, auto lanes) {
      const Lanes<lanes> pack = load<lanes>(from + i);
      for (int l = 0; l < lanes; ++l) values[k * kBlockValues + i + l] = pack[l];
    });
  }
  sync_threads();
  if (global_index() >= pixels) return;
  LUX_UNROLL
  for (int k = 0; k < n; ++k) {
    LUX_UNROLL
    for (int c = 0; c < 3; ++c) colors[k][c] = values[k * kBlockValues + 3 * thread_index() + c];
  }
}

/// Writes the colours of pixel `global_index()` to n pictures, but for those that are null. All threads call
/// it, once in a kernel; past the end they write nothing.
template <int n, class T>
LUX_DEVICE void write_pixels(T* const* pictures, int64_t pixels, const float (&colors)[n][3]) {
  LUX_SHARED Shared<float, n * kBlockValues> values;
  const int64_t first = block_index() * kBlockValues, count = 3 * pixels - first;
  LUX_UNROLL
  for (int k = 0; k < n; ++k) {
    LUX_UNROLL
    for (int c = 0; c < 3; ++c) values[k * kBlockValues + 3 * thread_index() + c] = colors[k][c];
  }
  sync_threads();
  LUX_UNROLL
  for (int k = 0; k < n; ++k) {
    if (pictures[k] == nullptr) continue;
    T* const to = pictures[k] + first;
    each_pack_of_block<T>(count, is_wide(to), [&](int64_t i, auto lanes) {
      Lanes<lanes> pack;
      for (int l = 0; l < lanes; ++l) pack[l] = values[k * kBlockValues + i + l];
      store(to + i, pack);
    });
  }
}

}  // namespace lux::cuda
