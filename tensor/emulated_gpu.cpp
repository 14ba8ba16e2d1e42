#include "luxgrad/tensor/emulated_gpu.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux::emulated_gpu {
namespace {

constexpr unsigned kTeam = 16;
constexpr size_t kStack = 256 * 1024;

// One lock of bytes for everything on the device: open while a kernel or a copy runs.
constexpr size_t kMemory = size_t{4} << 30, kAlignment = 256, kGuard = 256;  // of addresses
constexpr char kGuardByte = 0x5A;
struct Memory {
  char* start = nullptr;
  struct Block {
    size_t size, bytes;  // with what guards it, and without
  };
  std::map<size_t, Block> used;  // by offset
  int doors = 0;
  int64_t overruns = 0;
  size_t size = kMemory;  // or $LUX_EMULATED_MEMORY, in bytes
};
Memory memory;

void open_memory() {
  if (memory.doors++ == 0) mprotect(memory.start, kMemory, PROT_READ | PROT_WRITE);
}
void close_memory() {
  if (--memory.doors == 0) mprotect(memory.start, kMemory, PROT_NONE);
}

enum class State : uint8_t { ready, waiting, done };

// Threads come and go by the thousand, so a fiber runs one after the other, and leaves by a jump, which asks
// the system for nothing; a context is made and entered once.
struct Fiber {
  jmp_buf place{};
  State state = State::ready;
  uint64_t bits[2] = {};  // brought to this meeting, and to the one before, which others may still read
  unsigned meetings = 0;
  std::unique_ptr<char[]> stack;
};

struct Machine {
  std::vector<Fiber> fibers;
  jmp_buf scheduler{};
  FunctionRef<void()>* kernel = nullptr;
  unsigned current = 0;
  int64_t launches = 0;
};
Machine machine;

void leave(State state) {
  Fiber& own = machine.fibers[machine.current];
  own.state = state;
  if (_setjmp(own.place) == 0) _longjmp(machine.scheduler, 1);
}

void run_threads() {
  for (;;) {
    (*machine.kernel)();
    leave(State::done);
  }
}

[[noreturn]] void enter_first(Fiber& fiber) {
  fiber.stack = std::make_unique_for_overwrite<char[]>(kStack);
  ucontext_t context{};
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack.get();
  context.uc_stack.ss_size = kStack;
  makecontext(&context, run_threads, 0);
  setcontext(&context);
  fail("emulated gpu: a fiber does not start");
}

void resume(unsigned thread) {
  machine.current = thread;
  thread_index.x = thread;
  if (_setjmp(machine.scheduler) != 0) return;
  Fiber& fiber = machine.fibers[thread];
  if (fiber.stack == nullptr) enter_first(fiber);
  _longjmp(fiber.place, 1);
}

// Lets the threads of a team go on until all have met, again and again until all are done.
void run_team(unsigned first) {
  for (unsigned lane = 0; lane < kTeam; ++lane) machine.fibers[first + lane].state = State::ready;
  for (unsigned done = 0; done < kTeam;) {
    done = 0;
    for (unsigned lane = 0; lane < kTeam; ++lane) {
      if (machine.fibers[first + lane].state != State::done) resume(first + lane);
      done += machine.fibers[first + lane].state == State::done;
    }
    check(done == 0 || done == kTeam, "emulated gpu: only some threads of a team came to a meeting");
  }
}

}  // namespace

void run(unsigned blocks, unsigned threads, FunctionRef<void()> kernel) {
  if (machine.fibers.size() < threads) machine.fibers.resize(threads);
  machine.kernel = &kernel;
  ++machine.launches;
  grid_size.x = blocks;
  const FlushDenormals as_the_pool_does;
  open_memory();
  for (block_index.x = 0; block_index.x < blocks; ++block_index.x) {
    for (unsigned first = 0; first < threads; first += kTeam) run_team(first);
  }
  close_memory();
}

uint64_t exchange(uint64_t bits, unsigned thread) {
  Fiber& own = machine.fibers[machine.current];
  const unsigned meeting = own.meetings++ % 2;
  own.bits[meeting] = bits;
  leave(State::waiting);
  return machine.fibers[thread].bits[meeting];
}

int64_t launches() { return machine.launches; }
int64_t overruns() { return memory.overruns; }

namespace {

constexpr int kUnknown = 1, kExhausted = 2;

int start(void**) {
  if (memory.start != nullptr) return 0;
  void* const start = mmap(nullptr, kMemory, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return kExhausted;
  memory.start = static_cast<char*>(start);
  if (const char* const bytes = std::getenv("LUX_EMULATED_MEMORY"); bytes != nullptr)
    memory.size = std::min(kMemory, static_cast<size_t>(std::strtoull(bytes, nullptr, 10)));
  return 0;
}

int allocate(void** data, size_t bytes, void*) {
  const size_t size = (bytes + kGuard + kAlignment - 1) / kAlignment * kAlignment;
  size_t at = 0;  // the first gap that is large enough
  for (const auto& [offset, block] : memory.used) {
    if (offset - at >= size) break;
    at = offset + block.size;
  }
  if (at + size > memory.size) return kExhausted;
  memory.used[at] = {size, bytes};
  *data = memory.start + at;
  open_memory();
  std::memset(memory.start + at, kGuardByte,
              size);  // behind the block, and so that nobody trusts what is in it
  close_memory();
  return 0;
}

int release(void* data, void*) {
  const auto block = memory.used.find(static_cast<size_t>(static_cast<char*>(data) - memory.start));
  if (block == memory.used.end()) return kUnknown;
  const char* const begin = memory.start + block->first;
  open_memory();
  memory.overruns += std::any_of(begin + block->second.bytes, begin + block->second.size,
                                 [](char byte) { return byte != kGuardByte; });
  close_memory();
  memory.used.erase(block);
  return 0;
}

int copy(void* to, const void* from, size_t bytes, void*) {
  open_memory();
  std::memcpy(to, from, bytes);
  close_memory();
  return 0;
}

// Its stream never waits, so a mark is the time of the clock.
using Clock = std::chrono::steady_clock;

int mark(void** mark, void*) {
  *mark = new Clock::time_point(Clock::now());
  return 0;
}

int between(float* milliseconds, void* earlier, void* later) {
  *milliseconds = std::chrono::duration<float, std::milli>(*static_cast<Clock::time_point*>(later) -
                                                           *static_cast<Clock::time_point*>(earlier))
                      .count();
  return 0;
}

const cuda::Driver kDriver = {
    .start = start,
    .text_of = [](int error) { return error == kExhausted ? "out of memory" : "no block begins there"; },
    .allocate = allocate,
    .release = release,
    .trim = []() -> int { return 0; },
    .copy = copy,
    .synchronize = [](void*) -> int { return 0; },
    .last_error = []() -> int { return 0; },
    .mark = mark,
    .forget = [](void* mark) -> int { return delete static_cast<Clock::time_point*>(mark), 0; },
    .between = between,
    .out_of_memory = kExhausted,
    .is_real = false,
};

}  // namespace
}  // namespace lux::emulated_gpu

namespace lux::cuda {

const Driver* runtime() { return &emulated_gpu::kDriver; }

}  // namespace lux::cuda
