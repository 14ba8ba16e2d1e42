// The words that the tuned kernels are written in, and the one place that knows how they are launched. A
// kernel is a struct whose call operator is run by every thread of its blocks, 256 each. nvcc compiles it for
// the device; the tests compile the same text as C++, with tests/cuda_emulator.h in the place of this
// header's first half.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_launch.h"
#include "luxgrad/tensor/dtype.h"
#include "luxgrad/tensor/parallel.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#define LUX_DEVICE __device__ __forceinline__
#define LUX_SHARED __shared__
#define LUX_UNROLL _Pragma("unroll")

namespace lux::cuda {

inline constexpr int kThreads = 256;

/// An array that the threads of a block share, declared as `LUX_SHARED Shared<float, 256> sums`.
template <class T, int n>
struct Shared {
  T items[n];
  LUX_DEVICE T& operator[](int64_t index) { return items[index]; }
};

LUX_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
LUX_DEVICE int64_t block_index() { return blockIdx.x; }
LUX_DEVICE void sync_threads() { __syncthreads(); }
/// The value of the thread of this warp whose number differs in the bits of `mask`. All threads call it.
LUX_DEVICE float shuffle_xor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
LUX_DEVICE void check_aligned(const void*) {}

/// Blocks that a multiprocessor has room for at least; 0: as many as ptxas guesses. Where its guess would
/// spill registers, a kernel names a number. On sm_90 no guess does, and the number would only cost room.
template <class Kernel>
constexpr int blocks_per_processor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
  constexpr bool guess_is_good = true;
#else
  constexpr bool guess_is_good = false;
#endif
  if constexpr (requires { Kernel::kBlocksPerProcessor; })
    return guess_is_good ? 0 : Kernel::kBlocksPerProcessor;
  else
    return 0;
}

template <class Kernel>
__global__ void __launch_bounds__(kThreads, blocks_per_processor<Kernel>())
    run(const __grid_constant__ Kernel kernel) {
  kernel();
}

template <class Kernel>
void begin(int64_t blocks, const Kernel& kernel) {
  run<<<static_cast<unsigned>(blocks), kThreads, 0, static_cast<cudaStream_t>(stream())>>>(kernel);
}
constexpr bool has_driver() { return true; }

}  // namespace lux::cuda
#elif !defined(LUX_CUDA_EMULATOR)
#error "compiled by nvcc, or with tests/cuda_emulator.h included first"
#else
#define LUX_UNROLL
#endif

namespace lux::cuda {

using detail::blocks_of;

/// Runs kernel() in every thread of `blocks` blocks. Throws Error where the device does not take it.
template <class Kernel>
void launch(int64_t blocks, const Kernel& kernel) {
  check(blocks >= 1 && blocks <= INT32_MAX, "kernel: expected 1 to ", INT32_MAX, " blocks, got ", blocks);
  begin(blocks, kernel);
  if (has_driver()) check_launch(gpu::kernel_name<Kernel>(), blocks * kThreads, "threads");
}

/// Blocks for one thread per item.
inline int64_t blocks_for(int64_t items) { return blocks_of(items, kThreads); }
LUX_DEVICE int64_t global_index() { return block_index() * kThreads + thread_index(); }

/// Elements that one access of 16 bytes moves.
template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

/// Neighbouring elements in registers.
template <int L>
struct Lanes {
  float values[L] = {};
  LUX_DEVICE float& operator[](int i) { return values[i]; }
  LUX_DEVICE const float& operator[](int i) const { return values[i]; }
};

struct alignas(16) Wide {
  uint32_t words[4];
};

/// 16 bytes that no thread writes while the kernel runs.
LUX_DEVICE Wide load_wide(const void* address) {
  check_aligned(address);
#if defined(__CUDACC__)
  const uint4 raw = __ldg(static_cast<const uint4*>(address));
  return {{raw.x, raw.y, raw.z, raw.w}};
#else
  Wide wide;
  std::memcpy(&wide, address, sizeof(wide));
  return wide;
#endif
}

/// The same of memory that this thread, and no other, writes.
LUX_DEVICE Wide load_changing_wide(const void* address) {
  check_aligned(address);
#if defined(__CUDACC__)
  const uint4 raw = *static_cast<const uint4*>(address);
  return {{raw.x, raw.y, raw.z, raw.w}};
#else
  Wide wide;
  std::memcpy(&wide, address, sizeof(wide));
  return wide;
#endif
}

LUX_DEVICE void store_wide(void* address, const Wide& wide) {
  check_aligned(address);
#if defined(__CUDACC__)
  *static_cast<uint4*>(address) = {wide.words[0], wide.words[1], wide.words[2], wide.words[3]};
#else
  std::memcpy(address, &wide, sizeof(wide));
#endif
}

/// The numbers in 16 bytes.
template <int L, class T>
LUX_DEVICE Lanes<L> unpacked(const Wide& wide) {
  static_assert(L == kWide<T>);
  Lanes<L> result;
  LUX_UNROLL
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      result[i] = std::bit_cast<float>(wide.words[i]);
    } else {
      result[2 * i] = std::bit_cast<float>(wide.words[i] << 16);
      result[2 * i + 1] = std::bit_cast<float>(wide.words[i] & 0xffff0000u);
    }
  }
  return result;
}

/// L elements from p on: 1, or kWide of them at a multiple of 16 bytes.
template <int L, class T>
LUX_DEVICE Lanes<L> load(const T* p) {
  if constexpr (L == 1)
    return {{static_cast<float>(*p)}};
  else
    return unpacked<L, T>(load_wide(p));
}

/// `load` of elements that this thread, and no other, writes.
template <int L, class T>
LUX_DEVICE Lanes<L> load_changing(const T* p) {
  if constexpr (L == 1)
    return {{static_cast<float>(*p)}};
  else
    return unpacked<L, T>(load_changing_wide(p));
}

template <int L, class T>
LUX_DEVICE void store(T* p, const Lanes<L>& values) {
  if constexpr (L == 1) {
    *p = T(values[0]);
  } else {
    static_assert(L == kWide<T>);
    Wide wide;
    LUX_UNROLL
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == 4) {
        wide.words[i] = std::bit_cast<uint32_t>(values[i]);
      } else {
        wide.words[i] = bf16(values[2 * i]).bits | static_cast<uint32_t>(bf16(values[2 * i + 1]).bits) << 16;
      }
    }
    store_wide(p, wide);
  }
}

/// f(T{}) for the dtypes that there are tuned kernels of, and whether it took the problem, which it does
/// where it returns nothing; false for the other dtypes.
template <class F>
bool dispatch_tuned(DType dtype, const F& f) {
  const auto taken = [&f](auto t) {
    if constexpr (std::is_void_v<decltype(f(t))>) {
      f(t);
      return true;
    } else {
      return f(t);
    }
  };
  if (dtype == DType::f32) return taken(float{});
  if (dtype == DType::bf16) return taken(bf16{});
  return false;
}

/// f(lanes) with kWide<T> lanes where `channels` are a multiple of them, else with one.
template <class T, class F>
void with_lanes(int64_t channels, const F& f) {
  if (channels % kWide<T> == 0)
    f(std::integral_constant<int, kWide<T>>{});
  else
    f(std::integral_constant<int, 1>{});
}

/// f(lanes) with kWide<T> lanes where all sizes are multiples of them, else with one.
template <class T, class F>
void with_common_lanes(std::initializer_list<int64_t> sizes, const F& f) {
  int64_t rest = 0;
  for (const int64_t size : sizes) rest |= size % kWide<T>;
  with_lanes<T>(rest == 0 ? kWide<T> : 1, f);
}

}  // namespace lux::cuda
