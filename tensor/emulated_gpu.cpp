#include "luxgrad/tensor/emulated_gpu.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux::emulated_gpu {
namespace {

constexpr unsigned kTeam = 16;
constexpr size_t kStack = size_t{256} << 10;

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

// Copies come from several threads; the device does one thing after the other.
std::recursive_mutex& one_at_a_time() {
  static std::recursive_mutex mutex;
  return mutex;
}

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
  const Kernel* kernel = nullptr;
  unsigned current = 0;
  int64_t launches = 0, graph_launches = 0;
  int64_t countdown = 0;                     // to a kernel that goes wrong
  bool is_faulty = false, is_known = false;  // and that somebody has waited since
};
Machine machine;

// A launch, or a copy where there is no kernel.
struct Command {
  std::unique_ptr<Kernel> kernel{};
  unsigned blocks = 0, threads = 0;
  void* to = nullptr;
  const void* from = nullptr;
  size_t bytes = 0;
};
struct Graph {
  std::vector<Command> commands;
  bool broken = false;  // something was asked for that no graph can do
};
std::unique_ptr<Graph> recorded;  // while one is
std::map<const void*, size_t> host_blocks;

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

void run_now(unsigned blocks, unsigned threads, const Kernel& kernel) {
  const std::lock_guard lock(one_at_a_time());
  if (machine.fibers.size() < threads) machine.fibers.resize(threads);
  machine.kernel = &kernel;
  ++machine.launches;
  if (machine.countdown > 0 && --machine.countdown == 0) machine.is_faulty = true;
  if (machine.is_faulty) return;
  grid_size.x = blocks;
  const FlushDenormals as_the_pool_does;
  open_memory();
  for (block_index.x = 0; block_index.x < blocks; ++block_index.x) {
    for (unsigned first = 0; first < threads; first += kTeam) run_team(first);
  }
  close_memory();
}

}  // namespace

void run(unsigned blocks, unsigned threads, std::unique_ptr<Kernel> kernel) {
  if (recorded == nullptr) return run_now(blocks, threads, *kernel);
  recorded->commands.push_back({.kernel = std::move(kernel), .blocks = blocks, .threads = threads});
}

uint64_t exchange(uint64_t bits, unsigned thread) {
  Fiber& own = machine.fibers[machine.current];
  const unsigned meeting = own.meetings++ % 2;
  own.bits[meeting] = bits;
  leave(State::waiting);
  return machine.fibers[thread].bits[meeting];
}

int64_t launches() { return machine.launches; }
int64_t graph_launches() { return machine.graph_launches; }
bool holds(const void* address) {
  const auto* const byte = static_cast<const char*>(address);
  return byte >= memory.start && byte < memory.start + kMemory;
}
int64_t overruns() { return memory.overruns; }
void fail_kernel(int64_t countdown) { machine.countdown = countdown; }
bool has_double() {
  static const char* const given = std::getenv("LUX_EMULATED_F64");
  return given == nullptr || std::strcmp(given, "0") != 0;
}

namespace {

constexpr int kUnknown = 1, kExhausted = 2, kNotForGraphs = 3, kFault = 4;

// Whoever waits learns what a kernel has done, and everyone after that.
int awaited() {
  machine.is_known = machine.is_faulty;
  return machine.is_known ? kFault : 0;
}
int known_error() { return machine.is_known ? kFault : 0; }

// Whether a graph of this stream is being recorded, which from now on is good for nothing. Graphs are those
// of the stream that `start` leaves null; the others do at once what they are asked for, too.
bool breaks_graph(const void* stream) {
  const bool breaks = recorded != nullptr && stream == nullptr;
  if (breaks) recorded->broken = true;
  return breaks;
}

int start(void**) {
  machine.is_faulty = machine.is_known = false;
  const char* const fault = std::getenv("LUX_EMULATED_FAULT");
  machine.countdown = fault == nullptr ? 0 : std::strtoll(fault, nullptr, 10);
  if (memory.start != nullptr) return 0;
  void* const start = mmap(nullptr, kMemory, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return kExhausted;
  memory.start = static_cast<char*>(start);
  if (const char* const bytes = std::getenv("LUX_EMULATED_MEMORY"); bytes != nullptr)
    memory.size = std::min(kMemory, static_cast<size_t>(std::strtoull(bytes, nullptr, 10)));
  return 0;
}

int allocate(void** data, size_t bytes, void* stream) {
  const std::lock_guard lock(one_at_a_time());
  if (breaks_graph(stream)) return kNotForGraphs;
  if (const int error = known_error(); error != 0) return error;
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

int release(void* data, void* stream) {
  const std::lock_guard lock(one_at_a_time());
  if (breaks_graph(stream)) return kNotForGraphs;
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

void copy_now(void* to, const void* from, size_t bytes) {
  open_memory();
  std::memcpy(to, from, bytes);
  close_memory();
}

int copy(void* to, const void* from, size_t bytes, void* stream) {
  const std::lock_guard lock(one_at_a_time());
  if (const int error = known_error(); error != 0) return error;
  if (recorded == nullptr || stream != nullptr) return copy_now(to, from, bytes), 0;
  // Memory of the host that may move is gone when the graph runs.
  const bool stays = holds(from) || host_blocks.contains(from);
  if (!holds(to) || !stays) return breaks_graph(stream), kNotForGraphs;
  recorded->commands.push_back({.to = to, .from = from, .bytes = bytes});
  return 0;
}

int allocate_host(void** data, size_t bytes) {
  const std::lock_guard lock(one_at_a_time());
  *data = std::malloc(std::max<size_t>(bytes, 1));
  if (*data == nullptr) return kExhausted;
  host_blocks[*data] = bytes;
  return 0;
}

int release_host(void* data) {
  const std::lock_guard lock(one_at_a_time());
  if (host_blocks.erase(data) == 0) return kUnknown;
  std::free(data);
  return 0;
}

int begin_capture(void* stream) {
  const std::lock_guard lock(one_at_a_time());
  const char* const none = std::getenv("LUX_EMULATED_NO_GRAPHS");
  if (breaks_graph(stream) || (none != nullptr && *none != '\0')) return kNotForGraphs;
  recorded = std::make_unique<Graph>();
  return 0;
}

int end_capture(void** graph, void*) {
  const std::lock_guard lock(one_at_a_time());
  const std::unique_ptr<Graph> ended = std::move(recorded);
  if (ended == nullptr || ended->broken) return kNotForGraphs;
  *graph = new Graph(std::move(*ended));
  return 0;
}

int launch_graph(void* graph, void* stream) {
  const std::lock_guard lock(one_at_a_time());
  if (breaks_graph(stream)) return kNotForGraphs;
  if (const int error = known_error(); error != 0) return error;
  ++machine.graph_launches;
  for (const Command& command : static_cast<const Graph*>(graph)->commands) {
    if (command.kernel != nullptr)
      run_now(command.blocks, command.threads, *command.kernel);
    else
      copy_now(command.to, command.from, command.bytes);
  }
  return 0;
}

int release_graph(void* graph) {
  delete static_cast<Graph*>(graph);
  return 0;
}

// Its streams never wait, so an event is the time of the clock.
using Clock = std::chrono::steady_clock;

Clock::time_point& time_of(void* event) { return *static_cast<Clock::time_point*>(event); }

const cuda::Driver kDriver = {
    .start = start,
    .text_of =
        [](int error) {
          return error == kExhausted      ? "out of memory"
                 : error == kNotForGraphs ? "operation not permitted when stream is capturing"
                 : error == kFault        ? "an illegal memory access was encountered"
                                          : "no block begins there";
        },
    .allocate = allocate,
    .release = release,
    .trim = []() -> int { return 0; },
    .copy = copy,
    .synchronize = [](void* stream) -> int { return breaks_graph(stream) ? kNotForGraphs : awaited(); },
    .last_error = known_error,
    .out_of_memory = kExhausted,
    .is_real = false,
    .has_libraries = false,
    .is_fault = [](int error) { return error == kFault; },
    .allocate_host = allocate_host,
    .release_host = release_host,
    .make_stream = [](void** stream) -> int { return *stream = &machine, 0; },
    .make_event = [](void** event) -> int { return *event = new Clock::time_point, 0; },
    .record_event = [](void* event, void*) -> int { return time_of(event) = Clock::now(), 0; },
    .wait_on_stream = [](void*, void*) -> int { return 0; },
    .wait_for_event = [](void*) -> int { return awaited(); },
    .release_event = [](void* event) -> int { return delete &time_of(event), 0; },
    .between = [](float* milliseconds, void* earlier, void* later) -> int {
      const std::chrono::duration<float, std::milli> passed = time_of(later) - time_of(earlier);
      return *milliseconds = passed.count(), 0;
    },
    .begin_capture = begin_capture,
    .end_capture = end_capture,
    .launch_graph = launch_graph,
    .release_graph = release_graph,
};

}  // namespace
}  // namespace lux::emulated_gpu

namespace lux::cuda {

const Driver* runtime() { return &emulated_gpu::kDriver; }

}  // namespace lux::cuda
