// The GPU that the drivers of tensor/parallel.h see in a build with LUX_CUDA_EMULATED: blocks of threads that
// run one after the other on the CPU, each thread a fiber that waits where its team has to come together. Its
// memory can be touched only while a kernel or a copy runs, so whatever else reaches for it dies on the spot.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

// The words of CUDA C++, as far as the drivers use them; their names are CUDA's.
// NOLINTBEGIN(bugprone-reserved-identifier, readability-identifier-naming)
#define __global__
#define __device__
#define __launch_bounds__(threads, blocks)
// NOLINTEND(bugprone-reserved-identifier, readability-identifier-naming)

namespace lux::emulated_gpu {

struct Index {
  unsigned x = 0;
};
inline Index thread_index, block_index, grid_size;

/// A kernel with its arguments, as the device has it: a copy.
struct Kernel {
  virtual ~Kernel() = default;
  virtual void operator()() const = 0;
};
template <class F>
struct KernelOf final : Kernel {
  explicit KernelOf(F f) : f(std::move(f)) {}
  void operator()() const override { f(); }
  F f;
};

/// Runs a kernel in `blocks` blocks of `threads` threads; while a graph is recorded it is written down
/// instead.
void run(unsigned blocks, unsigned threads, std::unique_ptr<Kernel> kernel);
template <class F>
void run(unsigned blocks, unsigned threads, F kernel) {
  run(blocks, threads, std::unique_ptr<Kernel>(std::make_unique<KernelOf<F>>(std::move(kernel))));
}

/// Waits until the 16 threads of this team are all here, and returns what the one called `thread` brought.
uint64_t exchange(uint64_t bits, unsigned thread);

/// Kernels run so far, those of graphs included.
int64_t launches();
/// Graphs launched so far.
int64_t graph_launches();
/// The kernel that is the `countdown`-th from now on goes wrong while it runs: it does nothing, and nobody is
/// told before the next wait; from then on every request fails, until the driver is set again. 0: none. Also
/// $LUX_EMULATED_FAULT, from the start.
void fail_kernel(int64_t countdown);
/// Whether it has kernels of float64, as builds for gradcheck have; $LUX_EMULATED_F64=0 plays one that has
/// not.
bool has_double();
/// Whether an address is one of its memory.
bool holds(const void* address);
/// Blocks of its memory that were written beyond their end, among those given back so far.
int64_t overruns();

}  // namespace lux::emulated_gpu

#define threadIdx (::lux::emulated_gpu::thread_index)
#define blockIdx (::lux::emulated_gpu::block_index)
#define gridDim (::lux::emulated_gpu::grid_size)

// NOLINTBEGIN(bugprone-reserved-identifier, readability-identifier-naming)
template <class A>
A __shfl_xor_sync(unsigned, A value, int mask, int) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(A));
  bits = lux::emulated_gpu::exchange(bits, threadIdx.x ^ static_cast<unsigned>(mask));
  std::memcpy(&value, &bits, sizeof(A));
  return value;
}
// NOLINTEND(bugprone-reserved-identifier, readability-identifier-naming)
