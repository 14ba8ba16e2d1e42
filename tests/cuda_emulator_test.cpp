// The emulator notices what kernels do wrong, whatever the order of the threads. Every kernel here is small
// and wrong in one way.
#include "cuda_emulator.h"
//
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "luxgrad/kernels/cuda/launch.cuh"
#include "luxgrad/kernels/cuda/sums.cuh"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/tensor.h"
#include "scopes.h"

using namespace lux;
using namespace lux::cuda;

namespace {

// Reverses blocks of 256 numbers through shared memory.
struct Reverse {
  const float* x;
  float* y;
  bool with_barrier = true;
  int past = 0;  // elements that it writes outside of y

  void operator()() const {
    LUX_SHARED Shared<float, kThreads> block;
    block[thread_index()] = x[global_index()];
    if (with_barrier) sync_threads();
    y[global_index() + past] = block[kThreads - 1 - thread_index()];
  }
};

struct SumOfBlock {
  const float* x;
  float* y;
  void operator()() const {
    float sums[2] = {x[global_index()], 1};
    block_sum(sums);
    if (thread_index() == 0) y[block_index()] = sums[0] / sums[1];
  }
};

struct Divided {
  bool shuffle;
  void operator()() const {
    if (thread_index() == 77) return;
    if (shuffle)
      shuffle_xor(1, 1);
    else
      sync_threads();
  }
};

struct Unwritten {
  float* y;
  void operator()() const {
    LUX_SHARED Shared<float, 2> pair;
    if (thread_index() == 0) pair[0] = 1;
    sync_threads();
    if (thread_index() == 0) y[block_index()] = pair[block_index() == 0 ? 0 : 1];
  }
};

struct OutsideOfShared {
  void operator()() const {
    LUX_SHARED Shared<float, kThreads> block;
    block[thread_index() + 1] = 1;
  }
};

// A thread writes what another has read since the last barrier.
struct WriteAfterRead {
  float* y;
  void operator()() const {
    LUX_SHARED Shared<float, 1> one;
    if (thread_index() == 0) one[0] = 1;
    sync_threads();
    y[global_index()] = one[0];
    if (thread_index() == 100) one[0] = 2;
  }
};

// A shuffle moves values between threads of a warp, but orders nothing in memory.
struct WithinWarp {
  float* y;
  void operator()() const {
    LUX_SHARED Shared<float, kThreads> block;
    block[thread_index()] = 1;
    shuffle_xor(1, 1);
    y[global_index()] = block[thread_index() ^ 1];
  }
};

struct Misplaced {
  const float* x;
  void operator()() const { load_wide(x + 1); }
};

template <class Kernel>
std::string error_of(const Kernel& kernel, int64_t blocks = 2) {
  try {
    launch(blocks, kernel);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

bool says(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

struct Buffers {
  Tensor x = empty({2 * kThreads}), y = zeros({2 * kThreads});
  Buffers() {
    for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(i);
  }
};

// f() in every order of the threads.
template <class F>
void in_all_orders(const F& f) {
  for (const emulator::Order order :
       {emulator::Order::forward, emulator::Order::backward, emulator::Order::random}) {
    CAPTURE(static_cast<int>(order));
    emulator::set_order(order, 7);
    f();
  }
  emulator::set_order(emulator::Order::forward);
}

}  // namespace

TEST_CASE("blocks share memory, wait for each other and sum") {
  in_all_orders([] {
    const Buffers buffers;
    float* const x = buffers.x.data<float>();
    float* const y = buffers.y.data<float>();
    launch(2, Reverse{x, y});
    CHECK(y[0] == 255);
    CHECK(y[255] == 0);
    CHECK(y[256] == 511);
    launch(2, SumOfBlock{x, y});
    CHECK(y[0] == 127.5);
    CHECK(y[1] == 256 + 127.5);
  });
}

TEST_CASE("a planted missing barrier is noticed") {
  in_all_orders([] {
    const Buffers buffers;
    const std::string error = error_of(Reverse{buffers.x.data<float>(), buffers.y.data<float>(), false});
    CHECK_MESSAGE((says(error, "with no barrier between") || says(error, "nobody wrote")), error);
    CHECK(says(error_of(WithinWarp{buffers.y.data<float>()}), "kernel: thread"));
    const std::string late = error_of(WriteAfterRead{buffers.y.data<float>()});
    CHECK_MESSAGE(says(late, "with no barrier between"), late);
  });
}

TEST_CASE("planted writes out of bounds are noticed") {
  in_all_orders([] {
    CHECK(says(error_of(OutsideOfShared{}), "outside of shared memory: element 256 of 256"));
#if !defined(__SANITIZE_ADDRESS__)  // which ends the program there
    const int64_t overruns = memory::stats().overruns;
    {
      const Layout scope({.guard = true});
      const Buffers buffers;
      launch(2, Reverse{buffers.x.data<float>(), buffers.y.data<float>(), true, 1});
    }
    CHECK(memory::stats().overruns == overruns + 1);
#endif
  });
}

TEST_CASE("barriers and shuffles that not all threads reach are noticed") {
  in_all_orders([] {
    CHECK(error_of(Divided{false}) == "kernel: 1 of 256 threads do not come to a barrier");
    CHECK(error_of(Divided{true}) == "kernel: 1 of 32 threads of warp 2 do not come to a shuffle");
  });
}

TEST_CASE("memory of another block counts as unwritten, and wide accesses must be in place") {
  const Buffers buffers;
  CHECK(says(error_of(Unwritten{buffers.y.data<float>()}), "reads shared element 1 that nobody wrote"));
  CHECK(says(error_of(Misplaced{buffers.x.data<float>()}),
             "accesses 16 bytes at an address that is no multiple"));
}

TEST_CASE("a launch of no blocks is refused") {
  CHECK(error_of(Divided{}, 0) == "kernel: expected 1 to 2147483647 blocks, got 0");
}
