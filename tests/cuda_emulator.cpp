#include "cuda_emulator.h"

#include <ucontext.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <random>
#include <vector>

#include "luxgrad/tensor/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace lux::emulator {
namespace {

constexpr int kWarp = 32;
constexpr size_t kStack = 128 * 1024;

enum class State : uint8_t { ready, at_barrier, at_shuffle, done };

struct Fiber {
  ucontext_t context{};
  State state = State::ready;
  void* fake_stack = nullptr;  // of ASan
};

struct Warp {
  uint64_t step = 0;            // shuffles done
  float values[2][kWarp] = {};  // of this shuffle and of the one before, which may still be read
};

struct Machine {
  Order order = Order::forward;
  uint64_t seed = 0;
  int64_t launches = 0;

  int64_t block = 0;
  uint64_t blocks_run = 0, interval = 0;  // since the program began
  int current = 0;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::unique_ptr<char[]> stacks;
  size_t stacks_of = 0;
  ucontext_t scheduler{};
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_size = 0;
  FunctionRef<void()>* kernel = nullptr;
  std::exception_ptr error;
};
Machine machine;  // kernels run in one thread
bool on_device = false;

Fiber& current() { return machine.fibers[static_cast<size_t>(machine.current)]; }
Warp& warp() { return machine.warps[static_cast<size_t>(machine.current / kWarp)]; }

// ASan has to hear of every change of stacks.
void leave_for([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* stack,
               [[maybe_unused]] size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, stack, size);
#endif
}
void arrived([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** from,
             [[maybe_unused]] size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, from, size);
#endif
}

void to_scheduler() {
  Fiber& own = current();
  leave_for(own.state == State::done ? nullptr : &own.fake_stack, machine.scheduler_stack,
            machine.scheduler_stack_size);
  swapcontext(&own.context, &machine.scheduler);
  arrived(own.fake_stack, &machine.scheduler_stack, &machine.scheduler_stack_size);
}

void to_fiber(int thread) {
  machine.current = thread;
  void* fake_stack = nullptr;
  leave_for(&fake_stack, machine.stacks.get() + static_cast<size_t>(thread) * kStack, kStack);
  swapcontext(&machine.scheduler, &current().context);
  arrived(fake_stack, nullptr, nullptr);
}

void wait(State state) {
  current().state = state;
  to_scheduler();
}

void fiber_main() {
  arrived(nullptr, &machine.scheduler_stack, &machine.scheduler_stack_size);
  try {
    (*machine.kernel)();
  } catch (...) {
    machine.error = std::current_exception();
  }
  wait(State::done);
}

void begin_block(int threads) {
  const auto count = static_cast<size_t>(threads);
  if (machine.stacks_of < count) {
    machine.stacks = std::make_unique_for_overwrite<char[]>(count * kStack);
    machine.stacks_of = count;
  }
  ++machine.blocks_run;
  ++machine.interval;
  machine.fibers.assign(count, {});
  machine.warps.assign(count / kWarp, {});
  for (size_t i = 0; i < count; ++i) {
    ucontext_t& context = machine.fibers[i].context;
    getcontext(&context);
    context.uc_stack.ss_sp = machine.stacks.get() + i * kStack;
    context.uc_stack.ss_size = kStack;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
  }
}

int count(State state, size_t first, size_t size) {
  int found = 0;
  for (size_t i = first; i < first + size; ++i) found += machine.fibers[i].state == state ? 1 : 0;
  return found;
}

void release(size_t first, size_t size) {
  for (size_t i = first; i < first + size; ++i) machine.fibers[i].state = State::ready;
}

// Lets warps go whose threads all wait for a shuffle, and the block when all wait for the barrier.
void release_waiting() {
  const size_t threads = machine.fibers.size();
  bool progress = false;
  for (size_t w = 0; w < machine.warps.size(); ++w) {
    const int waiting = count(State::at_shuffle, w * kWarp, kWarp);
    if (waiting == 0) continue;
    check(waiting == kWarp, "kernel: ", kWarp - waiting, " of ", kWarp, " threads of warp ", w,
          " do not come to a shuffle");
    release(w * kWarp, kWarp);
    ++machine.warps[w].step;
    progress = true;
  }
  if (progress) return;
  const auto missing = static_cast<int>(threads) - count(State::at_barrier, 0, threads);
  check(missing == 0, "kernel: ", missing, " of ", threads, " threads do not come to a barrier");
  release(0, threads);
  ++machine.interval;
}

template <class Index>
void arrange(std::vector<Index>& turns, std::mt19937_64& generator) {
  if (machine.order == Order::backward) std::reverse(turns.begin(), turns.end());
  if (machine.order == Order::random) std::shuffle(turns.begin(), turns.end(), generator);
}

void run_block(std::mt19937_64& generator, int threads) {
  begin_block(threads);
  std::vector<int> turns(static_cast<size_t>(threads));
  for (size_t i = 0; i < turns.size(); ++i) turns[i] = static_cast<int>(i);
  arrange(turns, generator);
  while (true) {
    for (const int thread : turns) {
      if (machine.fibers[static_cast<size_t>(thread)].state != State::ready) continue;
      to_fiber(thread);
      if (machine.error) std::rethrow_exception(std::exchange(machine.error, nullptr));
    }
    if (count(State::done, 0, turns.size()) == threads) return;
    release_waiting();
  }
}

Cell::Access access_of_now() { return {machine.current, machine.interval}; }

// Whether nothing keeps an access of another thread apart from one that happens now.
bool races(const Cell::Access& before, const Cell::Access& now) {
  return before.thread >= 0 && before.thread != now.thread && before.interval == now.interval;
}

void begin_cell(Cell& cell) {
  if (cell.block == machine.blocks_run) return;
  cell = {};
  cell.block = machine.blocks_run;
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  machine.order = order;
  machine.seed = seed;
}

void set_on_device(bool on) { on_device = on; }
bool is_on_device() { return on_device; }

int64_t launches() { return machine.launches; }

void run(int64_t blocks, int threads, FunctionRef<void()> kernel) {
  check(threads >= kWarp && threads <= 1024 && threads % kWarp == 0,
        "kernel: expected up to 1024 threads in whole warps, got ", threads);
  ++machine.launches;
  machine.kernel = &kernel;
  std::mt19937_64 generator(machine.seed);
  std::vector<int64_t> turns(static_cast<size_t>(blocks));
  for (size_t i = 0; i < turns.size(); ++i) turns[i] = static_cast<int64_t>(i);
  arrange(turns, generator);
  for (const int64_t block : turns) {
    machine.block = block;
    run_block(generator, threads);
  }
  machine.kernel = nullptr;
}

int thread_index() { return machine.current; }
int64_t block_index() { return machine.block; }
void sync_threads() { wait(State::at_barrier); }

float shuffle_xor(float value, int mask) {
  float(&values)[kWarp] = warp().values[warp().step % 2];
  const int lane = machine.current % kWarp;
  values[lane] = value;
  wait(State::at_shuffle);
  return values[lane ^ mask];
}

void check_aligned(const void* address, size_t bytes) {
  check(reinterpret_cast<uintptr_t>(address) % bytes == 0, "kernel: thread ", machine.current, " accesses ",
        bytes, " bytes at an address that is no multiple of them");
}

void on_read(Cell& cell, size_t index) {
  begin_cell(cell);
  const Cell::Access now = access_of_now();
  check(cell.written, "kernel: thread ", now.thread, " reads shared element ", index, " that nobody wrote");
  check(!races(cell.writer, now), "kernel: thread ", now.thread, " reads shared element ", index,
        " that thread ", cell.writer.thread, " writes, with no barrier between");
  const bool first = cell.reader.thread < 0 || cell.reader.interval != now.interval;
  cell.several_readers = !first && (cell.several_readers || cell.reader.thread != now.thread);
  cell.reader = now;
}

void on_write(Cell& cell, size_t index) {
  begin_cell(cell);
  const Cell::Access now = access_of_now();
  check(!races(cell.writer, now), "kernel: threads ", cell.writer.thread, " and ", now.thread,
        " write shared element ", index, " with no barrier between");
  const Cell::Access& reader = cell.reader;
  const bool others = cell.several_readers && reader.interval == now.interval;
  check(!others && !races(reader, now), "kernel: thread ", now.thread, " writes shared element ", index,
        " that thread ", reader.thread, " or another reads, with no barrier between");
  cell.written = true;
  cell.writer = now;
}

void check_index(int64_t index, size_t size) {
  check(index >= 0 && index < static_cast<int64_t>(size), "kernel: thread ", machine.current,
        " is outside of shared memory: element ", index, " of ", size);
}

}  // namespace lux::emulator
