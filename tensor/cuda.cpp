#include "luxgrad/tensor/cuda.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "luxgrad/tensor/cuda_copies.h"
#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/tensor/cuda_recording.h"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/operator_scope.h"

namespace lux::cuda {

#ifndef LUX_CUDA
const Driver* runtime() { return nullptr; }
#endif

namespace {

// The device of the process. It is started on first use, once, whether that succeeds or not.
struct Context {
  std::mutex mutex;
  const Driver* driver = runtime();
  bool started = false;
  std::string absence;
  void* stream = nullptr;
  void* copies[2] = {};  // streams, made on first use
  memory::Stats stats;
  int64_t cap = 0;
  int64_t countdown = 0;
};

Context& context() {
  static Context* const context =
      new Context;  // never destroyed: tensors in static storage may outlive any order
  return *context;
}

std::atomic<bool>& blocking() {
  static std::atomic<bool> on = [] {
    const char* const text = std::getenv("LUX_CUDA_BLOCKING");
    const std::string_view wanted = text == nullptr ? "" : text;
    return !wanted.empty() && wanted != "0";
  }();
  return on;
}

// What the driver says. Of a fault it is known only after a wait which kernel's it was.
std::string text_of(const Driver& driver, int error) {
  const bool unplaced = driver.is_fault != nullptr && driver.is_fault(error) && !is_blocking();
  return cat(driver.text_of(error),
             unplaced ? "; an earlier kernel may have done it, and LUX_CUDA_BLOCKING=1 says which" : "");
}

thread_local void* own_stream = nullptr;  // of an OnStream

void* current(const Context& c) { return own_stream != nullptr ? own_stream : c.stream; }

std::string start(Context& c) {
  if (c.driver == nullptr) return "this build has no CUDA backend";
  if (const int error = c.driver->start(&c.stream); error != 0)
    return cat("there is no CUDA device that can be used: ", c.driver->text_of(error));
  return {};
}

// With the mutex held.
const std::string& absence_of(Context& c) {
  if (!c.started) c.absence = start(c);
  c.started = true;
  return c.absence;
}

const Driver& started_driver(Context& c) {
  const std::lock_guard lock(c.mutex);
  if (const std::string& reason = absence_of(c); !reason.empty()) fail("cuda: ", reason);
  return *c.driver;
}

// What the pool keeps. Awaits not the device's own stream, where another thread may just be recording a
// graph.
void give_back(const Context& c) {
  c.driver->synchronize(current(c));
  if (c.driver->trim() != 0) c.driver->last_error();
}

int take(const Context& c, void** data, int64_t bytes) {
  const auto size = static_cast<size_t>(std::max<int64_t>(bytes, 1));
  int error = c.driver->allocate(data, size, current(c));
  if (error != 0) c.driver->last_error();  // else the next launch would report it
  if (error != c.driver->out_of_memory) return error;
  give_back(c);
  error = c.driver->allocate(data, size, current(c));
  if (error != 0) c.driver->last_error();
  return error;
}

// Before the driver is asked: what counts as a request, and what tests and the cap refuse.
void admit(Context& c, int64_t bytes, bool part) {
  ++c.stats.allocations;
  if (c.countdown > 0 && --c.countdown == 0)
    throw OutOfDeviceMemory(cat("cuda: allocation failed on request of a test", OperatorScope::text()));
  if (c.cap > 0 && !part && bytes > c.cap - c.stats.live) {
    throw OutOfDeviceMemory(cat("cuda: ", bytes, " bytes more than the ", c.stats.live,
                                " in use on the device would exceed the cap of ", c.cap,
                                OperatorScope::text()));
  }
}

memory::Block allocate_from_pool(Context& c, int64_t bytes) {
  const std::lock_guard lock(c.mutex);
  admit(c, bytes, false);
  memory::Block block{nullptr, nullptr, bytes, 0};
  if (const int error = take(c, &block.data, bytes); error != 0) {
    if (error != c.driver->out_of_memory)
      fail("cuda: allocating ", bytes, " bytes", OperatorScope::text(), ": ", text_of(*c.driver, error));
    throw OutOfDeviceMemory(cat("cuda: the device has no ", bytes, " bytes left (", c.stats.live, " in use)",
                                OperatorScope::text(), ": ", c.driver->text_of(error)));
  }
  block.base = block.data;
  c.stats.live += bytes;
  c.stats.peak = std::max(c.stats.peak, c.stats.live);
  return block;
}

}  // namespace

void set_driver(const Driver* driver) {
  forget_graphs();
  forget_staging();
  Context& c = context();
  const std::lock_guard lock(c.mutex);
  c.driver = driver;
  c.started = false;
  c.absence.clear();
  c.stream = c.copies[0] = c.copies[1] = nullptr;
  c.stats = {};
  c.cap = c.countdown = 0;
}

std::string absence() {
  Context& c = context();
  const std::lock_guard lock(c.mutex);
  return absence_of(c);
}

bool is_real() { return absence().empty() && context().driver->is_real; }
bool has_libraries() { return absence().empty() && context().driver->has_libraries; }

const Driver& driver() { return started_driver(context()); }

void* stream() {
  started_driver(context());
  return current(context());
}

void* stream(CopyStream which) {
  Context& c = context();
  const Driver& driver = started_driver(c);
  const std::lock_guard lock(c.mutex);
  void*& made = c.copies[static_cast<size_t>(which)];
  if (made != nullptr) return made;
  const int error = driver.make_stream(&made);
  check(error == 0, "cuda: making a stream: ", driver.text_of(error));
  return made;
}

OnStream::OnStream(void* stream) : before_(std::exchange(own_stream, stream)) {}
OnStream::~OnStream() { own_stream = before_; }

void synchronize() {
  if (Recording* const recording = Recording::current()) recording->refuse_waiting("waits for the device");
  const Driver& driver = started_driver(context());
  check_call(driver.synchronize(context().stream), "waiting for the device");
}

Event::Event() {
  const Driver& driver = started_driver(context());
  check_call(driver.make_event(&event_), "making an event");
  if (const int error = driver.record_event(event_, stream()); error != 0) {
    driver.release_event(event_);
    check_call(error, "marking the stream");
  }
}

Event::~Event() {
  if (event_ != nullptr) context().driver->release_event(event_);
}

Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

void Event::hold_up() const {
  check_call(started_driver(context()).wait_on_stream(event_, stream()), "awaiting a point of a stream");
}

void Event::wait() const {
  check_call(started_driver(context()).wait_for_event(event_), "waiting for the device");
}

double Event::milliseconds_since(const Event& earlier) const {
  wait();
  float milliseconds = 0;
  check_call(started_driver(context()).between(&milliseconds, earlier.event_, event_), "timing the device");
  return static_cast<double>(milliseconds);
}

void check_call(int error, const std::string& what) {
  if (error == 0) return;
  const Driver& driver = started_driver(context());
  driver.last_error();  // else the next launch would report it
  const std::string text = cat("cuda: ", what, ": ", text_of(driver, error));
  if (error == driver.out_of_memory) throw OutOfDeviceMemory(text);
  fail(text);
}

int with_room(int no_memory, FunctionRef<int()> call) {
  int answer = call();
  // A graph that is being recorded cannot be awaited; it is given up, and what it was made of runs anew.
  const Recording* const recording = Recording::current();
  if (answer != no_memory || (recording != nullptr && recording->records())) return answer;
  const auto again = [&] {
    Context& c = context();
    {
      const std::lock_guard lock(c.mutex);
      if (c.started && c.absence.empty()) give_back(c);
    }
    return call();
  };
  answer = again();
  return answer == no_memory && forget_graphs() ? again() : answer;
}

bool set_blocking(bool on) { return blocking().exchange(on); }
bool is_blocking() { return blocking().load(std::memory_order_relaxed); }

memory::Block allocate(int64_t bytes, Device device, std::shared_ptr<Storage>& whole) {
  check(device.type == Device::Type::cuda && device.index == 0, "cuda: expected device cuda:0, got index ",
        device.index);
  Context& c = context();
  started_driver(c);
  Recording* const recording = Recording::current();
  if (recording != nullptr && recording->records()) {
    {
      const std::lock_guard lock(c.mutex);
      admit(c, bytes, true);
    }
    whole = recording->memory();
    return recording->place(bytes);
  }
  memory::Block block;
  try {
    block = allocate_from_pool(c, bytes);
  } catch (const OutOfMemory&) {
    if (!forget_graphs()) throw;
    block = allocate_from_pool(c, bytes);
  }
  if (recording != nullptr) recording->measure(block);
  return block;
}

void deallocate(const memory::Block& block, bool part) noexcept {
  if (Recording* const recording = Recording::current(); recording != nullptr) {
    if (recording->give(block, part)) return;
  }
  if (part) return;  // of what a graph that is done with has had
  Context& c = context();
  const std::lock_guard lock(c.mutex);
  c.stats.live -= block.bytes;
  // After an error of the device this fails as well; the next call says so.
  if (c.driver != nullptr) c.driver->release(block.base, current(c));
}

memory::Stats memory_stats() {
  Context& c = context();
  const std::lock_guard lock(c.mutex);
  return c.stats;
}

void reset_memory_peak() {
  Context& c = context();
  const std::lock_guard lock(c.mutex);
  c.stats.peak = c.stats.live;
}

void set_memory_cap(int64_t bytes) {
  Context& c = context();
  const std::lock_guard lock(c.mutex);
  c.cap = bytes;
}

void trim_memory() {
  const Driver& driver = started_driver(context());
  synchronize();
  check_call(driver.trim(), "giving memory back");
}

void fail_allocation(int64_t countdown) {
  Context& c = context();
  const std::lock_guard lock(c.mutex);
  c.countdown = countdown;
}

void copy(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
  if (bytes == 0) return;
  const Driver& driver = started_driver(context());
  Recording* const recording = Recording::current();
  if (recording != nullptr) {
    if (to_device == kCpu) recording->refuse_waiting("reads from the device");
    if (from_device == kCpu) from = recording->kept(from, bytes);
  }
  const auto name = [](Device device) { return device == kCpu ? "host" : "device"; };
  const auto what = [&] {
    return cat("copying ", bytes, " bytes from ", name(from_device), " to ", name(to_device));
  };
  if (const int error = driver.copy(to, from, static_cast<size_t>(bytes), stream()); error != 0)
    check_call(error, what());
  const bool of_host = to_device == kCpu || from_device == kCpu,
             recorded = recording != nullptr && recording->records();
  if (!of_host || recorded) return;
  if (const int error = driver.synchronize(stream()); error != 0) check_call(error, what());
}

void check_launch(std::string_view kernel, int64_t count, std::string_view counted) {
  const Driver& driver = started_driver(context());
  int error = driver.last_error();
  if (error == 0 && is_blocking() && Recording::current() == nullptr) error = driver.synchronize(stream());
  if (error != 0)
    check_call(error, cat("running ", kernel, " for ", count, " ", counted, OperatorScope::text()));
}

}  // namespace lux::cuda
