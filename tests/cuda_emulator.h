// Runs the kernels of kernels/cuda/ without a GPU and without its compiler: the sources are compiled as C++
// with this header in the place of the CUDA runtime, and every thread of a block is a fiber. It is stricter
// than a GPU: what a device would forgive by luck is an Error here.
//
//   a barrier missing       an element of shared memory is touched by two threads, one of them writing, and
//                           no barrier between (a shuffle is none, within a warp neither); or results differ
//                           from one order of the threads to another
//   a barrier divided       not all threads of a block, or of a warp, reach it
//   memory never written    shared memory is read before anybody wrote it
//   outside of bounds       of shared memory here; of other buffers by their guard bytes or by ASan
//   a vector off its place  an access of 16 bytes at an address that is no multiple of 16
#pragma once

#include <cstddef>
#include <cstdint>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/function_ref.h"
#ifdef LUX_CUDA_PLAYED
#include "luxgrad/tensor/emulated_gpu.h"
#endif

#define LUX_CUDA_EMULATOR
#define LUX_DEVICE inline
#define LUX_SHARED static  // blocks run one after another; every block finds it as if nobody had written it

namespace lux::emulator {

/// In which order blocks, and threads between two barriers, take their turns.
enum class Order : uint8_t { forward, backward, random };
void set_order(Order order, uint64_t seed = 0);

/// Where the CPU plays a device (tensor/emulated_gpu.h): whether kernels run there, as one of its threads,
/// which can touch its memory and which its graphs record. What they do wrong ends the program then. Off at
/// first.
void set_on_device(bool on);
bool is_on_device();

/// Kernels run since the program began.
int64_t launches();

/// Runs a kernel of `blocks` blocks of `threads` threads, a multiple of 32. Throws Error for what is listed
/// above.
void run(int64_t blocks, int threads, FunctionRef<void()> kernel);

int thread_index();
int64_t block_index();
void sync_threads();
float shuffle_xor(float value, int mask);
/// Throws Error if an access of `bytes` bytes at `address` is not aligned.
void check_aligned(const void* address, size_t bytes);

/// What the threads of a block did to an element of shared memory.
struct Cell {
  struct Access {
    int thread = -1;
    uint64_t interval = 0;  // barriers of the block before it
  };
  uint64_t block = 0;  // that the rest is about
  bool written = false;
  Access writer, reader;
  bool several_readers = false;  // since the last barrier
};
/// Throw Error where another thread did something to the cell that no barrier keeps apart.
void on_read(Cell& cell, size_t index);
void on_write(Cell& cell, size_t index);
void check_index(int64_t index, size_t size);

}  // namespace lux::emulator

namespace lux::cuda {

inline constexpr int kThreads = 256;

using emulator::block_index;
using emulator::shuffle_xor;
using emulator::sync_threads;
using emulator::thread_index;

/// An array that the threads of a block share. Every access is watched.
template <class T, int n>
class Shared {
 public:
  class Element {
   public:
    Element(Shared& array, size_t index) : array_(array), index_(index) {}
    operator T() const {  // NOLINT(google-explicit-constructor): reads as an element does
      emulator::on_read(array_.cells_[index_], index_);
      return array_.items_[index_];
    }
    Element& operator=(T value) {
      emulator::on_write(array_.cells_[index_], index_);
      array_.items_[index_] = value;
      return *this;
    }
    Element& operator=(const Element& other) { return *this = T(other); }
    Element(const Element&) = default;

   private:
    Shared& array_;
    size_t index_;
  };

  Element operator[](int64_t index) {
    emulator::check_index(index, n);
    return {*this, static_cast<size_t>(index)};
  }

 private:
  T items_[n] = {};
  emulator::Cell cells_[n] = {};
};

inline void check_aligned(const void* address) { emulator::check_aligned(address, 16); }

template <class Kernel>
void begin(int64_t blocks, const Kernel& kernel) {
#ifdef LUX_CUDA_PLAYED
  if (emulator::is_on_device()) {
    emulated_gpu::run(1, 16, [blocks, kernel] {  // one team, the least there is
      if (threadIdx.x == 0) emulator::run(blocks, kThreads, [&kernel] { kernel(); });
    });
    return;
  }
#endif
  emulator::run(blocks, kThreads, [&kernel] { kernel(); });
}
/// Whether there is somebody to ask what became of a launch: the device that the CPU plays, or a test's.
inline bool has_driver() { return absence().empty(); }

}  // namespace lux::cuda
