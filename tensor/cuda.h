// The CUDA device as the rest of the house sees it: whether there is one, its memory, its stream, and copies.
//
// Everything passes a table of functions, `Driver`: the CUDA runtime's where this build has them, none in a
// build without CUDA, and fake ones in tests, so that the rules of this file are tested without a device. All
// work runs on one stream, in the order of the calls; so memory may be given back while kernels that use it
// still wait. Only copies of whole pictures have streams of their own (tensor/cuda_copies.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "luxgrad/tensor/device.h"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tensor/memory.h"

namespace lux {
class Storage;
}

namespace lux::cuda {

/// What luxgrad asks of a device. Each function returns 0 or the number of an error.
struct Driver {
  /// Chooses the device, makes the stream, and lets the pool keep what is freed.
  int (*start)(void** stream);
  const char* (*text_of)(int error);
  int (*allocate)(void** data, size_t bytes, void* stream);
  int (*release)(void* data, void* stream);
  /// Gives what the pool keeps back to the device.
  int (*trim)();
  /// From or to the device, or within it. Memory of the host must stay as it is until the stream gets there.
  int (*copy)(void* to, const void* from, size_t bytes, void* stream);
  int (*synchronize)(void* stream);
  /// The error of the last launch.
  int (*last_error)();
  int out_of_memory;          ///< the number of the error for which trimming and trying again may help
  bool is_real = true;        ///< false: the CPU plays the device, slowly
  bool has_libraries = true;  ///< false: NVIDIA's libraries cannot reach it
  /// Whether a kernel did that while it ran. Then whoever looks at the device next is told, and the device
  /// takes nothing more. Null: no error is of that kind.
  bool (*is_fault)(int error) = nullptr;

  /// Memory of the host that stays where it is, so that the device copies from it whenever it gets there.
  int (*allocate_host)(void** data, size_t bytes) = nullptr;
  int (*release_host)(void* data) = nullptr;
  /// Streams beside the one that everything runs on, and points in them: an event stands for all that is on a
  /// stream when it is recorded. What is put on a stream after `wait_on_stream` waits for it.
  int (*make_stream)(void** stream) = nullptr;
  int (*make_event)(void** event) = nullptr;
  int (*record_event)(void* event, void* stream) = nullptr;
  int (*wait_on_stream)(void* event, void* stream) = nullptr;
  int (*wait_for_event)(void* event) = nullptr;
  int (*release_event)(void* event) = nullptr;
  /// Milliseconds of the device between two events that it has reached.
  int (*between)(float* milliseconds, void* earlier, void* later) = nullptr;
  /// From now on what is put on the stream is written down instead of done, until `end_capture` makes a graph
  /// of it. Null where there are no graphs.
  int (*begin_capture)(void* stream) = nullptr;
  int (*end_capture)(void** graph, void* stream) = nullptr;
  int (*launch_graph)(void* graph, void* stream) = nullptr;
  int (*release_graph)(void* graph) = nullptr;
};

/// The CUDA runtime, or null in a build without it.
const Driver* runtime();

/// Replaces the driver, for tests, and forgets the device, its counters and its cap; null: none.
void set_driver(const Driver* driver);

/// The driver of the device, started. Throws Error where there is none.
const Driver& driver();

/// Why cuda:0 cannot be used, as one sentence; empty where it can. The first call starts the device.
std::string absence();

/// Whether there is a device, and it is one of NVIDIA's.
bool is_real();
/// Whether there is a device, and NVIDIA's libraries run on it.
bool has_libraries();

/// The stream that everything of this thread runs on, a cudaStream_t: the one of the device, outside of an
/// OnStream. Throws Error where there is no device.
void* stream();

/// Streams of copies beside it, from and to the host.
enum class CopyStream : uint8_t { up, down };
void* stream(CopyStream which);

/// While it lives, this thread allocates, gives back and copies on another stream; null: the device's own.
class OnStream {
 public:
  explicit OnStream(void* stream);
  ~OnStream();
  OnStream(const OnStream&) = delete;
  OnStream& operator=(const OnStream&) = delete;

 private:
  void* before_;
};

/// Waits for everything on the stream. Throws Error with what went wrong on the device, and NotRecordable
/// while a graph is recorded (tensor/cuda_graph.h).
void synchronize();

/// A point of this thread's stream, reached when everything that was called before is done. Between two of
/// them stands what the device took, and not what it took to call it.
class Event {
 public:
  /// Throws Error where the stream cannot be marked.
  Event();
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&&) = delete;

  /// What is put on this thread's stream from now on waits for it.
  void hold_up() const;
  /// Waits. Throws Error with what went wrong on the device.
  void wait() const;
  /// Waits until the device is here; milliseconds since it was at `earlier`. Throws as `wait`.
  double milliseconds_since(const Event& earlier) const;

 private:
  void* event_ = nullptr;
};

/// Memory of the device, which a limit of the host does not explain.
class OutOfDeviceMemory : public OutOfMemory {
 public:
  using OutOfMemory::OutOfMemory;
};

/// Throws Error, and OutOfDeviceMemory where that is what `error` says, with `what` luxgrad was doing; 0 is
/// no error. Once it is thrown, no later call reports it again, but for faults, of which the text says that
/// an earlier kernel may have done it, and how to find out.
void check_call(int error, const std::string& what);

/// Whether every launch is awaited before the next, and nothing runs as a graph, so that the fault of a
/// kernel names its operator; off, unless LUX_CUDA_BLOCKING is set and not 0. Returns what it was before.
bool set_blocking(bool blocking);
bool is_blocking();

/// Calls a library that takes memory of the device beside the pool: where it answers `no_memory`, once more
/// after the pool gave back what it keeps, then after the graphs did. Returns its answer.
int with_room(int no_memory, FunctionRef<int()> call);

/// Uninitialised bytes of the device. Where it has none left, what the pool keeps is given back first, then
/// the graphs. While this thread records a graph they are a part of the graph's own memory, `whole`, which is
/// else left as it is. Throws OutOfDeviceMemory, and Error where there is no such device. Thread-safe.
memory::Block allocate(int64_t bytes, Device device, std::shared_ptr<Storage>& whole);
/// `part`: of a graph's memory.
void deallocate(const memory::Block& block, bool part) noexcept;

/// Counters, limit, and failures for tests, as those of host memory (tensor/memory.h); `reserved` is not
/// counted.
memory::Stats memory_stats();
void reset_memory_peak();
void set_memory_cap(int64_t bytes);
void trim_memory();
void fail_allocation(int64_t countdown);

/// Copies bytes between host and device, or within the device. Memory of the host may be used again on
/// return: what is written into has arrived, what is read has been read. Throws Error, and NotRecordable for
/// a copy into host memory while a graph is recorded.
void copy(void* to, Device to_device, const void* from, Device from_device, int64_t bytes);

/// After a launch of `kernel` for `count` of what `counted` names: throws Error where it could not begin, and
/// in a blocking run where it did not end well.
void check_launch(std::string_view kernel, int64_t count, std::string_view counted = "elements");

}  // namespace lux::cuda
