// What the memory and the copies of a thread pass while its work is measured, and then recorded as a graph
// (tensor/cuda_graph.h). A graph repeats addresses, so its tensors get fixed places in one block of its own,
// as large as the work has shown to need; and nothing of the work may look at results, for there are none
// yet.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/storage.h"

namespace lux::cuda {

/// The work cannot be repeated as a graph; the text says what it does.
class NotRecordable : public Error {
 public:
  using Error::Error;
};

/// Places within one block of memory: the lowest gap that is large enough.
class Layout {
 public:
  /// Where `bytes` begin, a multiple of 256.
  int64_t take(int64_t bytes);
  void give(int64_t offset);
  /// How large the block has to be for all that was taken so far.
  int64_t most() const { return most_; }

 private:
  std::map<int64_t, int64_t> used_;  // offset, bytes
  int64_t most_ = 0;
};

/// Memory of the host that a graph copies from.
class HostBytes {
 public:
  /// Throws OutOfMemory.
  HostBytes(const void* source, int64_t bytes);
  ~HostBytes();
  HostBytes(const HostBytes&) = delete;
  HostBytes& operator=(const HostBytes&) = delete;
  const void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

/// What a graph refers to besides the tensors that its caller knows.
struct GraphMemory {
  std::vector<std::unique_ptr<HostBytes>> constants;
  std::vector<std::shared_ptr<const void>> kept;
};

/// One at a time in a thread, for as long as it lives.
class Recording {
 public:
  /// Measures: everything goes on as ever.
  Recording();
  /// Between begin_capture and end_capture of the driver: tensors are placed in `memory`.
  explicit Recording(std::shared_ptr<Storage> memory);
  /// Gives back what the work let go of meanwhile.
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /// Of this thread; null: none.
  static Recording* current();

  bool records() const { return memory_ != nullptr; }
  const std::shared_ptr<Storage>& memory() const { return memory_; }
  /// What the work has needed at once.
  int64_t bytes() const { return layout_.most(); }
  /// Why the work cannot be recorded, though it may have gone on; empty: it can.
  const std::string& refusal() const { return refusal_; }
  /// Whether that is because it needed more memory than it did when it was measured.
  bool outgrown() const { return outgrown_; }
  GraphMemory& graph() { return graph_; }

  // For tensor/cuda.cpp.
  /// Throws NotRecordable where the memory is used up.
  memory::Block place(int64_t bytes);
  void measure(const memory::Block& block) noexcept;
  /// Whether there is nothing else to do for a block that is given back.
  bool give(const memory::Block& block, bool part) noexcept;
  /// Throws NotRecordable, unless the work is only measured.
  void refuse_waiting(const char* what);
  /// Bytes of the host, which the graph reads every time that it runs: as they are now.
  const void* kept(const void* bytes, int64_t size);

 private:
  [[noreturn]] void refuse(const std::string& what);

  std::shared_ptr<Storage> memory_;
  Layout layout_;
  std::map<void*, int64_t> places_;    // of the blocks that are measured
  std::vector<memory::Block> let_go_;  // not of the graph: given back once nothing is recorded any more
  std::string refusal_;
  bool outgrown_ = false;
  GraphMemory graph_;
};

}  // namespace lux::cuda
