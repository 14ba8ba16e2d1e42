// How the drivers of tensor/parallel.h reach the GPU: the one place that knows launch syntax. In sources that
// the CUDA compiler compiles a kernel becomes a loop over a grid; in all others a device is refused.
//
// In a build with LUX_CUDA_EMULATED the same loops run on the CPU, thread by thread (tensor/emulated_gpu.h),
// so that tests see them without a GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "luxgrad/tensor/dtype.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#include "luxgrad/tensor/cuda.h"
#elif defined(LUX_CUDA_EMULATED)
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/emulated_gpu.h"
#endif

namespace lux::gpu {

inline constexpr int kLanes = 16;  // of a team, as of the sums of the CPU

/// `lux::{anonymous}::Forward<float>`
template <class F>
std::string_view kernel_name() {
  std::string_view text = __PRETTY_FUNCTION__;
  if (const size_t begin = text.find("F = "); begin != text.npos) text.remove_prefix(begin + 4);
  return text.substr(0, text.find_first_of(";]"));
}

/// Whether this is being compiled to run on the GPU.
#if defined(__CUDA_ARCH__) || defined(LUX_CUDA_EMULATED)
inline constexpr bool kHere = true;
#else
inline constexpr bool kHere = false;
#endif

/// What the threads of a team make of their values together; all of them get it.
template <class A, class Join>
LUX_HD A joined(A value, [[maybe_unused]] const Join& join) {
#if defined(__CUDA_ARCH__) || defined(LUX_CUDA_EMULATED)
  const unsigned team = 0xffffu << (threadIdx.x & 16u);  // within its warp
  for (int width = kLanes / 2; width > 0; width /= 2)
    value = join(value, __shfl_xor_sync(team, value, width, kLanes));
#endif
  return value;
}

#if defined(__CUDACC__) || defined(LUX_CUDA_EMULATED)

inline constexpr int kThreads = 128;  // of a block: eight teams
inline constexpr int kBlocksPerProcessor =
    4;  // at least: 128 registers per thread, and no spills to save some
inline constexpr int64_t kMostBlocks = 1 << 16;

/// Whether a kernel stores float64, as its template arguments say: `Forward<double>`. Only builds for
/// gradcheck have those on the GPU.
template <class F>
inline constexpr bool kStoresDouble = std::is_same_v<F, double>;
template <template <class...> class Kernel, class... Parts>
inline constexpr bool kStoresDouble<Kernel<Parts...>> = (kStoresDouble<Parts> || ...);
template <template <class, auto...> class Kernel, class Part, auto first, auto... more>
inline constexpr bool kStoresDouble<Kernel<Part, first, more...>> = kStoresDouble<Part>;
template <template <auto, class...> class Kernel, auto first, class... Parts>
inline constexpr bool kStoresDouble<Kernel<first, Parts...>> = (kStoresDouble<Parts> || ...);

/// The same, but for kernels that say that every build has them: conversions, and those that write a few
/// numbers only.
template <class F>
constexpr bool needs_double() {
  if constexpr (requires { F::kInEveryBuild; })
    return false;
  else
    return kStoresDouble<F>;
}

#ifdef LUX_CUDA_F64
inline constexpr bool kWithDouble = true;
#else
inline constexpr bool kWithDouble = false;
#endif

template <class F>
[[noreturn]] void refuse_double() {
  fail("cuda: this build has no f64 kernels for the GPU (LUX_CUDA_F64=ON builds them): ", kernel_name<F>());
}

__device__ inline int64_t thread() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }
__device__ inline int64_t threads() { return int64_t{gridDim.x} * kThreads; }

template <class F>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor) call_each(int64_t n, F f) {
  for (int64_t i = thread(); i < n; i += threads()) f(i);
}

template <class Team, class F>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor) call_rows(int64_t rows, F f) {
  const Team team{static_cast<int>(threadIdx.x % kLanes), kLanes};
  for (int64_t row = thread() / kLanes; row < rows; row += threads() / kLanes) f(team, row);
}

template <class F>
void launch(void (*kernel)(int64_t, F), int64_t calls, int threads_per_call, const F& f) {
  if (calls == 0) return;
#ifdef LUX_CUDA_EMULATED
  if (needs_double<F>() && !emulated_gpu::has_double()) refuse_double<F>();
#endif
  const int64_t wanted = (calls * threads_per_call + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(std::min(wanted, kMostBlocks));
#ifdef __CUDACC__
  kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(cuda::stream())>>>(calls, f);
#else
  emulated_gpu::run(blocks, kThreads, [=] { kernel(calls, f); });
#endif
  cuda::check_launch(kernel_name<F>(), calls);
}

/// f(i) for i in [0, n), in threads of the GPU.
template <class F>
void each(int64_t n, const F& f) {
  if constexpr (needs_double<F>() && !kWithDouble)
    refuse_double<F>();
  else
    launch(&call_each<F>, n, 1, f);
}

/// f(team, row) for row in [0, n), in teams of threads of the GPU.
template <class Team, class F>
void rows(int64_t n, const F& f) {
  if constexpr (needs_double<F>() && !kWithDouble)
    refuse_double<F>();
  else
    launch(&call_rows<Team, F>, n, kLanes, f);
}

#else

template <class F>
void each(int64_t, const F&) {
  fail("cuda: this kernel was built for the CPU only");
}
template <class Team, class F>
void rows(int64_t, const F&) {
  fail("cuda: this kernel was built for the CPU only");
}

#endif

}  // namespace lux::gpu
